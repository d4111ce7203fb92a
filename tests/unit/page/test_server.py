"""The HTTP server, asked over real sockets."""

import base64
import contextlib
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.page import server as server_module
from edge_runtime.page.access import Access
from edge_runtime.page.login import LoginGate, PasswordHash
from edge_runtime.page.routes import everything, is_this_computer, metrics_only
from edge_runtime.page.server import HttpServer
from edge_runtime.telemetry.health import Reason, RoleState, Views

pytestmark = pytest.mark.slow

HASH = PasswordHash.of("a long password")


class Daemon:
    """What the supervisor says, and the page."""

    def __init__(self) -> None:
        self.alive = True
        self.reasons: list[Reason] = []
        self.waiting = threading.Event()
        self.waiting.set()

    def metrics(self) -> bytes:
        if not self.alive:
            raise ValueError("Doe^Jane")
        return b"edge_up 1\n"

    def views(self) -> Views:
        roles = [RoleState("receive", ready=True, reason="", process=1)]
        return Views(lambda: 0.0, lambda: self.alive, lambda: self.reasons, self.metrics, lambda: roles)

    def status(self) -> bytes:
        assert self.waiting.wait(20)
        return b'{"ready":true}'

    def thumbnail(self, name: str) -> bytes | None:
        return b"PNG" if name == "01234567890-89abcdef.png" else None


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def port(daemon: Daemon) -> Iterator[int]:
    server = HttpServer("http", ("127.0.0.1", 0), everything(daemon.views(), daemon, any_host=False))
    yield server.port
    server.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    status, found, body = whole(port, path, method, **headers)
    return status, found["Content-Type"], body


def whole(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=15)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        assert answer.getheader("Server", "").strip() == "edge-runtime"
        return answer.status, answer.msg, answer.read()


def test_livez_says_whether_the_supervisors_loop_turns(daemon: Daemon, port: int) -> None:
    assert ask(port, "/livez")[0] == 200
    daemon.alive = False
    status, _, body = ask(port, "/livez")
    assert (status, body) == (503, b"the supervisor's loop stands still\n")


def test_readyz_lists_every_reason(daemon: Daemon, port: int) -> None:
    assert ask(port, "/readyz") == (200, "application/json", b"[]\n")
    daemon.reasons = [Reason("infer", "starting"), Reason("receive", "the disk is full")]
    status, _, body = ask(port, "/readyz")
    assert status == 503
    assert json.loads(body) == [
        {"role": "infer", "reason": "starting"}, {"role": "receive", "reason": "the disk is full"},
    ]  # fmt: skip


def test_metrics_are_in_the_text_format(port: int) -> None:
    assert ask(port, "/metrics?x=1") == (200, "text/plain; version=0.0.4; charset=utf-8", b"edge_up 1\n")


