"""The live picture in a real browser: with its age and its budget, and never live when it is not."""

import base64
import contextlib
import io
import itertools
import queue
import socket
import ssl
import threading
import time

import pytest
from support.browser import DESKTOP, PHONE, certificate, chromium
from support.live_pages import DISPLAY_AGE_SECONDS, GREEN, RED, jpeg, live_config, live_pages
from support.pacs import wait_until

from edge_runtime.cli import main
from edge_runtime.config import Login, Tls
from edge_runtime.page import video

pytestmark = pytest.mark.peer

WITHIN_SECONDS = DISPLAY_AGE_SECONDS + 1.0
LOOK = """
const view = document.querySelector('.view[data-source="tower-1"]');
if (view === null) return null;
const canvas = view.querySelector('canvas');
const words = view.querySelector('.stale-words').innerText;
const pixel = [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data];
return {grey: getComputedStyle(canvas).filter.includes('grayscale(1)'), stale: words.includes('STALE'), words, pixel,
  live: view.querySelector('.mark').innerText === 'LIVE'};
"""
WATCH = """
window.seen = [];
setInterval(() => {
  const view = document.querySelector('.view');
  if (view === null) return;
  const text = (part) => view.querySelector(part).innerText;
  const grey = getComputedStyle(view.querySelector('canvas')).filter.includes('grayscale(1)');
  window.seen.push([performance.now(), grey, text('.mark'), text('.age')]);
}, 20);
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as window:
        yield window


@pytest.fixture
def pages(tmp_path):
    with live_pages(live_config(tmp_path, "tower-1")) as running:
        yield running


def look(browser):
    return browser.run(LOOK)


def is_live(browser):
    seen = look(browser)
    return seen is not None and seen["live"] and not seen["grey"] and not seen["stale"]


def is_stale(browser):
    seen = look(browser)
    return seen is not None and not seen["live"] and seen["grey"] and seen["stale"]


def open_live(browser, port, **options):
    browser.open(f"http://127.0.0.1:{port}/", **options)
    browser.wait_for(".view")


def test_a_live_picture_is_shown_with_its_age_budget_findings_and_what_was_left_out(pages, browser):
    with pages.showing("tower-1", RED):
        open_live(browser, pages.port)
        wait_until(lambda: is_live(browser), 30)
        red, green, _, _ = look(browser)["pixel"]
        assert red > 150 and green < 80
        text = browser.text(".view")
        assert "at most" in text and "50 ms, used 30 ms (60 %)" in text and "find: polyp positive 93 %" in text
        assert "INCOMPLETE" not in text and "secret" not in browser.text()
        browser.run(WATCH)
        wait_until(lambda: browser.run("return window.seen.length") > 100, 30)
        seen = browser.run("return window.seen")
        changes = sum(a[3] != b[3] for a, b in itertools.pairwise(seen))
        assert changes / (seen[-1][0] - seen[0][0]) * 1000 > 5  # the age is set anew more than 5 times a second
    skipped = [{"stage": "outline", "outcome": "skipped", "reason": "too_slow", "seconds": 0, "engine": "e"}]
    with pages.showing("tower-1", GREEN, complete=False, stages=skipped, findings=[]):
        browser.wait_for(".view", "INCOMPLETE")
        wait_until(lambda: is_live(browser) and look(browser)["pixel"][1] > 150, 30)
        assert "outline: skipped, too_slow" in browser.text(".view")
    assert [line for line in browser.complaints() if "willReadFrequently" not in line] == []  # that is the test's


def test_when_pictures_stop_it_turns_grey_and_says_how_old_it_is_and_comes_back(pages, browser):
    with pages.showing("tower-1"):
        open_live(browser, pages.port)
        wait_until(lambda: is_live(browser), 30)
        browser.run(WATCH)
    wait_until(lambda: is_stale(browser), 30)
    assert seconds_until_grey(browser) <= WITHIN_SECONDS
    wait_until(lambda: "STALE 2." in look(browser)["words"], 30)  # the age goes on
    assert "no newer picture" in look(browser)["words"]
    with pages.showing("tower-1"):
        wait_until(lambda: is_live(browser), 30)


def seconds_until_grey(browser):
    """From the youngest picture that was live to the grey after it, in the browser's own record; the longest time."""
    wait_until(lambda: browser.run("return window.seen.some((one) => one[1])"), 30)
    born, found = 0.0, []
    for at, is_grey, mark, age in browser.run("return window.seen"):
        if not is_grey:
            number, unit = age.removeprefix("at most ").split()
            born = max(born, at - float(number) * {"ms": 1, "s": 1000}[unit])
        elif born:
            assert mark == "STALE"
            found.append(at - born)
            born = 0.0
    return max(found) / 1000


def grey_share(browser):
    return browser.run("return window.seen.filter((one) => one[1]).length / window.seen.length")


def test_what_the_source_is_in_turns_it_grey_even_while_pictures_come(pages, browser):
    with pages.showing("tower-1"):
        open_live(browser, pages.port)
        wait_until(lambda: is_live(browser), 30)
        for state, said in (("frozen", "source: frozen"), (None, "source: down")):
            pages.be("tower-1", state)
            wait_until(lambda said=said: is_stale(browser) and said in look(browser)["words"], 30)
            pages.be("tower-1", "live")
            wait_until(lambda: is_live(browser), 30)


