"""An instance file while its bytes arrive, and the bookkeeping of the space it may still take."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.errors import SpoolError, SpoolFull
from edge_runtime.spool.instance_format import RECEIPT_OFFSET, encode_receipt
from edge_runtime.spool.receipt import Arrival, Receipt

log = logging.getLogger("edge_runtime.spool")

GRANT_BYTES = 1 << 20  # space that one incoming instance is promised at a time
FLUSH_BYTES = 64 << 20  # a long object is flushed at this stride, so that its last fsync is short
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})


def spool_error(error: OSError, doing: str) -> SpoolError:
    """The error for a refusal of the disk: SpoolFull where it can take no more bytes."""
    kind = SpoolFull if error.errno in _FULL else SpoolError
    return kind(f"{doing} failed: {error.strerror}; nothing was kept; check the disk of the spool")


def write_all(file: int, data: bytes | memoryview) -> None:
    """`os.write` until all is written.

    Raises:
        OSError: the disk did not take it.
    """
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])


class Space:
    """Keeps `reserve_bytes` of the disk free: bytes are granted before they are written. Thread-safe."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self.reserve_bytes = reserve_bytes
        self._granted_bytes = 0
        self._lock = threading.Lock()

    def grant(self, needed_bytes: int, used_bytes: int = 0) -> int:
        """Promise at least `needed_bytes`, in exchange for a used-up grant; returns how many.

        Raises:
            SpoolFull: the disk would go below its reserve.
            SpoolError: the disk does not say what is free.
        """
        grant_bytes = max(GRANT_BYTES, needed_bytes)
        with self._lock:
            try:
                disk = os.statvfs(self._folder)
            except OSError as error:
                raise spool_error(error, "asking for free space") from error
            free_bytes = disk.f_bavail * disk.f_frsize
            granted_bytes = self._granted_bytes - used_bytes + grant_bytes
            if free_bytes - granted_bytes < self.reserve_bytes:
                raise SpoolFull(
                    f"the spool has {free_bytes} bytes left, its reserve is {self.reserve_bytes}; make room"
                )
            self._granted_bytes = granted_bytes
        return grant_bytes

    def give_back(self, grant_bytes: int) -> None:
        """End a grant."""
        with self._lock:
            self._granted_bytes -= grant_bytes


class IncomingInstance:
    """An instance that is being written. End it with `commit` or `abort`; one thread at a time."""

    def __init__(
        self,
        receipt_id: str,
        arrival: Arrival,
        folder: int,
        file: int,
        space: Space,
        grant_bytes: int,
        sync: Callable[[int], None],
    ) -> None:
        self.id = receipt_id
        self.size_bytes = 0
        self._arrival = arrival
        self._folder = folder
        self._file = file
        self._space = space
        self._grant_bytes = grant_bytes
        self._left_bytes = grant_bytes
        self._sync = sync
        self._hash = hashlib.sha256()
        self._flush_at_bytes = FLUSH_BYTES

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the data set.

        Raises:
            SpoolFull: the disk is below its reserve or did not take them. The file is gone.
            SpoolError: any other failure of the disk. The file is gone.
        """
        size = len(data)
        with self._undone_on_failure("writing an instance"):
            if size > self._left_bytes:
                self._grant_bytes = self._left_bytes = self._space.grant(size, used_bytes=self._grant_bytes)
            write_all(self._file, data)
            self._hash.update(data)
            self._left_bytes -= size
            self.size_bytes += size
            if self.size_bytes >= self._flush_at_bytes:
                self._flush_at_bytes = self.size_bytes + FLUSH_BYTES
                self._sync(self._file)

    def commit(self) -> Receipt:
        """Complete the receipt and make all durable. A failed fsync is not tried again: its pages are lost.

        Raises:
            SpoolFull: the disk did not take it. The file is gone.
            SpoolError: any other failure of the disk. The file is gone.
        """
        receipt = Receipt(self.id, self._arrival, self._hash.hexdigest(), self.size_bytes)
        with self._undone_on_failure("making an instance durable"):
            if os.pwrite(self._file, encoded := encode_receipt(receipt), RECEIPT_OFFSET) != len(encoded):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._sync(self._file)
            self._sync(self._folder)
        self._close()
        return receipt

    def abort(self) -> None:
        """Remove what was written. Does nothing after the end."""
        if self._file < 0:
            return
        try:
            os.unlink(f"{self.id}.dcm", dir_fd=self._folder)
        except OSError as error:  # left for `recover`
            log.warning("partial instance not removed", extra={"event": {"instance": self.id, "cause": error.strerror}})
        self._close()

    @contextlib.contextmanager
    def _undone_on_failure(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.abort()
            raise spool_error(error, doing) from error
        except SpoolError:
            self.abort()
            raise

    def _close(self) -> None:
        file, self._file = self._file, -1
        os.close(file)
        os.close(self._folder)
        self._space.give_back(self._grant_bytes)
