"""What waits for something that the configuration no longer has: it stays, and says so, until that is put back."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from edge_runtime.errors import SpoolError
from edge_runtime.spool.journal import Journal

log = logging.getLogger("edge_runtime.spool")

ADVICE = "put it back and reload, or cancel the job"
NO_PIPELINE = f"its pipeline is no longer configured: {ADVICE}"
NO_DESTINATION = "no_destination"
"""The reason of a delivery; that of its job begins with the next and names the destination."""

WAITS_FOR = "waits for a destination that is no longer configured: "


def explain_jobs(journal: Journal, state: str, gone: Iterable[str]) -> None:
    """Give the jobs in `state` of the pipelines that are gone their reason."""
    for pipeline in gone:
        where = (pipeline, state, NO_PIPELINE)
        if journal.row("SELECT 1 FROM jobs WHERE pipeline = ? AND state = ? AND reason != ? LIMIT 1", *where):
            with _noting(journal) as db:
                told = db.execute(
                    "UPDATE jobs SET reason = ?3 WHERE pipeline = ?1 AND state = ?2 AND reason != ?3", where
                ).rowcount
                event = {"pipeline": pipeline, "jobs": told}
                log.warning("jobs wait for a pipeline that is no longer configured", extra={"event": event})


def forget_jobs(journal: Journal, state: str) -> None:
    """Take the reason from all jobs in `state`: the configuration is another now."""
    with journal.write(durable=False) as db:
        db.execute("UPDATE jobs SET reason = '' WHERE state = ? AND reason = ?", (state, NO_PIPELINE))


def explain_deliveries(journal: Journal, gone: Iterable[str]) -> None:
    """Give the deliveries that wait for the destinations that are gone their reason, and their jobs too."""
    for name in gone:
        where = (name, NO_DESTINATION)
        query = "SELECT 1 FROM deliveries WHERE destination = ? AND state = 'queued' AND reason != ? LIMIT 1"
        if journal.row(query, *where):
            with _noting(journal) as db:
                told = db.execute(
                    "UPDATE deliveries SET reason = ?2 WHERE destination = ?1 AND state = 'queued'", where
                ).rowcount
                db.execute(
                    "UPDATE jobs SET reason = ? WHERE state = 'reported' AND id IN"
                    " (SELECT job_id FROM deliveries WHERE destination = ? AND state = 'queued')",
                    (f"{WAITS_FOR}{name}; {ADVICE}", name),
                )
                event = {"destination": name, "deliveries": told}
                log.warning("deliveries wait for a destination that is no longer configured", extra={"event": event})


def forget_deliveries(journal: Journal) -> None:
    """Take the reason from all deliveries and their jobs: the configuration is another now."""
    with journal.write(durable=False) as db:
        db.execute("UPDATE deliveries SET reason = '' WHERE state = 'queued' AND reason = ?", (NO_DESTINATION,))
        db.execute("UPDATE jobs SET reason = '' WHERE state = 'reported' AND reason LIKE ?", (f"{WAITS_FOR}%",))


@contextmanager
def _noting(journal: Journal) -> Iterator[sqlite3.Connection]:
    """A write that may fail: the disk is full, and what is explained here matters less than going on."""
    try:
        with journal.write(durable=False) as db:
            yield db
    except SpoolError:
        log.exception("reasons not written down")
