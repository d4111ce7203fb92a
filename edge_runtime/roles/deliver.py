"""deliver: owns the outside world's slowness. One thread a destination, fed from the journal."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Sequence
from functools import partial

from edge_runtime.config import Config, Destination
from edge_runtime.deliver.base import Delivery, Outcome, Parcel
from edge_runtime.deliver.queue import QueuedDelivery
from edge_runtime.deliver.registry import build_destination
from edge_runtime.deliver.worker import DeliveryWorker, Heartbeat, Retry
from edge_runtime.result_objects import ResultKind
from edge_runtime.roles.link import Link
from edge_runtime.spool.spool import Spool, open_spool
from edge_runtime.spool.states import DELIVERY_STATES
from edge_runtime.spool.strays import explain_deliveries, forget_deliveries
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.deliver")

POLL_SECONDS = 1.0
PREPARE_AFTER_SECONDS = 8.0


class JournalQueue:
    """The journal's deliveries as the queue that the workers know."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def due(self, destination: str, now: float, limit: int) -> Sequence[QueuedDelivery]:
        """What may be tried now, job by job."""
        return [self._queued(row) for row in self._spool.deliveries.due(destination, now, limit)]

    def begin(self, delivery_ids: Sequence[int]) -> None:
        """Count an attempt of each before it is made."""
        self._spool.deliveries.begin(delivery_ids)

    def finish(self, delivery_id: int, delivery: Delivery, next_attempt_at: float | None) -> None:
        """Write down what came of an attempt."""
        if delivery.outcome is Outcome.DONE:
            self._spool.deliveries.done(delivery_id, delivery.reason.value)
        elif delivery.outcome is Outcome.PARKED:
            self._spool.deliveries.park(delivery_id, delivery.reason.value)
        else:
            self._spool.deliveries.defer(delivery_id, delivery.reason.value, next_attempt_at or 0.0)

    def next_due_at(self, destination: str) -> float | None:
        """When the next delivery is due."""
        return self._spool.deliveries.next_due_at(destination)

    def _queued(self, row: sqlite3.Row) -> QueuedDelivery:
        parcel = Parcel(
            job_id=row["job_id"],
            kind=ResultKind(row["kind"]),
            path=self._spool.layout.job(row["job_id"]) / "report" / row["file_name"],
            sha256=row["sha256"],
            sop_class_uid=row["sop_class_uid"],
            sop_instance_uid=row["sop_instance_uid"],
            file_name=row["file_name"],
        )
        return QueuedDelivery(row["id"], parcel, row["attempts"])


def _worker(destination: Destination, config: Config, spool: Spool, link: Link, metrics: Metrics) -> DeliveryWorker:
    activity = f"deliver {destination.name}"
    return DeliveryWorker(
        build_destination(destination, config.receive.dicom.ae_title),
        JournalQueue(spool),
        metrics,
        Retry(destination.retry_seconds, destination.retry_maximum_seconds),
        heartbeat=Heartbeat(partial(link.begin, activity), partial(link.end, activity)),
    )


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Deliver until stopped."""
    spool = open_spool(config)
    forget_deliveries(spool.journal)
    interrupted = spool.deliveries.interrupt_all()
    if interrupted:
        log.warning("deliveries interrupted by the last end go again", extra={"event": {"count": interrupted}})
    link.ready()
    _count_backlog(config, spool, metrics)
    if all(spool.deliveries.next_due_at(destination.name) is None for destination in config.delivery_destinations):
        link.hinted.wait(PREPARE_AFTER_SECONDS)  # nothing to deliver: the cores are for infer, which starts now too
    workers = [_worker(destination, config, spool, link, metrics) for destination in config.delivery_destinations]
    for worker in workers:
        worker.start()
    while not link.stopped.is_set():
        link.beat()
        _count_backlog(config, spool, metrics)
        if link.hinted.wait(POLL_SECONDS):
            link.hinted.clear()
            for worker in workers:
                worker.wake()
    for worker in workers:
        worker.stop(link.drain_seconds / max(1, len(workers)))
    spool.close()


def _count_backlog(config: Config, spool: Spool, metrics: Metrics) -> None:
    counts = {(row["destination"], row["state"]): row["n"] for row in spool.deliveries.backlog()}
    for destination in config.delivery_destinations:
        since = spool.deliveries.waiting_since(destination.name)
        age = 0.0 if since is None else max(0.0, time.time() - since)
        metrics.set("edge_delivery_oldest_waiting_seconds", age, destination=destination.name)
        for state in DELIVERY_STATES:
            count = counts.get((destination.name, state), 0)
            metrics.set("edge_deliveries", count, destination=destination.name, state=state)
    known = {destination.name for destination in config.delivery_destinations}
    stray = {name: n for (name, state), n in counts.items() if state == "queued" and name not in known}
    explain_deliveries(spool.journal, stray)
    metrics.set("edge_deliveries_without_destination", sum(stray.values()))