def test_a_picture_that_is_old_or_of_the_future_is_never_live(pages, browser):
    for age in (5.0, -3.0):
        with pages.showing("tower-1", RED if age > 0 else GREEN, age_seconds=age):
            open_live(browser, pages.port)
            wait_until(lambda age=age: look(browser)["pixel"][0 if age > 0 else 1] > 150, 30)  # it is drawn
            browser.run(WATCH)
            wait_until(lambda: browser.run("return window.seen.length") > 50, 30)
            assert browser.run("return window.seen.filter((one) => !one[1] || one[2] === 'LIVE').length") == 0


def test_a_hidden_tab_is_grey_at_once_and_lets_go_of_its_stream(pages, browser):
    with pages.showing("tower-1"):
        open_live(browser, pages.port)
        wait_until(lambda: is_live(browser), 30)
        hide = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => %s});"
        browser.run(hide % "true" + "document.dispatchEvent(new Event('visibilitychange'))")
        assert is_stale(browser) and "hidden" in look(browser)["words"]
        wait_until(lambda: pages.viewers == 0, 30)
        assert is_stale(browser)
        browser.run(hide % "false" + "document.dispatchEvent(new Event('visibilitychange'))")
        wait_until(lambda: is_live(browser), 30)


def test_a_daemon_that_is_gone_turns_it_grey_until_it_is_back(tmp_path, browser):
    config = live_config(tmp_path, "tower-1")
    with live_pages(config) as pages, pages.showing("tower-1"):
        port = pages.port
        open_live(browser, port)
        wait_until(lambda: is_live(browser), 30)
        browser.run("window.sameDocument = true")
    wait_until(lambda: is_stale(browser) and "connection lost" in look(browser)["words"], 30)
    with live_pages(live_config(tmp_path, "tower-1", port=port)) as pages, pages.showing("tower-1", GREEN):
        wait_until(lambda: is_live(browser) and look(browser)["pixel"][1] > 150, 60)
        assert browser.run("return window.sameDocument")


class Proxy:
    """A way to the page on which bytes from the server can be held back."""

    def __init__(self, port):
        self._target = port
        self.delay_seconds = 0.0
        self._hanging = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends = [self._server]
        self._threads = []
        self.port = self._server.getsockname()[1]
        self._start(self._accept)

    def close(self):
        self.delay_seconds = 0.0
        self._hanging.clear()
        for end in self._ends:
            finish(end)
        for thread in self._threads:
            thread.join(10)
        for end in self._ends:
            end.close()

    def hang(self):
        """On the connections that there are no byte goes on from now; others work."""
        self._hanging.update(self._ends)

    def _start(self, work, *arguments):
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [client, server]
                for source, target, downwards in ((client, server, False), (server, client, True)):
                    held = queue.Queue()
                    self._start(self._take, source, held)
                    self._start(self._give, held, target, downwards)

    def _take(self, source, held):
        """Take bytes off their sender at once: what is held back here is not held back there."""
        data = b"x"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            held.put((time.monotonic(), data))

    def _give(self, held, target, downwards):
        with contextlib.suppress(OSError):
            while data := self._due(*held.get(), target if downwards else None):
                target.sendall(data)
        finish(target)

    def _due(self, at, data, client):
        while client and (client in self._hanging or time.monotonic() < at + self.delay_seconds):
            time.sleep(0.01)
        return data


