"""Where things lie in a spool, what version it has, and who holds it."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from edge_runtime.errors import SpoolError, SpoolLocked, SpoolTooNew

log = logging.getLogger("edge_runtime.spool")

SPOOL_VERSION = 1
DISCARDED = ".discarded"

_FOLDERS = ("instances", "jobs", "run")


class Layout:
    """The folders of a spool.

    VERSION  journal.sqlite  retired.jsonl  instances/<hour>/<id>.dcm  jobs/<id>/  damaged/  run/<role>.lock
    examinations/<source>.json
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.instances = root / "instances"
        self.jobs = root / "jobs"
        self.run = root / "run"
        self.examinations = root / "examinations"
        self.journal = root / "journal.sqlite"
        self.retired = root / "retired.jsonl"
        self.version = root / "VERSION"

    def job(self, job_id: str) -> Path:
        """The folder of one job: job.json, result.json, report/, delivered.jsonl."""
        return self.jobs / job_id

    def create(self) -> None:
        """Make what is missing and check the version.

        Raises:
            SpoolError: the folder cannot be written.
            SpoolTooNew: a newer runtime made it.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in _FOLDERS:
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
            if not self.version.exists():
                write_durably(self.version, f"{SPOOL_VERSION}\n".encode())
            probe = self.run / f"probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
            self._check_version()
        except OSError as error:
            raise SpoolError(f"spool {self.root} cannot be written: {error.strerror}; check spool.path") from error

    def _check_version(self) -> None:
        text = self.version.read_text(encoding="ascii", errors="replace").strip()
        if not text.isdigit():
            raise SpoolError(
                f"spool {self.root}: {self.version.name} holds no number; this is no spool, give another spool.path"
            )
        if int(text) > SPOOL_VERSION:
            raise SpoolTooNew(
                f"spool {self.root} has version {text}, this runtime knows up to {SPOOL_VERSION}; "
                "install the newer runtime again, or give another spool.path"
            )


def discard_job(layout: Layout, job_id: str) -> None:
    """Delete a job's folder. It is renamed first, so that one that is half deleted is not taken for a job."""
    doomed = layout.jobs / f"{job_id}{DISCARDED}"
    try:
        if layout.job(job_id).exists():
            layout.job(job_id).rename(doomed)
        if doomed.exists():
            shutil.rmtree(doomed)
    except OSError as error:  # the next start tries again
        log.warning("job folder not deleted", extra={"event": {"job": job_id, "cause": error.strerror}})


def hold(path: Path, wait_seconds: float = 0.0) -> IO[bytes]:
    """Take the exclusive lock of `path` for as long as the returned file is open.

    Raises:
        SpoolLocked: another process still holds it after `wait_seconds`.
    """
    give_up_at = time.monotonic() + wait_seconds
    file = path.open("ab")
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                file.close()
                raise
            if time.monotonic() >= give_up_at:
                file.close()
                raise SpoolLocked(f"{path} is held by another process; is the daemon running twice?") from error
            time.sleep(0.05)
        else:
            return file


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole file so that after power loss there is either the old one or this one. Mode 0600."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def append_durably(path: Path, *records: dict[str, Any]) -> None:
    """Append JSON lines and make them survive power loss. A line torn by a crash is completed to a line of its own."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        lines = [json.dumps(record, sort_keys=True).encode() + b"\n" for record in records]
        file.write((b"\n" if torn else b"") + b"".join(lines))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole records of a file of JSON lines, which may be large; a torn line is left out."""
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record
