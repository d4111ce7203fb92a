"""A program that writes a video stream to its standard output, such as GStreamer with a hardware decoder."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

_LAST_BYTES = 2000
_PIPE_BYTES = 1 << 16
_START_SECONDS = 10.0
_GUARDIAN = str(Path(__file__).with_name("guardian.py"))
_SECRET = re.compile(r"(?<=://)\S*@|(?<=\?)\S+")


class Command:
    """A started program, read by FFmpeg as a file is. Not one byte is waited for that is not needed yet.

    Raises OSError where it cannot be started.
    """

    def __init__(self, command: str, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        words = shlex.split(command)
        if not words:
            raise ValueError("no program is named")
        self._life, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _GUARDIAN, *words],
                stdin=theirs.fileno(),
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
        self._silent = False
        self._begin()
        self.count = 0  # bytes that came

    def _begin(self) -> None:
        try:
            self._life.settimeout(_START_SECONDS)
            answer = self._life.recv(16)
            number = int(answer) if answer else errno.ECHILD
            if number:
                raise OSError(number, os.strerror(number))
        except OSError:
            self.close()
            raise

    def read(self, count: int) -> bytes:
        """Some bytes, as soon as there are any; none at the end.

        Raises TimeoutError when nothing came for `timeout_seconds`; after that it is at its end.
        """
        if self._silent:
            return b""  # FFmpeg's Matroska demuxer reads again after an error
        until = time.monotonic() + self.timeout_seconds
        while (left := until - time.monotonic()) > 0:
            for descriptor, _ in self._poll.poll(1000.0 * left):
                if descriptor == self._out.fileno():
                    content = os.read(descriptor, count)
                    self.count += len(content)
                    return content
                self._listen()
        self._silent = True
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
        return _SECRET.sub("***", next((line for line in reversed(lines) if line), ""))

    def kill(self) -> None:
        """Have it and all it started killed, from any thread."""
        with contextlib.suppress(OSError):
            self._life.shutdown(socket.SHUT_RDWR)

    def close(self) -> int:
        """Kill it and release what it held; its exit status."""
        self.kill()
        status = self._process.wait()
        if self._err.closed:
            return status
        os.set_blocking(self._err.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            self._said = (self._said + os.read(self._err.fileno(), _PIPE_BYTES))[-_LAST_BYTES:]
        for held in (self._life, self._out, self._err):
            held.close()
        return status
