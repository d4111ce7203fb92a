"""Results to a folder, each file whole or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import BinaryIO

from edge_runtime.deliver.base import MINIMUM_BYTES_PER_SECOND, Delivery, Outcome, Parcel, Reason, SendFailed
from edge_runtime.deliver.part10 import open_verified, sha256_of

_BLOCK_BYTES = 1 << 20
_STEP_SECONDS = 60.0  # a network file system that does not answer
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FolderDestination:
    """A folder with one writer. Files are `<job>-<file>`, mode 0600; what is there is never overwritten."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path

    @property
    def name(self) -> str:
        """The destination's name in the configuration."""
        return self._name

    def bound_seconds(self, size_bytes: int) -> float:
        """See `Destination`."""
        return _STEP_SECONDS + size_bytes / MINIMUM_BYTES_PER_SECOND

    def send_many(self, parcels: Sequence[Parcel]) -> Generator[Delivery, None, None]:
        """Write one file after the other; the folder is made where it is missing."""
        for parcel in parcels:
            try:
                yield self._write(parcel)
            except SendFailed as failure:
                yield failure.delivery
            except OSError as error:
                yield _delivery_of_error(error)

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, parcel: Parcel) -> Delivery:
        with open_verified(parcel) as source:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{parcel.job_id}-{parcel.file_name}"
            target = self._path / name
            if os.path.lexists(target):
                return self._compare(target, parcel)
            partial = self._path / f".{self._name}-{name}.partial"
            try:
                _copy(source, partial)
                partial.rename(target)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
            _sync_folder(self._path)
        return Delivery(Outcome.DONE, Reason.STORED)

    def _compare(self, target: Path, parcel: Parcel) -> Delivery:
        if target.is_file() and not target.is_symlink():
            with target.open("rb") as there:
                same = sha256_of(there) == parcel.sha256
                os.fsync(there.fileno())
            if same:
                _sync_folder(self._path)
                return Delivery(Outcome.DONE, Reason.DUPLICATE)
        return Delivery(Outcome.PARKED, Reason.CONFLICT, "something else is there under the same name")


def _copy(source: BinaryIO, partial: Path) -> None:
    """Write a durable copy. What an interrupted attempt left is written anew."""
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        while block := source.read(_BLOCK_BYTES):
            out.write(block)
        out.flush()
        os.fsync(out.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)


def _delivery_of_error(error: OSError) -> Delivery:
    detail = f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror}"
    if error.errno in _FULL:
        return Delivery(Outcome.DEFERRED, Reason.DISK_FULL, detail)
    return Delivery(Outcome.DEFERRED, Reason.AWAY, detail, away=True)
