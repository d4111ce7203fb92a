"""A program that writes a video stream to its standard output, such as GStreamer with a hardware decoder."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import time

_LAST_BYTES = 2000
_PIPE_BYTES = 1 << 16
_SECRET = re.compile(r"(?<=://)[^/\s@]*@")


class Command:
    """A started program, read by FFmpeg as a file is. Not one byte is waited for that is not needed yet.

    Raises OSError where it cannot be started.
    """

    def __init__(self, command: str, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, self._err = self._process.stdout, self._process.stderr
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._poll.register(self._err, select.POLLIN)
        self._said = b""
        self.count = 0  # bytes that came

    def read(self, count: int) -> bytes:
        """Some bytes, as soon as there are any; none at the end.

        Raises TimeoutError when nothing came for `timeout_seconds`.
        """
        until = time.monotonic() + self.timeout_seconds
        while (left := until - time.monotonic()) > 0:
            for descriptor, _ in self._poll.poll(1000.0 * left):
                if descriptor == self._out.fileno():
                    content = os.read(descriptor, count)
                    self.count += len(content)
                    return content
                self._listen()
        raise TimeoutError

    def _listen(self) -> None:
        said = os.read(self._err.fileno(), _LAST_BYTES)
        self._said = (self._said + said)[-_LAST_BYTES:]
        if not said:
            self._poll.unregister(self._err)

    @property
    def last_line(self) -> str:
        """The last line that it wrote to its standard error, without what an address may say of users."""
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines()]
        return _SECRET.sub("***@", next((line for line in reversed(lines) if line), ""))

    def kill(self) -> None:
        """Kill it and all it started, from any thread."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> int:
        """Kill it and release what it held; its exit status."""
        self.kill()
        status = self._process.wait()
        os.set_blocking(self._err.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            self._said = (self._said + os.read(self._err.fileno(), _PIPE_BYTES))[-_LAST_BYTES:]
        self._out.close()
        self._err.close()
        return status
