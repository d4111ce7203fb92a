"""Results of live frames as lines of JSON: a file a source, begun anew from time to time. See docs/live-outputs.md."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.frames.frame_result import FrameResult
from edge_runtime.live.event import event_line
from edge_runtime.live.segments import Segments
from edge_runtime.live.sinks import Entry

SUFFIX = "jsonl"
DEPTH = 256
"""Lines of one source that wait for a slow disk."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass
class _OpenFile:
    path: Path
    descriptor: int
    opened_at: float


class LinesWriter:
    """Every line is with the operating system when it counts as sent, and it is there whole or not at all."""

    def __init__(self, segments: Segments, clock: Callable[[], float] = time.monotonic) -> None:
        self._segments = segments
        self._clock = clock
        self._files: dict[str, _OpenFile] = {}

    def write(self, entry: Entry) -> str:
        """Append one line.

        Raises:
            OSError: the disk does not take it. A full one is tried again with the next line.
        """
        line = event_line(entry.result)
        file = self._file(entry.result)
        size = os.fstat(file.descriptor).st_size
        try:
            if os.write(file.descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(file.descriptor, size)
            if error.errno not in _FULL:
                self._close(entry.result.source)
            raise
        return "sent"

    def idle(self) -> None:
        """End the files whose time is over, so that they can be taken away."""
        for source in [source for source, file in self._files.items() if self._is_over(file)]:
            self._close(source)

    def close(self) -> None:
        """End all files."""
        for source in list(self._files):
            self._close(source)

    def _file(self, result: FrameResult) -> _OpenFile:
        file = self._files.get(result.source)
        if file is not None and not self._is_over(file):
            return file
        if file is not None:
            self._close(result.source)
        path, descriptor = self._segments.create(result.source, result.captured_unix)
        file = self._files[result.source] = _OpenFile(path, descriptor, self._clock())
        self._segments.prune(open_file.path for open_file in self._files.values())
        return file

    def _is_over(self, file: _OpenFile) -> bool:
        about = os.fstat(file.descriptor)
        deleted = about.st_nlink == 0
        return deleted or self._segments.is_full(self._clock() - file.opened_at, about.st_size)

    def _close(self, source: str) -> None:
        """Empty files are not left behind."""
        file = self._files.pop(source)
        if os.fstat(file.descriptor).st_size == 0:
            file.path.unlink(missing_ok=True)
        os.close(file.descriptor)
