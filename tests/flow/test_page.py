"""The page of a real daemon in a real browser, and what its HTTP answers never hold."""

import base64
import contextlib
import io
import json
import os
import signal
import sqlite3
import ssl
import urllib.error
import urllib.request

import pytest
from support.browser import DESKTOP, PHONE, certificate, chromium
from support.pacs import wait_until
from support.site import PATIENT_ID, PATIENT_NAME, ball_series, save_series, send, send_series, write_config

from benchmarks.daemon import Daemon, free_port
from edge_runtime.cli import main

pytestmark = pytest.mark.peer

HOSTILE = "<img src=x onerror='document.title=1'><script>document.title=2</script>"


@pytest.fixture(scope="module")
def browser():
    with chromium() as window:
        yield window


def url(daemon):
    return f"http://127.0.0.1:{daemon.http_port}/"


def status(daemon):
    code, body = daemon.get("/api/status")
    assert code == 200, body
    return json.loads(body)


def marks(daemon):
    return sorted(job["mark"] for job in status(daemon)["jobs"])


def states(daemon):
    return sorted(job["state"] for job in status(daemon)["jobs"])


def change_journal(spool, query, *values):
    with contextlib.closing(sqlite3.connect(spool / "journal.sqlite", timeout=30)) as db, db:
        assert db.execute(query, values).rowcount >= 1


def is_grey(browser):
    return "grayscale(1)" in browser.run("return getComputedStyle(document.querySelector('main')).filter")


def test_a_job_appears_without_a_reload_with_its_picture_engine_and_destination(daemon, tmp_path, browser):
    browser.open(url(daemon))
    browser.wait_for("#live", "Live")
    browser.wait_for("#counts", "No job yet")
    browser.run("window.sameDocument = true")
    send_series(ball_series("first"), tmp_path / "one", daemon)
    browser.wait_for(".job.delivered.whole", "complete")
    wait_until(lambda: browser.run("return document.querySelector('.job img')?.naturalWidth > 0"), 30)
    send_series(ball_series("second"), tmp_path / "two", daemon)
    wait_until(lambda: browser.count(".job.delivered.whole") == 2, 60)
    assert browser.run("return window.sameDocument")
    assert "8 images" in browser.text(".job") and "disk: 7 done" in browser.text(".job")
    assert "up" in browser.text(".destination") and "last success" in browser.text(".destination")
    engine = browser.text("#engines")
    assert "bright" in engine and "not signed" in engine and "passed" in engine and "Tests only" in engine
    assert "p95" in browser.text("#timings") and "last image to answer" in browser.text("#timings")
    assert not is_grey(browser)
    assert browser.complaints() == []  # no error of a script, nothing that the policy had to stop


