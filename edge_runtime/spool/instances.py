"""Received instances as durable files: `instances/<hour of receipt, UTC>/<id>.dcm`, mode 0600.

An instance is written in one pass. Its receipt is put in its place at the end; then come one fsync of the
file and one of its folder, and only then is it acknowledged. A file without a complete receipt never was.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import SpoolError
from edge_runtime.spool.instance_format import (
    DATA_SET_OFFSET,
    RECEIPT_OFFSET,
    BrokenHeader,
    decode_receipt,
    encode_header,
    encode_receipt,
)
from edge_runtime.spool.instance_incoming import IncomingInstance, Space, spool_error, write_all
from edge_runtime.spool.layout import write_durably
from edge_runtime.spool.receipt import Arrival, Receipt

log = logging.getLogger("edge_runtime.spool")

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ID = re.compile(r"[0-9a-f]{30}")


@dataclass(frozen=True)
class RecoveryReport:
    """What `InstanceStore.recover` found: files with a complete receipt, partial files removed, files set aside."""

    complete: int
    removed: int
    damaged: int


def new_id(received_at: float) -> str:
    """A name that sorts by time: 14 hex digits of microseconds since 1970 and 16 random ones."""
    return f"{int(received_at * 1e6):014x}{secrets.token_hex(8)}"


def hour_of(receipt_id: str) -> str:
    """The folder of an instance, YYYYMMDDHH in UTC.

    Raises:
        SpoolError: the text is no id made here.
    """
    if not _ID.fullmatch(receipt_id):
        raise SpoolError(f"{receipt_id[:40]!r} is not the id of an instance; ids are 30 hexadecimal digits")
    return time.strftime("%Y%m%d%H", time.gmtime(int(receipt_id[:14], 16) / 1e6))


def data_set_offset(path: Path) -> int:
    """Where the data set of an instance file starts, in bytes.

    Raises:
        SpoolError: the file has no header of ours.
    """
    if path.stat().st_size < DATA_SET_OFFSET:
        raise SpoolError(f"{path.name} is too short for an instance file; it is damaged")
    return DATA_SET_OFFSET


def read_receipt(path: Path) -> Receipt | None:
    """The receipt of an instance file; None where it is incomplete: it was never acknowledged.

    Raises:
        SpoolError: the header is damaged.
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as file:
        header = file.read(DATA_SET_OFFSET)
    try:
        return decode_receipt(header)
    except BrokenHeader as error:
        raise SpoolError(f"the header of instance {path.stem} is damaged") from error


def _remove_partial(name: str, folder: int) -> None:
    with contextlib.suppress(OSError):  # left for `recover`: its receipt is incomplete
        os.unlink(name, dir_fd=folder)


