"""What systemd is told."""

import socket

import pytest

from edge_runtime.telemetry.health import notify_systemd


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