def test_on_a_phone_nothing_is_wider_than_the_screen(daemon, tmp_path, browser):
    send_series(ball_series("phone"), tmp_path / "in", daemon)
    save_series(ball_series("other", Modality="MR"), tmp_path / "other")
    assert send(tmp_path / "other", daemon.dicom_port).returncode == 0
    wait_until(lambda: states(daemon) == ["delivered"] and status(daemon)["left_out"], 60)
    for size in (PHONE, DESKTOP):
        browser.open(url(daemon), size)
        browser.wait_for(".job.delivered")
        browser.wait_for("#left-out", "find-ball: modality")
        assert browser.run("return [innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [size[0], True]
    browser.resize(PHONE)
    assert browser.run("return document.querySelector('.job').getBoundingClientRect().width") > 300


@pytest.fixture
def hurried(tmp_path, engines, out):
    """A daemon whose deadline is over when the series is complete: its optional stage is always skipped."""
    stages = [{"name": "find", "engine": "bright"}, {"name": "again", "engine": "bright", "optional": True}]
    destinations = [{"name": "disk", "type": "folder", "path": str(out)}]
    config = write_config(tmp_path / "site.yaml", engines, destinations, stages=stages, deadline_seconds=0.5)
    with Daemon(config, tmp_path / "spool") as running:
        running.wait_ready()
        yield running


def test_incomplete_late_refused_and_parked_never_look_like_a_good_answer(hurried, tmp_path, browser):
    send_series(ball_series("hurried"), tmp_path / "hurried", hurried)
    gap = ball_series("gap", slices=9)
    send_series(gap[:4] + gap[5:], tmp_path / "gap", hurried)
    send_series(ball_series("poison"), tmp_path / "poison", hurried)
    wait_until(lambda: states(hurried) == ["delivered", "delivered", "refused"], 60)
    hurried.stop()
    newest = "(SELECT max(id) FROM jobs WHERE state = 'delivered')"
    change_journal(hurried.spool, f"UPDATE jobs SET state = 'parked', reason = ? WHERE id = {newest}", HOSTILE)
    hurried.start()
    hurried.wait_ready()
    browser.open(url(hurried))
    browser.wait_for(".job.incomplete", "INCOMPLETE")
    incomplete = browser.text(".job.incomplete")
    assert "LATE" in incomplete and "again: skipped, it needs about" in incomplete
    assert "NO ANSWER" in browser.text(".job.refused") and "missing_slices" in browser.text(".job.refused")
    assert "NO ANSWER" in browser.text(".job.parked") and "jobs retry" in browser.text(".job.parked")
    assert browser.count(".job") == 3 and browser.count(".job.whole, .job.good") == 0
    looks = "return [...document.querySelectorAll('.job')].map((j) => getComputedStyle(j).borderLeftColor)"
    assert len(set(browser.run(looks))) == 2  # a warning, and two failures
    assert "brightness" in browser.run("return getComputedStyle(document.querySelector('.incomplete img')).filter")
    assert HOSTILE in browser.text(".job.parked .reason")  # as text
    assert browser.count(".reason *") == 0


def test_what_a_caller_calls_itself_is_only_ever_text(daemon, tmp_path, browser):
    save_series(ball_series("mr", Modality="MR"), tmp_path / "in")
    assert send(tmp_path / "in", daemon.dicom_port, "-aet", "<img src=x>").returncode == 0
    wait_until(lambda: status(daemon)["left_out"], 30)
    browser.open(url(daemon))
    browser.wait_for("#left-out", "from <img src=x>")
    assert browser.count("#left-out img") == 0
    assert browser.complaints() == []
    browser.run("const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)")
    assert browser.run("return window.ran") is None  # canary: the policy would stop it even as markup
    assert any("Content Security Policy" in line for line in browser.complaints())


def test_a_daemon_that_is_gone_or_stands_still_turns_the_page_grey_until_it_is_back(daemon, tmp_path, browser):
    send_series(ball_series("gone"), tmp_path / "in", daemon)
    browser.open(url(daemon))
    browser.wait_for(".job.delivered")
    assert not is_grey(browser)
    os.kill(daemon.pid, signal.SIGSTOP)  # it still takes connections
    try:
        browser.wait_for("#lost", "CONNECTION LOST")
        assert is_grey(browser)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    wait_until(lambda: not is_grey(browser), 60)
    daemon.kill_all()
    browser.wait_for("#lost", "CONNECTION LOST")
    assert is_grey(browser) and browser.text("#live") == "NOT LIVE"
    assert "NOT LIVE" in browser.run("return document.title")
    first = browser.text("#lost")
    wait_until(lambda: browser.text("#lost") != first, 30)  # the age goes on
    assert browser.count(".job.delivered") == 1  # what was known is still there, and grey
    daemon.start()
    browser.wait_for("#live", "Live")
    assert not is_grey(browser)


def everything_said(daemon):
    """Every HTTP answer there is, as one text."""
    jobs = status(daemon)["jobs"]
    paths = ["/", "/page.js", "/page.css", "/icon.svg", "/api/status", "/metrics", "/readyz", "/livez", "/no/such/path"]
    paths += [f"/thumbnails/{job['id']}.png" for job in jobs]
    return "\n".join(daemon.get(path)[1].decode(errors="replace") for path in paths).casefold()


def test_no_http_answer_holds_anything_of_the_patient(daemon, tmp_path):
    private = {"StudyDate": "19370411", "StudyDescription": "Zebrafinch", "SeriesDescription": "Quokka"}
    series = ball_series("private", **private)
    gap = ball_series("gap", slices=9, **private)
    other = ball_series("mr", Modality="MR", **private)
    send_series(series, tmp_path / "in", daemon)
    send_series(gap[:4] + gap[5:], tmp_path / "gap", daemon)
    send_series(other, tmp_path / "mr", daemon)
    wait_until(lambda: states(daemon) == ["delivered", "refused"] and status(daemon)["left_out"], 60)
    secrets = [*PATIENT_NAME.split("^"), PATIENT_ID, "ACC-4711", "2.25.", *private.values()]
    for one in (series[0], gap[0], other[0]):
        secrets += [str(one[key].value) for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    assert "missing_slices" in everything_said(daemon) and "edge_jobs" in everything_said(daemon)
    assert [secret for secret in secrets if secret.casefold() in everything_said(daemon)] == []
    change_journal(daemon.spool, "UPDATE jobs SET reason = 'of Zebrafinch' WHERE state = 'refused'")
    wait_until(lambda: [s for s in secrets if s.casefold() in everything_said(daemon)] == ["Zebrafinch"], 30)  # canary


def test_a_picture_is_there_only_where_nothing_is_burned_in_or_the_site_allows_it(tmp_path, engines, out):
    config = write_config(tmp_path / "site.yaml", engines, [{"name": "disk", "type": "folder", "path": str(out)}])
    with Daemon(config, tmp_path / "spool") as daemon:
        daemon.wait_ready()
        unsaid = ball_series("unsaid")
        del unsaid[3].BurnedInAnnotation
        send_series(unsaid, tmp_path / "unsaid", daemon)
        send_series(ball_series("clean"), tmp_path / "clean", daemon)
        wait_until(lambda: sorted(job["thumbnail"] for job in status(daemon)["jobs"]) == [False, True], 60)
        shown, hidden = sorted(status(daemon)["jobs"], key=lambda job: not job["thumbnail"])
        wait_until(lambda: "Burned In Annotation" in hidden_reason(daemon, hidden["id"]), 30)
        code, picture = daemon.get(f"/thumbnails/{shown['id']}.png")
        assert code == 200 and picture.startswith(b"\x89PNG")
        assert daemon.get(f"/thumbnails/{hidden['id']}.png")[0] == 404
        daemon.stop()
        daemon.overrides.append("http.thumbnails=never")
        daemon.start()
        daemon.wait_ready()
        assert daemon.get(f"/thumbnails/{shown['id']}.png")[0] == 404
        assert "switched off" in hidden_reason(daemon, shown["id"])


def hidden_reason(daemon, job_id):
    return next(job["no_thumbnail"] for job in status(daemon)["jobs"] if job["id"] == job_id)


def test_where_a_study_is_is_told_at_the_console(daemon, tmp_path, capsys):
    send_series(ball_series("where"), tmp_path / "in", daemon)
    wait_until(lambda: states(daemon) == ["delivered"], 60)
    sets = [part for override in daemon.overrides for part in ("--set", override)]
    for option, value in (("--accession", "ACC-4711"), ("--patient-id", PATIENT_ID)):
        assert main(["jobs", "find", str(daemon.config), option, value, *sets]) == 0
        said = capsys.readouterr().out
        assert "delivered  complete" in said and "disk: 7 done" in said and "1 series" in said
        assert value not in said
    assert "ACC-4711" not in daemon.log.read_text()


def ask(address, context, **headers):
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_beyond_this_computer_the_page_needs_tls_and_a_login_and_metrics_may_go_apart(
    tmp_path, engines, out, browser, monkeypatch, capsys
):
    config = write_config(tmp_path / "site.yaml", engines, [{"name": "disk", "type": "folder", "path": str(out)}])
    assert main(["check", str(config), "--set", "http.host=0.0.0.0"]) == 78
    assert "http.tls and http.login" in capsys.readouterr().out
    crt, key = certificate(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert main(["password", str(tmp_path / "page.password")]) == 0
    metrics_port = free_port()
    overrides = [
        "http.host=0.0.0.0", f"http.tls.certificate={crt}", f"http.tls.key={key}", "http.login.user=radiology",
        f"http.login.password_file={tmp_path / 'page.password'}", f"http.metrics.port={metrics_port}",
    ]  # fmt: skip
    sets = [part for override in overrides for part in ("--set", override)]
    assert main(["check", str(config), *sets]) == 0
    context = ssl.create_default_context(cafile=str(crt))
    with Daemon(config, tmp_path / "spool", overrides) as daemon:
        apart = f"http://127.0.0.1:{metrics_port}"
        address = f"https://127.0.0.1:{daemon.http_port}"
        wait_until(lambda: answers(f"{apart}/readyz"), 60)
        for path in ("/", "/api/status", "/metrics", "/thumbnails/x.png"):
            assert ask(address + path, context)[0] == 401
        login = "Basic " + base64.b64encode(b"radiology:correct horse battery").decode()
        assert json.loads(ask(f"{address}/api/status", context, Authorization=login)[1])["ready"]
        wrong = "Basic " + base64.b64encode(b"radiology:wrong").decode()
        assert [ask(f"{address}/", context, Authorization=wrong)[0] for _ in range(4)] == [401, 401, 429, 429]
        counted = b"edge_http_login_failures_total 3.0"
        wait_until(lambda: counted in ask(f"{apart}/metrics", None)[1], 30)
        assert ask(f"{apart}/api/status", None)[0] == 404
        assert daemon.get("/livez")[0] == 0  # without TLS nobody answers
        browser.open(f"{address}/", DESKTOP, {"Authorization": login})
        browser.wait_for("#live", "Live")
        browser.wait_for("#ready", "Ready")
        assert "http request failed" not in daemon.log.read_text()


def answers(address):
    try:
        return ask(address, None)[0] == 200
    except OSError:
        return False


def test_files_that_cannot_guard_the_page_are_told_by_check(tmp_path, engines, out, capsys):
    config = write_config(tmp_path / "site.yaml", engines, [{"name": "disk", "type": "folder", "path": str(out)}])
    crt, key = certificate(tmp_path)
    (tmp_path / "p").write_text("plain password\n")
    for overrides, expected in (
        ([f"http.tls.certificate={crt}", f"http.tls.key={tmp_path / 'none'}"], "http.tls.key: there is no file"),
        ([f"http.tls.certificate={key}", f"http.tls.key={crt}"], "cannot be used together"),
        (["http.login.user=a", f"http.login.password_file={tmp_path / 'p'}"], "edge-runtime password"),
    ):
        sets = [part for override in overrides for part in ("--set", override)]
        assert main(["check", str(config), *sets]) == 78
        said = capsys.readouterr().out
        assert expected in said and "plain password" not in said
