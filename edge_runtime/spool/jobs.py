"""The journal's jobs: one series through one pipeline, in one revision."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_runtime.errors import SpoolError, SpoolTooNew
from edge_runtime.spool.journal import Journal
from edge_runtime.spool.layout import Layout, sync_folder, write_durably
from edge_runtime.spool.receipt import Receipt
from edge_runtime.spool.states import JOB, JOB_ENDED, after

JOB_FILE_VERSION = 1
CANCELLED_MARK = "cancelled"
MAXIMUM_ATTEMPTS = 2
"""A job that ends its worker this often is parked."""

MAXIMUM_REPORT_ATTEMPTS = 5
"""So is one whose report ended its writer this often: its findings are safe, and the writing is short."""

MAXIMUM_INTERRUPTIONS = 10
"""So is one that was at work this often when the whole daemon ended: it may be what ends it."""


_COUNTED = {
    ("pending", "begin"): (1, 0, 0),
    ("running", "yield"): (-1, 0, 1),
    ("running", "defer"): (-1, 0, 0),
    ("concluded", "report"): (0, 1, 0),
    ("reporting", "yield"): (0, -1, 1),
    ("reporting", "defer"): (0, -1, 0),
}
"""What a step adds to attempts, report attempts and interruptions."""


@dataclass(frozen=True)
class Job:
    """One row. Times are Unix seconds (UTC)."""

    id: str
    series_key: str
    pipeline: str
    revision: int
    state: str
    reason: str
    attempts: int
    report_attempts: int
    interruptions: int
    created_at: float
    first_received_at: float
    last_received_at: float
    deadline_at: float
    ended_at: float | None
    amends: str | None

    @property
    def poisonous(self) -> bool:
        """True when the job has ended the worker that it waits for, or was there when the daemon ended, too often."""
        if self.state in ("pending", "running"):
            worn = self.attempts >= MAXIMUM_ATTEMPTS
        else:
            worn = self.report_attempts >= MAXIMUM_REPORT_ATTEMPTS
        return worn or self.interruptions >= MAXIMUM_INTERRUPTIONS


def new_id(now: float) -> str:
    """A name that sorts by time and says nothing of the patient."""
    return f"{int(now * 1000):011x}-{secrets.token_hex(4)}"


def job_record(job: Job, instance_ids: Sequence[str]) -> dict[str, Any]:
    """What job.json says: what the job is made of, and nothing that passes."""
    record = {**asdict(job), "schema_version": JOB_FILE_VERSION, "instances": list(instance_ids)}
    for passing in ("state", "reason", "attempts", "report_attempts", "interruptions", "ended_at"):
        del record[passing]
    return record


def _job(row: sqlite3.Row) -> Job:
    return Job(**dict(row))


class JobTable:
    """Jobs and their steps. Every step goes through the table of states."""

    def __init__(self, journal: Journal, layout: Layout) -> None:
        self._journal = journal
        self._layout = layout

    def get(self, job_id: str) -> Job:
        """The job of that id.

        Raises:
            SpoolError: there is none.
        """
        row = self._journal.row("SELECT * FROM jobs WHERE id = ?", job_id)
        if row is None:
            raise SpoolError(f"no job {job_id}; see `edge-runtime jobs list`")
        return _job(row)

    def in_state(self, *states: str) -> list[Job]:
        """Jobs in any of the states, the earliest deadline first."""
        marks = json.dumps(states)
        query = "SELECT * FROM jobs WHERE state IN (SELECT value FROM json_each(?)) ORDER BY deadline_at, id"
        return [_job(row) for row in self._journal.rows(query, marks)]

    def all(self, limit: int = 1000) -> list[Job]:
        """The newest jobs first."""
        return [_job(row) for row in self._journal.rows("SELECT * FROM jobs ORDER BY created_at DESC LIMIT ?", limit)]

    def ids(self) -> set[str]:
        """The ids of all jobs that were ever noted."""
        return {row["id"] for row in self._journal.rows("SELECT id FROM jobs")}

    def counts(self) -> dict[tuple[str, str], int]:
        """How many jobs each pipeline has in each state."""
        rows = self._journal.rows("SELECT pipeline, state, count(*) AS n FROM jobs GROUP BY pipeline, state")
        return {(row["pipeline"], row["state"]): row["n"] for row in rows}

    def waiting_since(self) -> dict[str, float]:
        """By pipeline: when the last image came of the job that has waited longest for its report (Unix seconds)."""
        rows = self._journal.rows(
            "SELECT pipeline, min(last_received_at) AS at FROM jobs"
            " WHERE state IN ('pending', 'running', 'concluded', 'reporting') GROUP BY pipeline"
        )
        return {row["pipeline"]: row["at"] for row in rows}

    def take(self, receipt: Receipt, series_key: str, pipeline: str, deadline_seconds: float) -> Job | None:
        """Give a matched instance to the job that collects its series: an open one, or a new revision.

        Returns None when a job of the series already holds the instance.
        """
        with self._journal.write(durable=False) as db:
            held = db.execute(
                "SELECT 1 FROM job_instances i JOIN jobs j ON j.id = i.job_id"
                " WHERE i.instance_id = ? AND j.series_key = ? AND j.pipeline = ? LIMIT 1",
                (receipt.id, series_key, pipeline),
            ).fetchone()
            if held is not None:
                return None
            latest = db.execute(
                "SELECT * FROM jobs WHERE series_key = ? AND pipeline = ? ORDER BY revision DESC LIMIT 1",
                (series_key, pipeline),
            ).fetchone()
            if latest is not None and (latest["state"], "instance") in JOB:
                job_id = self._extend(db, _job(latest), receipt, deadline_seconds)
            else:
                job_id = self._create(db, latest, receipt, series_key, pipeline, deadline_seconds)
            db.execute("INSERT INTO job_instances VALUES (?,?)", (job_id, receipt.id))
        return self.get(job_id)

    def _extend(self, db: sqlite3.Connection, job: Job, receipt: Receipt, deadline_seconds: float) -> str:
        received_at = receipt.arrival.received_at
        db.execute(
            "UPDATE jobs SET state = ?, last_received_at = max(last_received_at, ?),"
            " deadline_at = max(deadline_at, ?) WHERE id = ?",
            (after(JOB, job.state, "instance", f"job {job.id}"), received_at, received_at + deadline_seconds, job.id),
        )
        return job.id

    def _create(
        self,
        db: sqlite3.Connection,
        latest: sqlite3.Row | None,
        receipt: Receipt,
        series_key: str,
        pipeline: str,
        deadline_seconds: float,
    ) -> str:
        received_at = receipt.arrival.received_at
        job_id = new_id(time.time())
        revision = 1 if latest is None else latest["revision"] + 1
        db.execute(
            "INSERT INTO jobs (id, series_key, pipeline, revision, state, created_at, first_received_at,"
            " last_received_at, deadline_at, amends) VALUES (?,?,?,?,'collecting',?,?,?,?,?)",
            (job_id, series_key, pipeline, revision, time.time(), received_at, received_at,
             received_at + deadline_seconds, None if latest is None else latest["id"]),
        )  # fmt: skip
        if latest is not None:  # the whole series again, not only what came late
            db.execute(
                "INSERT OR IGNORE INTO job_instances SELECT ?, id FROM instances"
                " WHERE series_key = ? AND state = 'matched' AND id IN"
                " (SELECT instance_id FROM job_instances WHERE job_id = ?)",
                (job_id, series_key, latest["id"]),
            )
        return job_id

    def close(self, job: Job, instances: Sequence[Receipt]) -> None:
        """The series is quiet: write down what the job is made of, then let it run."""
        self._write_down(job, [receipt.id for receipt in instances])
        self.step(job.id, "quiet")

    def _write_down(self, job: Job, instance_ids: Sequence[str]) -> None:
        folder = self._layout.job(job.id)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
        (folder / "result.json").unlink(missing_ok=True)  # of an attempt on fewer images
        write_durably(folder / "job.json", json.dumps(job_record(job, instance_ids), indent=1).encode())

    def mark_cancelled(self, job: Job) -> None:
        """Say in its folder that the job was cancelled, so that it stays so even when the journal is lost."""
        folder = self._layout.job(job.id)
        if not (folder / CANCELLED_MARK).exists():
            if not (folder / "job.json").exists():
                rows = self._journal.rows("SELECT instance_id FROM job_instances WHERE job_id = ?", job.id)
                self._write_down(job, [row["instance_id"] for row in rows])
            write_durably(folder / CANCELLED_MARK, b"")

    def step(self, job_id: str, event: str, reason: str = "") -> Job:
        """Change one job's state by the table. Attempts are counted before the attempt is made.

        `yield` and `defer` give the attempt back, for it ended with the daemon, or for want of disk space; a person's
        retry starts the count anew.
        """
        with self._journal.write() as db:
            job = self.get(job_id)
            state = after(JOB, job.state, event, f"job {job_id}")
            infer, report, ends = _COUNTED.get((job.state, event), (0, 0, 0))
            db.execute(
                "UPDATE jobs SET state = ?, reason = ?, attempts = attempts + ?, report_attempts = report_attempts + ?,"
                " interruptions = interruptions + ?, ended_at = ? WHERE id = ?",
                (state, reason, infer, report, ends, time.time() if state in JOB_ENDED else None, job_id),
            )
            if event.startswith("retry"):
                db.execute("UPDATE jobs SET attempts = 0, report_attempts = 0, interruptions = 0 WHERE id = ?",
                           (job_id,))  # fmt: skip
        return self.get(job_id)

    def yield_all(self) -> None:
        """At the daemon's start: what was at work when it ended goes back to where it was."""
        for job in self.in_state("running", "reporting"):
            self.step(job.id, "yield", "the daemon ended")

    def predecessor(self, job: Job) -> sqlite3.Row | None:
        """The newest structured report that an earlier revision of the job made, or None."""
        return self._journal.row(
            "SELECT r.*, j.id AS job FROM jobs j JOIN results r ON r.job_id = j.id AND r.kind = 'sr'"
            " WHERE j.series_key = ? AND j.pipeline = ? AND j.revision < ? ORDER BY j.revision DESC LIMIT 1",
            job.series_key, job.pipeline, job.revision,
        )  # fmt: skip

    def earlier_is_open(self, job: Job) -> bool:
        """True while an earlier revision may still make a report of its own."""
        row = self._journal.row(
            "SELECT 1 FROM jobs WHERE series_key = ? AND pipeline = ? AND revision < ?"
            " AND state IN ('pending', 'running', 'concluded', 'reporting') LIMIT 1",
            job.series_key, job.pipeline, job.revision,
        )  # fmt: skip
        return row is not None

    def answered_before(self, job: Job) -> bool:
        """True when an earlier revision of the job has given its answer."""
        row = self._journal.row(
            "SELECT 1 FROM jobs WHERE series_key = ? AND pipeline = ? AND revision < ?"
            " AND state IN ('concluded', 'reporting', 'reported', 'delivered') LIMIT 1",
            job.series_key, job.pipeline, job.revision,
        )  # fmt: skip
        return row is not None

    def restore(self, record: dict[str, Any], state: str, reason: str) -> bool:
        """Put a job back from its job.json; False when the journal has another job in its place.

        Raises:
            SpoolTooNew: a newer runtime wrote it.
        """
        if record["schema_version"] > JOB_FILE_VERSION:
            raise SpoolTooNew(
                f"job {record['id']}: job.json has version {record['schema_version']}, this runtime knows "
                f"{JOB_FILE_VERSION}; install the newer runtime again"
            )
        with self._journal.write() as db:
            inserted = db.execute(
                "INSERT OR IGNORE INTO jobs (id, series_key, pipeline, revision, state, reason, created_at,"
                " first_received_at, last_received_at, deadline_at, amends, ended_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                (record["id"], record["series_key"], record["pipeline"], record["revision"], state, reason,
                 record["created_at"], record["first_received_at"], record["last_received_at"],
                 record["deadline_at"], record["amends"], time.time() if state in JOB_ENDED else None),
            )  # fmt: skip
            if inserted.rowcount == 0:
                return False
            for instance_id in record["instances"]:
                db.execute("INSERT INTO job_instances VALUES (?,?)", (record["id"], instance_id))
        return True
