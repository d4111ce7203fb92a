"""The live streams: the newest picture for each viewer, never a queue, and an end to everything."""

import contextlib
import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.live_pages import RED, LivePages, jpeg, live_config, live_pages
from support.pacs import wait_until

from edge_runtime.config import Destination, Login
from edge_runtime.page import server as server_module
from edge_runtime.page import video as video_module
from edge_runtime.page.login import write_password_file
from edge_runtime.page.video import record

pytestmark = pytest.mark.slow


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[LivePages]:
    with live_pages(live_config(tmp_path, "tower-1", "tower-2")) as running:
        yield running


class Viewer:
    """One that reads records as it likes."""

    def __init__(self, port: int, source: str = "tower-1") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        self._connection.request("GET", f"/live/{source}")
        self.answer = self._connection.getresponse()

    def record(self) -> tuple[str, Any]:
        """The next: ("J", its JSON), ("P", (its JSON, its JPEG)), or ("", None) at the end."""
        size = int.from_bytes(self.answer.read(4), "little")
        content = self.answer.read(size)
        if not content:
            return "", None
        if content[:1] == b"J":
            return "J", json.loads(content[1:])
        length = int.from_bytes(content[1:5], "little")
        return "P", (json.loads(content[5 : 5 + length]), content[5 + length :])

    def picture(self) -> tuple[Any, bytes]:
        """The next picture."""
        while (found := self.record())[0] != "P":
            assert found[0] == "J"
        said, content = found[1]
        return said, content

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


@contextlib.contextmanager
def viewer(pages: LivePages, source: str = "tower-1") -> Iterator[Viewer]:
    with contextlib.closing(Viewer(pages.port, source)) as found:
        yield found


def test_a_record_is_its_length_its_kind_and_its_content() -> None:
    assert record(b"J", b"{}") == b"\x03\x00\x00\x00J{}"


def test_the_first_record_gives_the_clock_and_then_comes_the_state(pages: LivePages) -> None:
    before = time.monotonic()
    with viewer(pages) as one:
        assert one.answer.status == 200 and one.answer.getheader("Cache-Control") == "no-store"
        assert "default-src 'none'" in str(one.answer.getheader("Content-Security-Policy"))
        kind, hello = one.record()
        assert kind == "J" and hello["hello"] is True and before <= hello["now"] <= time.monotonic()
        kind, beat = one.record()
        assert kind == "J" and beat["state"] == "live" and beat["now"] >= hello["now"]


def test_heartbeats_come_at_least_every_half_second_and_tell_the_state(pages: LivePages) -> None:
    with viewer(pages) as one:
        one.record()
        beats = [one.record()[1] for _ in range(3)]
        assert max(b["now"] - a["now"] for a, b in itertools.pairwise(beats)) < 0.5
        pages.be("tower-1", "frozen")
        while one.record()[1]["state"] != "frozen":
            pass
        pages.be("tower-1", None)
        while one.record()[1]["state"] != "down":
            pass


def test_a_viewer_gets_what_lies_in_the_slot_of_its_source(pages: LivePages) -> None:
    content = jpeg(RED)
    with viewer(pages) as one:
        pages.publish("tower-2", jpeg((0, 0, 0)))
        pages.publish("tower-1", content, notes=["a note"])
        said, picture = one.picture()
        assert (said["source"], said["sequence"], said["notes"]) == ("tower-1", 1, ["a note"])
        assert picture == content


def test_who_comes_late_gets_the_last_picture_with_its_own_time(pages: LivePages) -> None:
    pages.publish("tower-1", b"old", age_seconds=100.0)
    with viewer(pages) as one:
        hello = one.record()[1]
        said, picture = one.picture()
        assert picture == b"old" and hello["now"] - said["captured_at"] > 99


def test_a_slow_viewer_skips_pictures_and_never_gets_an_older_one(pages: LivePages) -> None:
    content = b"x" * 60_000
    with viewer(pages) as slow, viewer(pages) as quick:
        for number in range(1, 101):
            pages.publish("tower-1", content)
            while quick.picture()[0]["sequence"] != number:
                pass
        numbers = [slow.picture()[0]["sequence"]]
        while numbers[-1] < 100:
            numbers.append(slow.picture()[0]["sequence"])
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 15  # the rest was never sent: not even the kernel holds a queue of them


def test_a_stream_ends_by_itself(pages: LivePages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "STREAM_SECONDS", 0.3)
    with viewer(pages) as one:
        while one.record()[0]:
            pass
    assert video_module.HEARTBEAT_SECONDS < 0.5
    wait_until(lambda: pages.viewers == 0, 10)


def test_a_stream_ends_well_before_its_connection_would_be_cut_off() -> None:
    assert 15.0 + server_module.STREAM_SILENCE_SECONDS < server_module.LONGEST_SECONDS
    assert video_module.STREAM_SECONDS == 15.0


