"""The journal's results and deliveries: which written file goes where, and what became of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from edge_runtime.errors import SpoolError
from edge_runtime.result_objects import ResultKind, ResultObject
from edge_runtime.spool.jobs import Job, JobTable
from edge_runtime.spool.journal import Journal
from edge_runtime.spool.layout import Layout, append_durably, read_lines
from edge_runtime.spool.states import DELIVERY, after

SENDING_ORDER = (ResultKind.SEG, ResultKind.SR, ResultKind.OVERLAY, ResultKind.JSON, ResultKind.EVENT)
"""What a report refers to is sent before it."""


class DeliveryTable:
    """Deliveries and their steps. What is done is also written beside the job, so that it survives the journal."""

    def __init__(self, journal: Journal, layout: Layout, jobs: JobTable) -> None:
        self._journal = journal
        self._layout = layout
        self._jobs = jobs

    def add_results(
        self, job_id: str, results: Sequence[ResultObject], destinations: Mapping[str, Sequence[ResultKind]]
    ) -> None:
        """Note the written files of a job and queue them for every destination that takes their kind."""
        done = self._done_before(job_id)
        with self._journal.write() as db:
            for result in results:
                db.execute(
                    "INSERT OR IGNORE INTO results VALUES (?,?,?,?,?,?)",
                    (job_id, result.file_name, result.kind.value, result.sha256, result.sop_class_uid,
                     result.sop_instance_uid),
                )  # fmt: skip
            for name, kinds in destinations.items():
                for position, result in enumerate(sorted(results, key=lambda r: SENDING_ORDER.index(r.kind))):
                    if result.kind in kinds and result.destination in (None, name):
                        state = "done" if (result.file_name, name) in done else "queued"
                        db.execute(
                            "INSERT OR IGNORE INTO deliveries (job_id, file_name, destination, position, state)"
                            " VALUES (?,?,?,?,?)",
                            (job_id, result.file_name, name, position, state),
                        )

    def _done_before(self, job_id: str) -> set[tuple[str, str]]:
        markers = read_lines(self._layout.job(job_id) / "delivered.jsonl")
        return {(marker.get("file_name", ""), marker.get("destination", "")) for marker in markers}

    def due(self, destination: str, now: float, limit: int) -> list[sqlite3.Row]:
        """Deliveries that may be tried now: whole jobs in order, each with its result's columns."""
        return self._journal.rows(
            "SELECT d.*, r.kind, r.sha256, r.sop_class_uid, r.sop_instance_uid FROM deliveries d"
            " JOIN results r ON r.job_id = d.job_id AND r.file_name = d.file_name"
            " WHERE d.destination = ? AND d.state = 'queued' AND d.next_at <= ?"
            " ORDER BY d.job_id, d.position LIMIT ?",
            destination, now, limit,
        )  # fmt: skip

    def next_due_at(self, destination: str) -> float | None:
        """When the next delivery to a destination may be tried, or None when none waits."""
        row = self._journal.row(
            "SELECT min(next_at) AS at FROM deliveries WHERE destination = ? AND state = 'queued'", destination
        )
        return None if row is None else row["at"]

    def begin(self, delivery_ids: Iterable[int]) -> None:
        """Count an attempt of each before it is made."""
        with self._journal.write() as db:
            for delivery_id in delivery_ids:
                self._step(db, delivery_id, "begin")
                db.execute("UPDATE deliveries SET attempts = attempts + 1 WHERE id = ?", (delivery_id,))

    def done(self, delivery_id: int, reason: str) -> None:
        """The destination has the object."""
        row = self._row(delivery_id)
        marker = {"file_name": row["file_name"], "destination": row["destination"], "reason": reason}
        append_durably(self._layout.job(row["job_id"]) / "delivered.jsonl", marker)
        with self._journal.write() as db:
            self._step(db, delivery_id, "done", reason)
            self._end_job(db, row["job_id"])

    def defer(self, delivery_id: int, reason: str, next_at: float) -> None:
        """The destination did not take the object now; try again at `next_at`."""
        with self._journal.write() as db:
            self._step(db, delivery_id, "defer", reason)
            db.execute("UPDATE deliveries SET next_at = ? WHERE id = ?", (next_at, delivery_id))
            self._cancel_leftovers(db)

    def park(self, delivery_id: int, reason: str) -> None:
        """The destination will not take the object as it is; a person must look at it."""
        with self._journal.write() as db:
            self._step(db, delivery_id, "park", reason)
            self._cancel_leftovers(db)

    def interrupt_all(self) -> int:
        """After a start: what was being sent is sent again."""
        with self._journal.write() as db:
            ids = [row["id"] for row in db.execute("SELECT id FROM deliveries WHERE state = 'sending'")]
            for delivery_id in ids:
                self._step(db, delivery_id, "interrupt")
            self._cancel_leftovers(db)
        return len(ids)

    def retry(self, job_id: str) -> int:
        """Queue the parked deliveries of a job again, and make its waiting ones due now."""
        with self._journal.write() as db:
            rows = db.execute("SELECT id, state FROM deliveries WHERE job_id = ?", (job_id,)).fetchall()
            parked = [row["id"] for row in rows if row["state"] == "parked"]
            for delivery_id in parked:
                self._step(db, delivery_id, "retry")
            db.execute("UPDATE deliveries SET next_at = 0 WHERE job_id = ? AND state = 'queued'", (job_id,))
        return len(parked) + len([row for row in rows if row["state"] == "queued"])

    def cancel(self, job_id: str, reason: str) -> Job:
        """Give up a job and what was not delivered of it. What is being sent now is given up if that fails."""
        with self._journal.write() as db:
            job = self._jobs.step(job_id, "cancel", reason)
            self._cancel_leftovers(db)
        self._jobs.mark_cancelled(job)
        return job

    def _cancel_leftovers(self, db: sqlite3.Connection) -> None:
        query = (
            "SELECT d.id FROM jobs j JOIN deliveries d ON d.job_id = j.id"
            " WHERE j.state = 'cancelled' AND d.state IN ('queued', 'parked')"
        )
        for row in db.execute(query).fetchall():
            self._step(db, row["id"], "cancel")

    def of_job(self, job_id: str) -> list[sqlite3.Row]:
        """The deliveries of one job in sending order."""
        return self._journal.rows("SELECT * FROM deliveries WHERE job_id = ? ORDER BY destination, position", job_id)

    def results_of(self, job_id: str) -> list[sqlite3.Row]:
        """The written files of one job."""
        return self._journal.rows("SELECT * FROM results WHERE job_id = ? ORDER BY file_name", job_id)

    def backlog(self) -> list[sqlite3.Row]:
        """How many deliveries each destination has in each state."""
        return self._journal.rows("SELECT destination, state, count(*) AS n FROM deliveries GROUP BY 1, 2")

    def waiting_since(self, destination: str) -> float | None:
        """When the last image came of the oldest study that waits for the destination (Unix seconds), or None."""
        row = self._journal.row(
            "SELECT min(j.last_received_at) AS at FROM deliveries d JOIN jobs j ON j.id = d.job_id"
            " WHERE d.destination = ? AND d.state IN ('queued', 'sending')",
            destination,
        )
        return None if row is None else row["at"]

    def end_if_delivered(self, job_id: str) -> None:
        """End a reported job that has nothing left to deliver."""
        with self._journal.write() as db:
            self._end_job(db, job_id)

    def _end_job(self, db: sqlite3.Connection, job_id: str) -> None:
        query = "SELECT count(*) AS n FROM deliveries WHERE job_id = ? AND state NOT IN ('done', 'cancelled')"
        open_deliveries = db.execute(query, (job_id,)).fetchone()["n"]
        if open_deliveries == 0 and self._jobs.get(job_id).state == "reported":
            self._jobs.step(job_id, "delivered")

    def _row(self, delivery_id: int) -> sqlite3.Row:
        row = self._journal.row("SELECT * FROM deliveries WHERE id = ?", delivery_id)
        if row is None:
            raise SpoolError(f"no delivery {delivery_id}")
        return row

    def _step(self, db: sqlite3.Connection, delivery_id: int, event: str, reason: str = "") -> None:
        row = self._row(delivery_id)
        state = after(DELIVERY, row["state"], event, f"delivery {delivery_id} of job {row['job_id']}")
        db.execute("UPDATE deliveries SET state = ?, reason = ? WHERE id = ?", (state, reason, delivery_id))
