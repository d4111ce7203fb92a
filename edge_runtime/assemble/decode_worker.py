"""The process that decodes: started by `decoder`, limited before it imports a codec, ended with its parent.

Arguments: the socket, the memory file that carries pixels, the address space in bytes, the largest decoded object in
bytes, and the parent's process id.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from edge_runtime.assemble import wire
from edge_runtime.errors import DecodeRefused

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_KEPT_BYTES = 64_000_000  # of the memory file, from one object to the next
_HEADER_BYTES = 64_000_000  # that a file may be larger than the pixels allowed
_STDERR = 2
# What pydicom and the codecs raise; anything else ends this process, and the parent replaces it.
_GIVEN_UP = (RuntimeError, OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError,
             AssertionError, BufferError, ImportError, SystemError)  # fmt: skip


def main() -> None:
    """Serve one connection until the parent closes it."""
    socket_fd, pixels_fd, memory_bytes, maximum_bytes, parent = (int(argument) for argument in sys.argv[1:6])
    _limit(memory_bytes, maximum_bytes, parent)
    connection = socket.socket(fileno=socket_fd)
    _import_codecs()
    complaints = os.memfd_create("codec-complaints")
    os.dup2(complaints, _STDERR)  # codecs write values there; and what libjpeg writes decides on its streams
    wire.send(connection, {"ready": True})
    with contextlib.suppress(EOFError):
        while True:
            request = wire.receive(connection, None)
            wire.send(connection, _answer(Path(request["path"]), pixels_fd, maximum_bytes))


def _limit(memory_bytes: int, maximum_bytes: int, parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent ended before its decode process started")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent ends this process, after what it runs
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (maximum_bytes, maximum_bytes))
    os.nice(5)
    with contextlib.suppress(OSError):  # without /proc the kernel's own order holds
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def _import_codecs() -> None:
    for name in ("edge_runtime.assemble.decode_one", "edge_runtime.assemble.jpeg_extended"):
        __import__(name)


def _answer(path: Path, pixels_fd: int, maximum_bytes: int) -> dict[str, Any]:
    from edge_runtime.assemble.decode_one import decode_file

    if os.fstat(pixels_fd).st_size > _KEPT_BYTES:
        os.ftruncate(pixels_fd, _KEPT_BYTES)
    os.ftruncate(_STDERR, 0)
    os.lseek(_STDERR, 0, os.SEEK_SET)
    try:
        return decode_file(path, pixels_fd, maximum_bytes, maximum_bytes + _HEADER_BYTES, _codec_complained)
    except DecodeRefused as refused:
        return {"reason": refused.reason, "detail": refused.detail}
    except MemoryError:
        return {"reason": "decode_memory", "detail": "decoding needs more memory than decode.memory_bytes allows"}
    except _GIVEN_UP as error:  # not the message: it could quote patient data
        return {"reason": "decode_failed", "detail": f"the decoder gave up ({type(error).__name__})"}


def _codec_complained() -> bool:
    return b"JPEG" in os.pread(_STDERR, 1 << 16, 0)


if __name__ == "__main__":
    main()
