"""The runtime's end of one decode process: start, ask, and end it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.assemble import wire
from edge_runtime.assemble.decoded import DecodedObject, described
from edge_runtime.config import Decode
from edge_runtime.domain import Array
from edge_runtime.errors import DecodeRefused

_START_SECONDS = 60.0
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
REASONS = (
    "unreadable_header",
    "unsupported_transfer_syntax",
    "no_pixels",
    "unsupported_pixel_format",
    "unsupported_photometric",
    "bad_rescale",
    "too_large",
    "truncated",
    "pixel_length_mismatch",
    "decode_failed",
    "decode_memory",
    "decode_timeout",
    "decode_crashed",
    "decode_unavailable",
)


class WorkerLost(DecodeRefused):
    """The process did not answer and is no longer to be used."""


class WorkerProcess:
    """A started process. Pixels come through a memory file that it and the runtime share.

    Raises WorkerLost("decode_unavailable") when the process does not come up.
    """

    def __init__(self, config: Decode) -> None:
        self._config = config
        self._connection, theirs = socket.socketpair()
        self._pixels_fd = os.memfd_create("decoded-pixels", os.MFD_CLOEXEC)
        descriptors = (theirs.fileno(), self._pixels_fd)
        limits = (config.memory_bytes, config.maximum_pixels_bytes, os.getpid())
        arguments = [str(value) for value in (*descriptors, *limits)]
        command = [sys.executable, "-m", "edge_runtime.assemble.decode_worker", *arguments]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=descriptors, env=_environment()
            )
        except OSError:
            self._release()
            raise
        finally:
            theirs.close()
        try:
            wire.receive(self._connection, _START_SECONDS)
        except (EOFError, TimeoutError):
            detail = f"the decode process did not start (exit status {self.end()}); is decode.memory_bytes enough?"
            raise WorkerLost("decode_unavailable", detail) from None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def decode(self, path: Path) -> DecodedObject:
        """Have one file decoded.

        Raises DecodeRefused with one of REASONS; WorkerLost when the process is to be replaced.
        """
        try:
            wire.send(self._connection, {"path": os.fspath(path)})
            answer = wire.receive(self._connection, self._config.timeout_seconds)
        except TimeoutError:
            detail = f"no pixels within decode.timeout_seconds = {self._config.timeout_seconds:g}"
            raise WorkerLost("decode_timeout", detail) from None
        except (EOFError, ConnectionError):
            raise WorkerLost("decode_crashed", "the decode process ended while it decoded this object") from None
        try:
            return self._decoded(answer)
        except (KeyError, TypeError, ValueError):
            raise WorkerLost("decode_crashed", "the decode process gave an answer that makes no sense") from None

    def _decoded(self, answer: dict[str, Any]) -> DecodedObject:
        reason = answer.get("reason")
        if reason in REASONS:
            raise DecodeRefused(reason, str(answer["detail"]))
        facts, planes = described(answer)
        shape = tuple(int(extent) for extent in answer["shape"])
        dtype = np.dtype({"float32": np.float32, "uint8": np.uint8}[answer["dtype"]])
        if min(shape) < 1 or int(np.prod(shape, dtype=object)) * dtype.itemsize > self._config.maximum_pixels_bytes:
            raise ValueError("a shape beyond decode.maximum_pixels_bytes")
        frames = np.empty(shape, dtype)
        self._read_pixels(frames)
        return DecodedObject(facts, planes, frames)

    def _read_pixels(self, frames: Array) -> None:
        view = frames.data.cast("B")
        done = 0
        while done < len(view):
            count = os.preadv(self._pixels_fd, [view[done:]], done)
            if count == 0:
                raise ValueError("fewer pixels than stated")
            done += count

    def kill(self) -> None:
        """Kill the process, from any thread: a `decode` under way raises WorkerLost."""
        self._process.kill()

    def end(self) -> int:
        """Kill the process if it still runs, release what it held, and return its exit status."""
        self._process.kill()
        status = self._process.wait()
        self._release()
        return status

    def _release(self) -> None:
        self._connection.close()
        os.close(self._pixels_fd)


def _environment() -> dict[str, str]:
    """One thread for numerical libraries: each thread's stack counts against the address space.

    And an allocator (glibc's) that keeps a frame's memory for the next frame: giving it back costs more than decoding.
    """
    path = os.pathsep.join(part for part in (str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH")) if part)
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    allocator = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 27)}
    return {**os.environ, **threads, **allocator, "PYTHONPATH": path}
