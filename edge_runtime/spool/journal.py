"""The journal: a SQLite database of states. The files are the truth; this can be rebuilt from them.

Every transaction is short and spans no other I/O. `durable=False` is for what the files already say.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge_runtime.errors import SpoolError, SpoolTooNew

log = logging.getLogger("edge_runtime.spool")

JOURNAL_VERSION = 2

_SCHEMA = """
CREATE TABLE instances (
  id TEXT PRIMARY KEY,
  sop_class_uid TEXT NOT NULL, sop_instance_uid TEXT NOT NULL, transfer_syntax_uid TEXT NOT NULL,
  caller_ae_title TEXT NOT NULL, caller_host TEXT NOT NULL, called_ae_title TEXT NOT NULL,
  received_at REAL NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', series_key TEXT
) STRICT;
CREATE INDEX instances_state ON instances(state, received_at);
CREATE INDEX instances_uid ON instances(sop_instance_uid);
CREATE INDEX instances_series ON instances(series_key);
CREATE TABLE series (
  key TEXT PRIMARY KEY,
  study_instance_uid TEXT NOT NULL, series_instance_uid TEXT NOT NULL,
  accession_number TEXT NOT NULL, header TEXT NOT NULL
) STRICT;
CREATE INDEX series_accession ON series(accession_number);
CREATE TABLE jobs (
  id TEXT PRIMARY KEY, series_key TEXT NOT NULL, pipeline TEXT NOT NULL, revision INTEGER NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0, report_attempts INTEGER NOT NULL DEFAULT 0,
  interruptions INTEGER NOT NULL DEFAULT 0,
  created_at REAL NOT NULL, first_received_at REAL NOT NULL, last_received_at REAL NOT NULL,
  deadline_at REAL NOT NULL, ended_at REAL, amends TEXT,
  UNIQUE (series_key, pipeline, revision)
) STRICT;
CREATE INDEX jobs_state ON jobs(state, deadline_at);
CREATE TABLE job_instances (
  job_id TEXT NOT NULL, instance_id TEXT NOT NULL, PRIMARY KEY (job_id, instance_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_instances_instance ON job_instances(instance_id);
CREATE TABLE results (
  job_id TEXT NOT NULL, file_name TEXT NOT NULL, kind TEXT NOT NULL, sha256 TEXT NOT NULL,
  sop_class_uid TEXT, sop_instance_uid TEXT, PRIMARY KEY (job_id, file_name)
) STRICT, WITHOUT ROWID;
CREATE INDEX results_uid ON results(sop_instance_uid);
CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY, job_id TEXT NOT NULL, file_name TEXT NOT NULL, destination TEXT NOT NULL,
  position INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  next_at REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
  UNIQUE (job_id, file_name, destination)
) STRICT;
CREATE INDEX deliveries_due ON deliveries(destination, state, next_at);
CREATE TABLE retired (
  sop_instance_uid TEXT NOT NULL, sha256 TEXT NOT NULL, series_key TEXT NOT NULL,
  PRIMARY KEY (sop_instance_uid, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX retired_series ON retired(series_key);
"""

MIGRATIONS: dict[int, str] = {
    1: """
CREATE INDEX jobs_pipeline ON jobs(pipeline, state);
CREATE INDEX jobs_created ON jobs(created_at);
""",
}
"""From version N to N + 1: the statements that do it. `_SCHEMA` is version 1; a new journal goes all the way too."""


class Journal:
    """One connection for all threads of a process; other processes have their own.

    An older journal is only migrated with `migrate`: by the one who holds the spool, before anybody else opens it.
    """

    def __init__(self, path: Path, migrate: bool = False) -> None:
        self._lock = threading.RLock()
        self._durable = True
        with _as_spool_error(f"journal {path} cannot be opened"):
            self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            with _as_spool_error(f"journal {path} cannot be used"):
                path.chmod(0o600)
                self._db.row_factory = sqlite3.Row
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA wal_autocheckpoint=1000")
                self._fit(path, migrate)
        except BaseException:
            self._db.close()
            raise

    def _fit(self, path: Path, migrate: bool) -> None:
        """Make a new journal, or migrate an older one: wholly, or not at all."""
        with self.write():
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version == JOURNAL_VERSION:
                return
            if version > JOURNAL_VERSION:
                raise SpoolTooNew(
                    f"journal {path} has version {version}, this runtime knows up to {JOURNAL_VERSION}; install "
                    "the newer runtime again, or see 'Upgrade and rollback' in docs/operation.md"
                )
            if version > 0 and not migrate:
                raise SpoolError(
                    f"journal {path} has version {version}, this runtime needs {JOURNAL_VERSION}; "
                    "start the daemon of this version, which migrates it"
                )
            statements = _SCHEMA if version == 0 else ""
            for step in range(max(version, 1), JOURNAL_VERSION):
                statements += MIGRATIONS[step]
            for statement in statements.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={JOURNAL_VERSION}")
        if version > 0:
            log.info("journal migrated", extra={"event": {"from_version": version, "to_version": JOURNAL_VERSION}})

    @contextmanager
    def write(self, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A write transaction. With `durable` it has reached the disk when the block ends.

        Raises:
            SpoolError: the disk did not take it; nothing of the block was kept.
        """
        with self._lock, _as_spool_error("the journal cannot be written"):
            if self._db.in_transaction:
                if durable and not self._durable:
                    raise ValueError("a durable write cannot be part of one that is not")
                yield self._db  # part of the transaction around it
                return
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            self._durable = durable
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._lock, _as_spool_error("the journal cannot be read"):
            return self._db.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        with self._lock, _as_spool_error("the journal cannot be read"):
            found: sqlite3.Row | None = self._db.execute(query, values).fetchone()
            return found

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._db.close()


@contextmanager
def _as_spool_error(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SpoolError(f"{what}: {error}; check the disk of the spool, its owner and its mode") from error


def is_sound(path: Path) -> bool:
    """True when the file is absent or SQLite finds no fault in it.

    Raises:
        SpoolError: it cannot be looked at, which is no fault of the file.
    """
    if not path.exists():
        return True
    with _as_spool_error(f"journal {path} cannot be read"):
        try:
            with closing(sqlite3.connect(path, timeout=30.0)) as db:
                answer = db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return False
    return answer is not None and answer[0] == "ok"
