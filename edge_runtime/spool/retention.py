"""Deletes what is delivered and old, and, when the disk runs short, what is delivered. Nothing else is ever deleted."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.config import Retention
from edge_runtime.spool.instances import InstanceStore
from edge_runtime.spool.journal import Journal
from edge_runtime.spool.layout import Layout, append_durably, discard_job
from edge_runtime.spool.states import INSTANCE, JOB, JOB_ENDED, JOB_STATES, after

_DELETABLE = """
SELECT i.* FROM instances i
WHERE i.state IN (SELECT value FROM json_each(?)) AND i.received_at < ?
  AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.series_key = i.series_key
                  AND j.state IN (SELECT value FROM json_each(?)))
ORDER BY i.received_at LIMIT 20
"""
_OLD_JOBS = """
SELECT id, state FROM jobs WHERE state IN ('delivered', 'refused', 'cancelled') AND ended_at < ?
  AND NOT EXISTS (SELECT 1 FROM job_instances ji JOIN instances i ON i.id = ji.instance_id
                  WHERE ji.job_id = jobs.id AND i.state = 'matched')
"""
"""What was made of an image is kept as long as the image: else a rebuilt journal would have it made again."""
_KEPT = ("matched", "unmatched", "duplicate", "own_result", "quarantined")
_PRESSED = ("matched", "duplicate", "own_result")  # what has no answer yet is kept for its whole time
MEMORY = ("sop_instance_uid", "sha256", "series_key")
_OPEN_JOBS = tuple(sorted(set(JOB_STATES) - set(JOB_ENDED)))


@dataclass(frozen=True)
class Swept:
    """What one pass deleted."""

    originals: int = 0
    results: int = 0
    freed_bytes: int = 0


def free_bytes(layout: Layout) -> int:
    """Bytes that the spool's file system still takes."""
    usage = os.statvfs(layout.root)
    return usage.f_bavail * usage.f_frsize


class Sweeper:
    """One pass a call; `free` is asked before each few deletions under pressure.

    The journal decides first, then the files go: what a crash leaves is finished by `prepare_spool`.
    """

    def __init__(
        self,
        layout: Layout,
        journal: Journal,
        store: InstanceStore,
        retention: Retention,
        reserve_bytes: int,
        free: Callable[[Layout], int] = free_bytes,
    ) -> None:
        self._layout = layout
        self._journal = journal
        self._store = store
        self._retention = retention
        # Deleting starts before receiving has to stop.
        self._pressure_bytes = reserve_bytes + reserve_bytes // 10
        self._free = free

    def sweep(self, now: float) -> Swept:
        """Delete what retention allows at `now` (Unix seconds)."""
        originals, freed = self._old_originals(now)
        results = self._old_results(now)
        if self._retention.on_pressure == "oldest_delivered_first":
            more, more_freed = self._under_pressure()
            originals, freed = originals + more, freed + more_freed
        return Swept(originals, results, freed)

    def _old_originals(self, now: float) -> tuple[int, int]:
        before = now - self._retention.originals_hours * 3600
        count = freed = 0
        while rows := self._retire(_KEPT, before, _OPEN_JOBS):
            count, freed = count + len(rows), freed + sum(row["size_bytes"] for row in rows)
        return count, freed

    def _under_pressure(self) -> tuple[int, int]:
        count = freed = 0
        while self._free(self._layout) < self._pressure_bytes:
            rows = self._retire(_PRESSED, math.inf, (*_OPEN_JOBS, "refused"))
            if not rows:
                break
            count, freed = count + len(rows), freed + sum(row["size_bytes"] for row in rows)
        return count, freed

    def _retire(self, states: tuple[str, ...], before: float, needed_by: tuple[str, ...]) -> list[sqlite3.Row]:
        """Delete the oldest instances in `states` that no job in the states `needed_by` needs, and say which.

        What was analysed is remembered for good. Only what was not may be analysed when it is sent again.
        """
        with self._journal.write() as db:
            rows = db.execute(_DELETABLE, (json.dumps(states), before, json.dumps(needed_by))).fetchall()
            for row in rows:
                state = after(INSTANCE, row["state"], "retire", f"instance {row['id']}")
                db.execute("UPDATE instances SET state = ? WHERE id = ?", (state, row["id"]))
                if row["state"] == "matched":
                    values = (row["sop_instance_uid"], row["sha256"], row["series_key"])
                    db.execute("INSERT OR IGNORE INTO retired VALUES (?,?,?)", values)
        remembered = [row for row in rows if row["state"] == "matched"]
        if remembered:
            append_durably(self._layout.retired, *({key: row[key] for key in MEMORY} for row in remembered))
        for row in rows:
            self._store.remove(row["id"])
        return rows

    def _old_results(self, now: float) -> int:
        with self._journal.write() as db:
            rows = db.execute(_OLD_JOBS, (now - self._retention.results_days * 86400,)).fetchall()
            for row in rows:
                state = after(JOB, row["state"], "retire", f"job {row['id']}")
                db.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, row["id"]))
        for row in rows:
            discard_job(self._layout, row["id"])
        return len(rows)
