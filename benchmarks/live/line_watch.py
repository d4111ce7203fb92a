"""Lines that another process appends to files of a folder, and the moment at which each was seen (inotify(7))."""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time
from pathlib import Path
from types import TracebackType

_CREATED, _MODIFIED = 0x100, 0x2
_EVENT_BYTES = 65_536
_WAIT_SECONDS = 0.2


class LineWatch:
    """Watches the files `*.jsonl` of a folder that exists; a context manager.

    Raises:
        OSError: the kernel does not watch it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._read, self._rest = folder, dict[Path, int](), dict[Path, bytes]()
        self._lines: list[tuple[float, bytes]] = []
        self._stopping = threading.Event()
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if (
            self._descriptor < 0
            or libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _CREATED | _MODIFIED) < 0
        ):
            raise OSError(ctypes.get_errno(), f"{folder} cannot be watched")
        self._thread = threading.Thread(target=self._run, name="line-watch", daemon=True)

    def __enter__(self) -> LineWatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join()
        os.close(self._descriptor)

    def lines(self) -> list[tuple[float, bytes]]:
        """All so far: when each was seen (CLOCK_MONOTONIC seconds), and the line."""
        return list(self._lines)

    def _run(self) -> None:
        while not self._stopping.is_set():
            if select.select([self._descriptor], [], [], _WAIT_SECONDS)[0]:
                now = time.monotonic()
                os.read(self._descriptor, _EVENT_BYTES)
                for file in self._folder.glob("*.jsonl"):
                    self._take(file, now)

    def _take(self, file: Path, now: float) -> None:
        with file.open("rb") as content:
            content.seek(self._read.get(file, 0))
            added = content.read()
        self._read[file] = self._read.get(file, 0) + len(added)
        *whole, self._rest[file] = (self._rest.get(file, b"") + added).split(b"\n")
        self._lines.extend((now, line) for line in whole)
