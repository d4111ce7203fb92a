"""The journal's instances and series."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from edge_runtime.spool.journal import Journal
from edge_runtime.spool.receipt import Arrival, Receipt
from edge_runtime.spool.states import INSTANCE, after

SPOILED = ("altered", "unreadable_file")
"""Why an instance is quarantined whose file is not what was acknowledged."""


def receipt_of(row: sqlite3.Row) -> Receipt:
    """The receipt that an instance's row was made from."""
    arrival = Arrival(
        sop_class_uid=row["sop_class_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        caller_ae_title=row["caller_ae_title"],
        caller_host=row["caller_host"],
        called_ae_title=row["called_ae_title"],
        received_at=row["received_at"],
    )
    return Receipt(row["id"], arrival, row["sha256"], row["size_bytes"])


class InstanceTable:
    """Which instances are stored, and what became of each."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Note durable files that are new. Not durable itself: the files say the same."""
        with self._journal.write(durable=False) as db:
            for receipt in receipts:
                a = receipt.arrival
                db.execute(
                    "INSERT OR IGNORE INTO instances (id, sop_class_uid, sop_instance_uid, transfer_syntax_uid,"
                    " caller_ae_title, caller_host, called_ae_title, received_at, sha256, size_bytes, state)"
                    " VALUES (?,?,?,?,?,?,?,?,?,?,'stored')",
                    (receipt.id, a.sop_class_uid, a.sop_instance_uid, a.transfer_syntax_uid, a.caller_ae_title,
                     a.caller_host, a.called_ae_title, a.received_at, receipt.sha256, receipt.size_bytes),
                )  # fmt: skip

    def states(self) -> dict[str, str]:
        """The state of every instance by id."""
        return {row["id"]: row["state"] for row in self._journal.rows("SELECT id, state FROM instances")}

    def stored(self, limit: int) -> list[Receipt]:
        """Instances that were not looked at yet, the oldest first."""
        query = "SELECT * FROM instances WHERE state = 'stored' ORDER BY received_at, id LIMIT ?"
        return [receipt_of(row) for row in self._journal.rows(query, limit)]

    def twin(self, receipt: Receipt) -> sqlite3.Row | None:
        """Another instance of the same UID and the same bytes that was kept before, or its memory.

        A file that the disk has spoiled is no twin: the same bytes sent again replace it.
        """
        a = receipt.arrival
        return self._journal.row(
            "SELECT id, state FROM instances WHERE sop_instance_uid = ? AND sha256 = ? AND id != ?"
            " AND (state IN ('matched', 'unmatched', 'own_result')"
            "      OR state = 'quarantined' AND reason NOT IN (SELECT value FROM json_each(?)))"
            " UNION ALL SELECT '', 'retired' FROM retired WHERE sop_instance_uid = ? AND sha256 = ? LIMIT 1",
            a.sop_instance_uid, receipt.sha256, receipt.id, json.dumps(SPOILED), a.sop_instance_uid, receipt.sha256,
        )  # fmt: skip

    def conflicts(self, receipt: Receipt) -> bool:
        """True when the same UID was kept with other bytes."""
        query = "SELECT 1 FROM instances WHERE sop_instance_uid = ? AND sha256 != ? AND state = 'matched' LIMIT 1"
        return self._journal.row(query, receipt.arrival.sop_instance_uid, receipt.sha256) is not None

    def is_own_result(self, sop_instance_uid: str) -> bool:
        """True when this daemon made the object of that UID."""
        query = "SELECT 1 FROM results WHERE sop_instance_uid = ? LIMIT 1"
        return self._journal.row(query, sop_instance_uid) is not None

    def step(self, instance_id: str, event: str, reason: str = "", series_key: str | None = None) -> str:
        """Change one instance's state by the table and return the new one."""
        with self._journal.write(durable=False) as db:
            row = db.execute("SELECT state FROM instances WHERE id = ?", (instance_id,)).fetchone()
            state = after(INSTANCE, row["state"], event, f"instance {instance_id}")
            db.execute(
                "UPDATE instances SET state = ?, reason = ?, series_key = coalesce(?, series_key) WHERE id = ?",
                (state, reason, series_key, instance_id),
            )
        return state

    def own(self, instance_id: str, series_key: str) -> None:
        """Note that this runtime made the instance, as the image that a job of that series is made of."""
        with self._journal.write(durable=False) as db:
            if self.state(instance_id) == "stored":
                self.step(instance_id, "own", "taken by this runtime")
            db.execute("UPDATE instances SET series_key = ? WHERE id = ?", (series_key, instance_id))

    def count_series(self, series_instance_uid: str) -> int:
        """How many jobs' series have that UID: key frames of one examination share it, and each is a job."""
        query = "SELECT count(*) AS n FROM series WHERE series_instance_uid = ?"
        row = self._journal.row(query, series_instance_uid)
        return 0 if row is None else int(row["n"])

    def add_series(self, key: str, study_uid: str, series_uid: str, accession: str, header: dict[str, Any]) -> None:
        """Note a series the first time it is seen."""
        with self._journal.write(durable=False) as db:
            db.execute(
                "INSERT OR IGNORE INTO series VALUES (?,?,?,?,?)",
                (key, study_uid, series_uid, accession, json.dumps(header, sort_keys=True)),
            )

    def state(self, instance_id: str) -> str:
        """The state of one instance; "" for one that was never seen."""
        row = self._journal.row("SELECT state FROM instances WHERE id = ?", instance_id)
        return "" if row is None else row["state"]

    def of_job(self, job_id: str) -> list[Receipt]:
        """The instances that a closed job is made of and that are still kept, in order of arrival."""
        query = (
            "SELECT i.* FROM instances i JOIN job_instances j ON j.instance_id = i.id"
            " WHERE j.job_id = ? AND i.state != 'retired' ORDER BY i.received_at, i.id"
        )
        return [receipt_of(row) for row in self._journal.rows(query, job_id)]

    def memory(self, receipt: Receipt) -> dict[str, str] | None:
        """What is remembered of an instance after its deletion, or None."""
        row = self._journal.row(
            "SELECT * FROM retired WHERE sop_instance_uid = ? AND sha256 = ?",
            receipt.arrival.sop_instance_uid, receipt.sha256,
        )  # fmt: skip
        return None if row is None else dict(row)

    def missing_of_job(self, job_id: str) -> int:
        """How many of the images that a closed job is made of are no longer kept."""
        row = self._journal.row(
            "SELECT count(*) AS n FROM job_instances j LEFT JOIN instances i ON i.id = j.instance_id"
            " WHERE j.job_id = ? AND (i.id IS NULL OR i.state != 'matched')",
            job_id,
        )
        return 0 if row is None else int(row["n"])

    def waits_for_look(self, job_id: str) -> bool:
        """True while an image of a closed job was not looked at yet: the journal has just been rebuilt."""
        query = (
            "SELECT 1 FROM job_instances j JOIN instances i ON i.id = j.instance_id"
            " WHERE j.job_id = ? AND i.state = 'stored' LIMIT 1"
        )
        return self._journal.row(query, job_id) is not None

    def has_retired(self, series_key: str) -> bool:
        """True when originals of the series were already deleted."""
        return self._journal.row("SELECT 1 FROM retired WHERE series_key = ? LIMIT 1", series_key) is not None

    def last_received_at(self) -> float | None:
        """When the newest image was received (Unix seconds), or None when there never was one."""
        row = self._journal.row("SELECT max(received_at) AS at FROM instances")
        return None if row is None else row["at"]

    def counts(self) -> dict[str, int]:
        """How many instances are in each state."""
        rows = self._journal.rows("SELECT state, count(*) AS n FROM instances GROUP BY state")
        return {row["state"]: row["n"] for row in rows}