def test_only_so_many_look_at_once_and_places_become_free(pages: LivePages) -> None:
    with contextlib.ExitStack() as looking:
        for number in range(video_module.VIEWERS):
            one = looking.enter_context(viewer(pages, f"tower-{1 + number % 2}"))
            assert one.answer.status == 200
        assert pages.viewers == video_module.VIEWERS
        with viewer(pages) as refused:
            assert (refused.answer.status, refused.answer.getheader("Retry-After")) == (503, "5")
            assert refused.answer.read() == b"too many viewers\n"
        assert pages.viewers == video_module.VIEWERS
        one.close()
        wait_until(lambda: pages.viewers < video_module.VIEWERS, 10)
        with viewer(pages) as last:
            assert last.answer.status == 200
    wait_until(lambda: pages.viewers == 0, 10)


@pytest.mark.parametrize(
    "path", ["/live/", "/live/tower-3", "/live/tower-1/", "/live/../live/tower-1", "/live/tower%2d1"]
)
def test_only_sources_of_the_configuration_have_a_stream(pages: LivePages, path: str) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", pages.port, timeout=15)) as connection:
        connection.request("GET", path)
        assert connection.getresponse().status == 404
    assert pages.viewers == 0


def test_a_name_that_points_here_gives_no_picture(pages: LivePages) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", pages.port, timeout=15)) as connection:
        connection.request("GET", "/live/tower-1", headers={"Host": "evil.example"})
        assert connection.getresponse().status == 421


def test_without_the_login_there_is_no_picture(tmp_path: Path) -> None:
    write_password_file(tmp_path / "password", "a long password")
    login = Login("me", str(tmp_path / "password"))
    with live_pages(live_config(tmp_path, "tower-1", login=login)) as pages:
        with viewer(pages) as refused:
            assert refused.answer.status == 401 and b"JFIF" not in refused.answer.read()
        assert pages.viewers == 0


def test_a_viewer_that_never_reads_is_cut_off_and_another_sees_all(
    pages: LivePages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STREAM_SILENCE_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", pages.port)) as silent, viewer(pages) as other:
        silent.sendall(b"GET /live/tower-1 HTTP/1.0\r\n\r\n")
        wait_until(lambda: pages.viewers == 2, 10)
        sent = 0
        while pages.viewers == 2:
            sent += 1
            pages.publish("tower-1", b"x" * 400_000)
            assert other.picture()[0]["sequence"] == sent
        assert pages.viewers == 1


def live_threads() -> int:
    return sum(thread.name.startswith("live-") for thread in threading.enumerate())


def test_closing_ends_streams_and_threads(tmp_path: Path) -> None:
    before = live_threads()
    pages = LivePages(live_config(tmp_path, "tower-1"))
    with viewer(pages) as one:
        one.record()
        assert live_threads() == before + 1
        pages.close()
        while one.record()[0]:
            pass
    wait_until(lambda: live_threads() == before, 10)


def test_nothing_is_read_while_nobody_looks(pages: LivePages) -> None:
    with viewer(pages) as one:
        pages.publish("tower-1", b"x")
        assert one.picture()[0]["sequence"] == 1

    def published_and_unheard() -> bool:
        pages.publish("tower-1", b"x")
        time.sleep(0.05)
        return pages.unheard("tower-1")

    wait_until(published_and_unheard, 10)
    with viewer(pages) as one:
        while one.picture()[0]["sequence"] < 3:
            pages.publish("tower-1", b"x")


def test_a_source_that_is_gone_from_the_configuration_has_no_stream(pages: LivePages) -> None:
    pages.config = live_config(Path(pages.config.spool.path).parent, "tower-2")
    with viewer(pages) as one:
        assert one.answer.status == 404


def test_a_port_in_use_leaves_no_thread(pages: LivePages, tmp_path: Path) -> None:
    before = live_threads()
    with pytest.raises(Exception, match="Address already in use"):
        LivePages(live_config(tmp_path, "tower-1", port=pages.port))
    wait_until(lambda: live_threads() == before, 10)


def test_the_status_tells_of_sources_and_of_live_destinations(pages: LivePages) -> None:
    lines = Destination(name="lines", type="jsonlines", path="lines")
    pages.config = replace(pages.config, destinations=(*pages.config.destinations, lines))
    pages.exposition.update("live", [("edge_live_results_total", ("lines", "sent"), 5.0)])
    pages.exposition.update("live", [("edge_live_results_total", ("lines", "lost"), 1.0)])
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", pages.port, timeout=15)) as connection:
        connection.request("GET", "/api/status")
        document = json.loads(connection.getresponse().read())
    assert [(one["name"], one["state"]) for one in document["video"]] == [("tower-1", "live"), ("tower-2", "live")]
    found = document["destinations"][-1]
    assert (found["name"], found["last_failure"]) == ("lines", "lost")
    assert found["last_success_seconds"] is not None and found["waiting"] == 0