def test_the_page_comes_with_its_own_script_and_style_and_a_policy_that_allows_no_other(port: int) -> None:
    status, headers, body = whole(port, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    for name in ("page.css", "page.js", "live.js"):
        assert name.encode() in body
        assert ask(port, f"/{name}")[0] == 200
    assert b"//" not in body.replace(b"<!doctype", b"")  # nothing comes from elsewhere
    assert b"<style" not in body and b" style=" not in body and b"onclick" not in body


def test_the_status_and_the_thumbnails_are_served(port: int) -> None:
    assert ask(port, "/api/status") == (200, "application/json", b'{"ready":true}')
    assert ask(port, "/thumbnails/01234567890-89abcdef.png") == (200, "image/png", b"PNG")


@pytest.mark.parametrize(
    "path",
    ["/../etc/passwd", "/thumbnails/", "/thumbnails/../01234567890-89abcdef.png", "/thumbnails/x.png",
     "/static/page.js", "/page.html", "/thumbnails/01234567890-89abcdef.png/", "/api/status/"],
)  # fmt: skip
def test_other_paths_are_not_found(port: int, path: str) -> None:
    assert ask(port, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_only_get_is_answered(port: int, method: str) -> None:
    assert ask(port, "/metrics", method)[0] == 501


@pytest.mark.parametrize(
    ("host", "taken"),
    [("localhost", True), ("localhost:9464", True), ("127.0.0.1:9464", True), ("[::1]:9464", True), ("10.1.2.3", True),
     ("", True), ("evil.example", False), ("evil.example:9464", False), ("localhost.evil.example", False),
     ("127.0.0.1.evil.example", False), ("evil@localhost", False), ("[::1", True), ("a:b:c", False)],
)  # fmt: skip
def test_a_host_that_names_a_domain_is_not_this_computer(host: str, taken: bool) -> None:
    assert is_this_computer(host) is taken


def test_a_page_of_another_site_cannot_read_the_status_by_a_name_that_points_here(port: int) -> None:
    for path in ("/", "/api/status", "/thumbnails/01234567890-89abcdef.png"):
        assert ask(port, path, Host="evil.example")[0] == 421
    assert ask(port, "/metrics", Host="edge-1.hospital.example:9464")[0] == 200


def test_what_is_bound_apart_for_metrics_shows_nothing_else(daemon: Daemon) -> None:
    server = HttpServer("http.metrics", ("127.0.0.1", 0), metrics_only(daemon.views()))
    try:
        assert [ask(server.port, path)[0] for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
        assert [ask(server.port, path)[0] for path in ("/", "/api/status", "/page.js")] == [404] * 3
    finally:
        server.close()


def test_a_port_in_use_is_one_clear_error(port: int, daemon: Daemon) -> None:
    with pytest.raises(EdgeRuntimeError) as caught:
        HttpServer("http", ("127.0.0.1", port), metrics_only(daemon.views()))
    assert str(caught.value) == (
        f"http: 127.0.0.1:{port} cannot be used: Address already in use; change http.host or http.port"
    )
    assert caught.value.exit_code == 1


def test_a_host_that_is_not_ours_is_one_clear_error(daemon: Daemon) -> None:
    with pytest.raises(EdgeRuntimeError, match=r"http.metrics: 192\.0\.2\.1:0 cannot be used"):
        HttpServer("http.metrics", ("192.0.2.1", 0), metrics_only(daemon.views()))


def test_a_failing_view_is_one_line_of_the_log_and_the_server_goes_on(
    daemon: Daemon, port: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon.alive = False
    with caplog.at_level(logging.ERROR), pytest.raises(http.client.RemoteDisconnected):
        ask(port, "/metrics")
    daemon.alive = True
    assert ask(port, "/metrics")[0] == 200
    (record,) = caplog.records
    assert record.getMessage() == "http request failed"
    assert "Doe" not in str(record.__dict__["event"])
    assert capfd.readouterr().err == ""


def test_silent_and_broken_clients_do_not_keep_others_waiting(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.ExitStack() as open_sockets:
        for number in range(3 * server_module.CONNECTIONS):
            client = open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            if number % 2:
                client.sendall(b"\x00\xff not http\r\n\r\n")
        assert ask(port, "/livez")[0] == 200
    assert capfd.readouterr().err == ""


def http_threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_requests_that_hang_take_a_bounded_number_of_threads(daemon: Daemon, port: int) -> None:
    daemon.waiting.clear()
    try:
        with contextlib.ExitStack() as open_sockets:
            for _ in range(4 * server_module.CONNECTIONS):
                client = open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                client.sendall(b"GET /api/status HTTP/1.0\r\n\r\n")
            deadline = time.monotonic() + 10
            while http_threads() < 2 * server_module.CONNECTIONS and time.monotonic() < deadline:
                time.sleep(0.02)
            assert http_threads() == 2 * server_module.CONNECTIONS
    finally:
        daemon.waiting.set()


def test_a_client_that_drips_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "LONGEST_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\nX: ")
        with pytest.raises(ConnectionError):
            for _ in range(500):
                client.sendall(b"x")
                time.sleep(0.02)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_with_a_login_every_path_asks_for_it_and_failures_are_counted(daemon: Daemon) -> None:
    failures: list[None] = []
    gate = LoginGate("radiology", HASH, lambda: failures.append(None))
    route = everything(daemon.views(), daemon, any_host=True)
    server = HttpServer("http", ("127.0.0.1", 0), route, Access(gate=gate))
    try:
        for path in ("/", "/api/status", "/metrics", "/livez", "/nothing"):
            status, headers, body = whole(server.port, path)
            assert (status, body) == (401, b"a login is needed\n")
            assert headers["WWW-Authenticate"].startswith("Basic ")
        assert not failures
        right = basic("radiology", "a long password")
        assert ask(server.port, "/api/status", Authorization=right, Host="edge.example")[0] == 200
        wrong = basic("radiology", "a wrong password")
        assert [ask(server.port, "/", Authorization=wrong)[0] for _ in range(3)] == [401, 401, 429]
        status, headers, _ = whole(server.port, "/", Authorization=basic("radiology", "another"))
        assert (status, headers["Retry-After"]) == (429, "1")
        assert len(failures) == 3  # the last was not looked at
        assert ask(server.port, "/", Authorization=right)[0] == 200  # who is in stays in
    finally:
        server.close()
