"""Files of limited length in a folder of limited size: how they are named, when a new one begins, which ones go."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SHARE_OF_ONE_FILE = 8
_NEW = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class FolderUnusable(OSError):
    """No file can be made in the folder. Its text is for the log: the folder's path, and why."""


@dataclass(frozen=True)
class Segments:
    """Files `SOURCE-YYYYMMDDTHHMMSS.mmm.SUFFIX` (UTC, milliseconds): sorted by name, those of a source are in order."""

    folder: Path
    suffix: str
    segment_seconds: float
    keep_bytes: int

    def is_full(self, open_seconds: float, size_bytes: int) -> bool:
        """Whether a file that was opened so long ago has come to its end: by time, or by its share of `keep_bytes`."""
        return open_seconds >= self.segment_seconds or size_bytes >= self.keep_bytes / _SHARE_OF_ONE_FILE

    def create(self, source: str, unix_seconds: float) -> tuple[Path, int]:
        """A new, empty file that only we can read, and its descriptor. The folder is made where it is missing.

        Raises:
            FolderUnusable: there is no room, or no right to write.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FolderUnusable(f"{self.folder}: the folder cannot be made: {error.strerror}") from error
        milliseconds = int(unix_seconds * 1000)
        while True:
            path = self.folder / f"{source}-{_stamp(milliseconds)}.{self.suffix}"
            try:
                return path, os.open(path, _NEW, 0o600)
            except FileExistsError:
                milliseconds += 1
            except OSError as error:
                raise FolderUnusable(f"{self.folder}: no file can be made there: {error.strerror}") from error

    def prune(self, in_use: Iterable[Path], now_unix: float | None = None) -> int:
        """Delete the oldest files, by the time in their names, until `keep_bytes` hold the others; how many went.

        Names later than now are of a clock that was ahead: those files are older than all others. Files of other
        names, and what is no plain file, are neither counted nor touched.
        """
        kept = set(in_use)
        now = _stamp(int((time.time() if now_unix is None else now_unix) * 1000))
        files = sorted(self._files(), key=lambda file: (file[0] <= now, *file))
        total, gone = sum(size for *_, size in files), 0
        for _, _, name, size in files:
            path = self.folder / name
            if total <= self.keep_bytes:
                break
            if path not in kept:
                path.unlink(missing_ok=True)
                total, gone = total - size, gone + 1
        return gone

    def _files(self) -> Iterator[tuple[str, int, str, int]]:
        """Time, number, name and size of each; names without milliseconds are of earlier versions."""
        pattern = re.compile(rf".+-(\d{{8}}T\d{{6}}(?:\.\d{{3}})?)(?:-(\d+))?\.{re.escape(self.suffix)}")
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):  # somebody else has taken it away
                name, about = pattern.fullmatch(entry.name), entry.stat(follow_symlinks=False)
                if name is not None and stat.S_ISREG(about.st_mode):
                    yield name[1], int(name[2] or 1), entry.name, about.st_size


def _stamp(milliseconds: int) -> str:
    """YYYYMMDDTHHMMSS.mmm, UTC."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}.{rest:03d}"
