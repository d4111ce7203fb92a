"""What the page reads of the journal: beside the daemon, read-only, in bounded time. No identifier leaves here."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import SpoolError

NEWEST_JOBS = 40
OTHER_JOBS = 40  # older ones that are under way or wait for a person
GROUPS = 30
BUSY_SECONDS = 0.5
LONGEST_SECONDS = 3.0

_ATTENTION = ("collecting", "pending", "running", "concluded", "reporting", "reported", "parked")
_JOBS = """
SELECT id, pipeline, revision, state, reason, last_received_at, deadline_at, EXISTS
 (SELECT 1 FROM jobs l
  WHERE l.series_key = jobs.series_key AND l.pipeline = jobs.pipeline AND l.revision > jobs.revision) AS superseded
FROM jobs WHERE id IN
 (SELECT id FROM (SELECT id FROM jobs ORDER BY id DESC LIMIT ?) UNION
  SELECT id FROM (SELECT id FROM jobs WHERE state IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT ?))
ORDER BY id DESC
"""

Row = dict[str, Any]


@dataclass(frozen=True)
class JournalFacts:
    """Rows as dicts of plain values; times are Unix seconds.

    jobs: the newest, and the newest of those that are not over, newest first. images: how many by job id.
    deliveries: per job, destination and state of those jobs. backlog: per destination and state, with the number, and
    for what waits the reason, attempts, next attempt and age of the oldest. left_out: images that no job took, grouped.
    """

    read_at: float
    job_counts: dict[str, int]
    jobs: tuple[Row, ...]
    images: dict[str, int]
    deliveries: tuple[Row, ...]
    backlog: tuple[Row, ...]
    instances: dict[str, int]
    left_out: tuple[Row, ...]


def read_journal(path: Path) -> JournalFacts:
    """Read all of it in one transaction, so that the parts agree.

    Raises:
        SpoolError: it cannot be read now; the page says so and shows what it knew.
    """
    give_up_at = time.monotonic() + LONGEST_SECONDS
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.set_progress_handler(lambda: time.monotonic() > give_up_at, 10_000)
            db.execute("BEGIN")
            return _facts(db)
    except sqlite3.Error as error:
        raise SpoolError(f"the journal cannot be read: {error}") from error


def _facts(db: sqlite3.Connection) -> JournalFacts:
    jobs = _rows(db, _JOBS, NEWEST_JOBS, json.dumps(_ATTENTION), OTHER_JOBS)
    ids = json.dumps([job["id"] for job in jobs])
    images = (
        "SELECT job_id, count(*) AS n FROM job_instances WHERE job_id IN (SELECT value FROM json_each(?)) GROUP BY 1"
    )
    return JournalFacts(
        read_at=time.time(),
        job_counts=_counts(db, "SELECT state, count(*) AS n FROM jobs GROUP BY state"),
        jobs=tuple(jobs),
        images={row["job_id"]: row["n"] for row in _rows(db, images, ids)},
        deliveries=tuple(_rows(db, _DELIVERIES, ids)),
        backlog=tuple(_rows(db, _BACKLOG)),
        instances=_counts(db, "SELECT state, count(*) AS n FROM instances GROUP BY state"),
        left_out=tuple(_rows(db, _LEFT_OUT, GROUPS)),
    )


_DELIVERIES = """
SELECT job_id, destination, state, count(*) AS n FROM deliveries
WHERE job_id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_BACKLOG = """
SELECT d.destination, d.state, count(*) AS n, d.reason, max(d.attempts) AS attempts, min(d.next_at) AS next_at,
       min(j.last_received_at) AS oldest_at
FROM deliveries d JOIN jobs j ON j.id = d.job_id
WHERE d.state IN ('queued', 'sending', 'parked') GROUP BY d.destination, d.state, d.reason ORDER BY 1, 2, n DESC
"""
_LEFT_OUT = """
SELECT state, reason, caller_ae_title, count(*) AS n, max(received_at) AS newest_at FROM instances
WHERE state IN ('unmatched', 'quarantined') GROUP BY 1, 2, 3 ORDER BY newest_at DESC LIMIT ?
"""


def _rows(db: sqlite3.Connection, query: str, *values: object) -> list[Row]:
    return [dict(row) for row in db.execute(query, values)]


def _counts(db: sqlite3.Connection, query: str, *values: object) -> dict[str, int]:
    return {row["state"]: row["n"] for row in _rows(db, query, *values)}
