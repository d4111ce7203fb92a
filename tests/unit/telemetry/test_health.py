"""The HTTP server, asked over real sockets."""

import contextlib
import http.client
import json
import logging
import socket
from collections.abc import Iterator

import pytest

from edge_runtime.config import Http
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.telemetry.health import HealthServer, Reason, Views, notify_systemd


class Daemon:
    def __init__(self) -> None:
        self.alive = True
        self.reasons: list[Reason] = []

    def metrics(self) -> bytes:
        if not self.alive:
            raise ValueError("Doe^Jane")
        return b"edge_up 1\n"

    def views(self) -> Views:
        return Views(lambda: self.alive, lambda: self.reasons, self.metrics, lambda: [("receive", "<ready>")])


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def port(daemon: Daemon) -> Iterator[int]:
    server = HealthServer(Http(port=0), daemon.views())
    yield server.port
    server.close()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        assert answer.getheader("Server", "").strip() == "edge-runtime"
        return answer.status, answer.getheader("Content-Type", ""), answer.read()


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


def test_the_page_shows_roles_and_reasons_escaped(daemon: Daemon, port: int) -> None:
    assert b"<p>Ready." in ask(port, "/")[2]
    daemon.reasons = [Reason("infer", "<script>")]
    _, content_type, body = ask(port, "/")
    assert content_type.startswith("text/html")
    assert b"&lt;ready&gt;" in body
    assert b"infer: &lt;script&gt;" in body
    assert b"<script>" not in body


def test_other_paths_and_methods_are_refused(port: int) -> None:
    assert ask(port, "/../etc/passwd")[0] == 404
    assert ask(port, "/metrics", "POST")[0] == 501


def test_a_port_in_use_is_one_clear_error(port: int, daemon: Daemon) -> None:
    with pytest.raises(EdgeRuntimeError) as caught:
        HealthServer(Http(port=port), daemon.views())
    assert str(caught.value) == (
        f"http: 127.0.0.1:{port} cannot be used: Address already in use; change http.host or http.port"
    )
    assert caught.value.exit_code == 1


def test_a_host_that_is_not_ours_is_one_clear_error(daemon: Daemon) -> None:
    with pytest.raises(EdgeRuntimeError, match=r"http: 192\.0\.2\.1:0 cannot be used"):
        HealthServer(Http(host="192.0.2.1", port=0), daemon.views())


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
        for number in range(20):
            client = open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            if number % 2:
                client.sendall(b"\x00\xff not http\r\n\r\n")
        assert ask(port, "/livez")[0] == 200
    assert capfd.readouterr().err == ""


def test_systemd_is_told_where_it_listens_and_nothing_happens_where_it_does_not(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_systemd("READY=1")
    path = tmp_path_factory.mktemp("n") / "notify"
    for address in (str(path), "@edge-runtime-test-notify"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind("\0" + address[1:] if address.startswith("@") else address)
            monkeypatch.setenv("NOTIFY_SOCKET", address)
            notify_systemd("WATCHDOG=1")
            assert systemd.recv(100) == b"WATCHDOG=1"
        notify_systemd("WATCHDOG=1")