def finish(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(pages):
    between = Proxy(pages.port)
    yield between
    between.close()


def test_when_the_bytes_stop_on_an_open_connection_it_turns_grey(pages, proxy, browser):
    with pages.showing("tower-1"):
        open_live(browser, proxy.port)
        wait_until(lambda: is_live(browser), 30)
        browser.run(WATCH)
        proxy.hang()
        wait_until(lambda: is_stale(browser), 30)
        assert seconds_until_grey(browser) <= WITHIN_SECONDS
        wait_until(lambda: is_live(browser), 60)  # by a new connection


def test_pictures_that_arrive_late_never_look_live(pages, proxy, browser):
    proxy.delay_seconds = 2.0
    with pages.showing("tower-1"):
        open_live(browser, proxy.port)
        browser.run(WATCH)
        wait_until(lambda: look(browser)["pixel"][0] > 150, 60)  # they are drawn
        wait_until(lambda: browser.run("return window.seen.length") > 150, 60)
        assert browser.run("return window.seen.filter((one) => !one[1] || one[2] === 'LIVE').length") == 0
        assert "STALE 2." in look(browser)["words"]
        proxy.delay_seconds = 0.0
        wait_until(lambda: is_live(browser), 60)  # canary: nothing but the delay made it stale


def test_pictures_that_become_late_in_mid_stream_do_not_look_live(pages, proxy, browser):
    with pages.showing("tower-1"):
        open_live(browser, proxy.port)
        wait_until(lambda: is_live(browser), 30)
        proxy.delay_seconds = 2.0
        wait_until(lambda: is_stale(browser), 30)
        browser.run(WATCH)
        wait_until(lambda: browser.run("return window.seen.length") > 150, 60)
        assert browser.run("return window.seen.filter((one) => !one[1] || one[2] === 'LIVE').length") == 0


def test_a_new_stream_every_second_is_not_seen(pages, browser, monkeypatch):
    monkeypatch.setattr(video, "STREAM_SECONDS", 1.0)
    with pages.showing("tower-1"):
        open_live(browser, pages.port)
        wait_until(lambda: is_live(browser), 30)
        browser.run(WATCH)
        wait_until(lambda: browser.run("return window.seen.length") > 150, 60)
        assert grey_share(browser) < 0.2  # a busy machine may miss a picture


def test_login_and_tls_guard_the_live_pictures_too(tmp_path, browser, monkeypatch):
    crt, key = certificate(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert main(["password", str(tmp_path / "page.password")]) == 0
    guard = {"tls": Tls(str(crt), str(key)), "login": Login("radiology", str(tmp_path / "page.password"))}
    with live_pages(live_config(tmp_path, "tower-1", **guard)) as pages, pages.showing("tower-1"):
        context = ssl.create_default_context(cafile=str(crt))
        plain = socket.create_connection(("127.0.0.1", pages.port))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            secured.sendall(b"GET /live/tower-1 HTTP/1.0\r\n\r\n")
            assert secured.recv(100).startswith(b"HTTP/1.0 401 ")
        assert pages.viewers == 0
        login = "Basic " + base64.b64encode(b"radiology:correct horse battery").decode()
        browser.open(f"https://127.0.0.1:{pages.port}/", DESKTOP, {"Authorization": login})
        wait_until(lambda: is_live(browser), 30)


def test_viewers_that_never_read_do_not_disturb_another(pages, browser):
    with contextlib.ExitStack() as silent, pages.showing("tower-1"):
        for _ in range(8):
            client = silent.enter_context(socket.create_connection(("127.0.0.1", pages.port)))
            client.sendall(b"GET /live/tower-1 HTTP/1.0\r\n\r\n")
        wait_until(lambda: pages.viewers == 8, 30)
        open_live(browser, pages.port)
        wait_until(lambda: is_live(browser), 30)
        browser.run(WATCH)
        wait_until(lambda: pages.viewers == 1, 30)  # they are cut off
        assert grey_share(browser) < 0.2  # a busy machine may miss a picture


def whole_text(browser, source):
    """With what is hidden because the rest of the status is old: there is no journal."""
    return browser.run(f"return document.querySelector('.view[data-source=\"{source}\"]').textContent")


def test_several_sources_fit_a_phone_and_more_than_four_are_watched_on_demand(tmp_path, browser):
    names = [f"tower-{number}" for number in range(1, 7)]
    with live_pages(live_config(tmp_path, *names)) as pages, contextlib.ExitStack() as shows:
        content = jpeg(RED)
        for name in names[1:4]:
            pages.publish(name, content)
        pages.be("tower-1", "connecting")
        pages.exposition.update("capture:tower-1", [("edge_video_connects_total", ("tower-1", "refused"), 3.0)])
        shows.enter_context(pages.showing("tower-6"))
        open_live(browser, pages.port, size=PHONE)
        wait_until(lambda: browser.count(".view") == 6 and pages.viewers == 4, 30)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        assert "not watched" in browser.text('.view[data-source="tower-6"]')
        assert "not watched" in browser.text('.view[data-source="tower-1"]')  # it is not there, and others are
        assert "connecting: nothing listens there" in whole_text(browser, "tower-1")
        ended = [
            ("edge_video_frames_total", ("tower-5", outcome), n) for outcome, n in (("in_time", 1.0), ("dropped", 49.0))
        ]
        pages.exposition.update("infer", ended)
        browser.run("document.querySelector('.view[data-source=\"tower-6\"] button').click()")
        browser.wait_for('.view[data-source="tower-6"] .mark.good', "LIVE")
        wait_until(lambda: pages.viewers == 4, 30)
        asked = browser.run("return last.wall")
        wait_until(lambda: browser.run("return last.wall") > asked, 30)  # the status still comes
        said = "STALE: no result in time (2 % of the frames have one)"
        wait_until(lambda: said in whole_text(browser, "tower-5"), 30)
        assert "connecting" not in whole_text(browser, "tower-5")
        assert browser.count('.view[data-source="tower-5"].few-in-time .mark.bad') == 2  # STALE and the share


def test_without_video_there_is_no_section(tmp_path, browser):
    with live_pages(live_config(tmp_path)) as pages:
        browser.open(f"http://127.0.0.1:{pages.port}/")
        browser.wait_for("#live", "PARTLY OLD")  # there is no journal
        assert browser.run("return document.getElementById('video').hidden")
        said = "tick(); return document.getElementById('lost').textContent"
        assert browser.run("last = null; unanswered = false;" + said) == "Asking the daemon ..."
        assert "nothing is known" in browser.run("unanswered = true;" + said)