class InstanceStore:
    """The instance files under `root`. Safe for many threads; `recover` is for the only writer, before it starts.

    `reserve_bytes` stay free on the disk: an instance is refused before it would go below them.
    `sync` makes a file or folder descriptor durable.
    """

    def __init__(self, root: Path, reserve_bytes: int, sync: Callable[[int], None] = os.fsync) -> None:
        self._sync = sync
        self._root = root
        self._files = root / "instances"
        self._damaged = root / "damaged"
        self._durable_folder = ""
        try:
            if not root.exists():
                root.mkdir(mode=0o700, parents=True)
                self._sync_folder(root.parent)
            self._files.mkdir(mode=0o700, exist_ok=True)
            self._sync_folder(root)
        except OSError as error:
            raise SpoolError(f"the spool {root} cannot be made: {error.strerror}; check its owner and mode") from error
        self._space = Space(self._files, reserve_bytes)

    def keep_free(self, reserve_bytes: int) -> None:
        """Change the reserve, from the next instance on."""
        self._space.reserve_bytes = reserve_bytes

    def begin(self, arrival: Arrival) -> IncomingInstance:
        """Open a file for an instance; nothing is written when the disk is below the reserve.

        Raises:
            SpoolFull: below the reserve, or the disk did not take the header.
            SpoolError: any other failure of the disk.
        """
        receipt_id = new_id(arrival.received_at)
        name = f"{receipt_id}.dcm"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        grant_bytes = self._space.grant(DATA_SET_OFFSET)
        with contextlib.ExitStack() as undo:
            undo.callback(self._space.give_back, grant_bytes)
            try:
                folder = self._open_folder(hour_of(receipt_id))
                undo.callback(os.close, folder)
                file = os.open(name, flags, 0o600, dir_fd=folder)
                undo.callback(os.close, file)
                undo.callback(_remove_partial, name, folder)
                write_all(file, encode_header(arrival))
            except OSError as error:
                raise spool_error(error, "opening an instance file") from error
            undo.pop_all()
        return IncomingInstance(receipt_id, arrival, folder, file, self._space, grant_bytes, self._sync)

    def add(self, receipt: Receipt, data_set: bytes) -> None:
        """Make an instance that is here whole durable: there is all of it, or nothing.

        Raises:
            SpoolFull: below the reserve, or the disk did not take it.
            SpoolError: any other failure of the disk.
        """
        content = encode_header(receipt.arrival)[:RECEIPT_OFFSET] + encode_receipt(receipt) + data_set
        grant_bytes = self._space.grant(len(content))
        try:
            os.close(self._open_folder(hour_of(receipt.id)))
            write_durably(self.path(receipt.id), content)
        except OSError as error:
            raise spool_error(error, "writing an instance file") from error
        finally:
            self._space.give_back(grant_bytes)

    def path(self, receipt_id: str) -> Path:
        """Where the instance file is, or would be.

        Raises:
            SpoolError: the text is no id made here.
        """
        return self._files / hour_of(receipt_id) / f"{receipt_id}.dcm"

    def scan(self) -> Iterator[Receipt]:
        """The receipts of all complete files, oldest first. Partial and damaged files are left out."""
        for path in self._paths():
            with contextlib.suppress(SpoolError, FileNotFoundError):  # `recover` names them; retention removes them
                receipt = read_receipt(path)
                if receipt is not None:
                    yield receipt

    def recover(self) -> RecoveryReport:
        """At start: remove files that were never acknowledged, set damaged ones aside in `damaged/`.

        A complete receipt does not prove that all bytes reached the disk before a power cut:
        `verify` the files that the journal does not know.
        """
        found = dict.fromkeys(("complete", "removed", "damaged"), 0)
        for path in self._paths():
            with contextlib.suppress(FileNotFoundError):  # retention of another process was faster
                found[self._recover_one(path)] += 1
        return RecoveryReport(**found)

    def _recover_one(self, path: Path) -> str:
        try:
            receipt = read_receipt(path)
        except SpoolError:
            self._set_aside(path)
            return "damaged"
        if receipt is None:
            path.unlink()
            return "removed"
        if path.stat().st_size != DATA_SET_OFFSET + receipt.size_bytes:
            self._set_aside(path)
            return "damaged"
        return "complete"

    def verify(self, receipt: Receipt) -> bool:
        """True when the data set has the receipt's size and hash; else the file is moved to `damaged/`.

        Raises:
            SpoolError: the file is missing or cannot be read.
        """
        path = self.path(receipt.id)
        digest, size = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                file.seek(DATA_SET_OFFSET)
                while block := file.read(1 << 20):
                    digest.update(block)
                    size += len(block)
        except OSError as error:
            raise SpoolError(f"instance {receipt.id} cannot be read: {error.strerror}") from error
        if size == receipt.size_bytes and digest.hexdigest() == receipt.sha256:
            return True
        self._set_aside(path)
        return False

    def remove(self, receipt_id: str) -> None:
        """Delete an instance file, and its folder when that is empty and of a past hour. Missing is no error.

        Raises:
            SpoolError: the disk refuses.
        """
        path = self.path(receipt_id)
        try:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.part").unlink(missing_ok=True)
        except OSError as error:
            raise SpoolError(f"instance {receipt_id} cannot be removed: {error.strerror}") from error
        if path.parent.name != time.strftime("%Y%m%d%H", time.gmtime()):
            with contextlib.suppress(OSError):  # not empty, or already gone
                path.parent.rmdir()

    def _paths(self) -> Iterator[Path]:
        for folder in sorted(self._files.iterdir()):
            if folder.is_dir():
                yield from sorted(path for path in folder.glob("*.dcm") if _ID.fullmatch(path.stem))

    def _set_aside(self, path: Path) -> None:
        self._damaged.mkdir(mode=0o700, exist_ok=True)
        path.replace(self._damaged / path.name)
        log.error("damaged instance set aside", extra={"event": {"instance": path.stem, "folder": "damaged"}})

    def _open_folder(self, hour: str) -> int:
        """A descriptor of the hour's folder, which is made durable when it is new."""
        folder = self._files / hour
        if hour == self._durable_folder:
            with contextlib.suppress(FileNotFoundError):  # retention took it while it was empty
                return os.open(folder, _FOLDER_FLAGS)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._sync_folder(self._files)
        self._durable_folder = hour
        return os.open(folder, _FOLDER_FLAGS)

    def _sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, _FOLDER_FLAGS)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)
