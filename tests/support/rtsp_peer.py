"""Starts rtsp_server.py and gives it commands; and servers that do not speak."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from pathlib import Path

DEBIAN_PYTHON = "/usr/bin/python3"
_SCRIPT = Path(__file__).with_name("rtsp_server.py")


def free_port() -> int:
    """A port of this computer that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RtspServer:
    """A GStreamer RTSP server."""

    def __init__(self, port: int, codec: str = "h264", rate: int = 25) -> None:
        self.port = port
        self.url = f"rtsp://127.0.0.1:{port}/video"
        self._process = subprocess.Popen(
            [DEBIAN_PYTHON, str(_SCRIPT), str(port), codec, str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def tell(self, command: str) -> None:
        """freeze, pause, stall, go."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Pull its plug."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class SilentServer:
    """Accepts connections. `hang_up` closes each at once, else they are held and never answered."""

    def __init__(self, *, hang_up: bool) -> None:
        self._hang_up = hang_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/video"
        self.accepted = 0
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepted += 1
                if self._hang_up:
                    connection.close()
                else:
                    self._held.append(connection)

    def __enter__(self) -> SilentServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5.0)
        for connection in self._held:
            connection.close()
