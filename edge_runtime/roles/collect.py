"""The first half of infer: groups stored instances into series, and closes a job when its series is quiet.

Quiet time is measured on the monotonic clock, so that a clock that jumps closes nothing early and delays nothing.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from edge_runtime.assemble.header import SeriesHeader, read_header
from edge_runtime.assemble.match import matches
from edge_runtime.config import Config, Pipeline
from edge_runtime.errors import DecodeRefused, SpoolError, StepRefused
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.receipt import Receipt
from edge_runtime.spool.spool import Spool
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.collect")

BATCH = 50


@dataclass(frozen=True)
class _Looked:
    """An instance after its file was read: its header, or why it is bad."""

    receipt: Receipt
    header: SeriesHeader | None
    reason: str


def series_key(header: SeriesHeader) -> str:
    """One series of one patient: two patients under one UID never meet."""
    text = "\x1f".join((header.patient_key, header.study_instance_uid, header.series_instance_uid))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def seconds_until_quiet(quiet_seconds: float, received_at: float, now: float) -> float:
    """How long to wait for more, from wall-clock times that may have jumped: between 0 and the whole quiet time."""
    return min(max(quiet_seconds - (now - received_at), 0.0), quiet_seconds)


class Collector:
    """Turns stored instances into jobs. One thread uses it."""

    def __init__(
        self, config: Config, spool: Spool, metrics: Metrics, on_matched: Callable[[Receipt, SeriesHeader], None]
    ) -> None:
        self._config = config
        self._spool = spool
        self._metrics = metrics
        self._on_matched = on_matched
        self._due: dict[str, float] = {}
        for job in spool.jobs.in_state("collecting"):
            self._wait(job)

    def index(self) -> int:
        """Look at a batch of stored instances; how many there were."""
        stored = self._spool.instances.stored(BATCH)
        looked = [self._look(receipt) for receipt in stored]
        with self._spool.journal.write(durable=False):
            taken = [one for one in looked if self._enter(one)]
        for one in taken:
            assert one.header is not None
            self._on_matched(one.receipt, one.header)
        for receipt in stored:
            if self._spool.instances.state(receipt.id) == "duplicate":
                self._spool.store.remove(receipt.id)
        return len(stored)

    def close_quiet(self) -> list[Job]:
        """Close the jobs whose series has been quiet for the pipeline's time. Call it when nothing is left to index."""
        now = time.monotonic()
        closed = []
        for job_id in [job_id for job_id, due in self._due.items() if due <= now]:
            del self._due[job_id]
            job = self._spool.jobs.get(job_id)
            if job.state == "collecting":
                try:
                    self._spool.jobs.close(job, self._spool.instances.of_job(job_id))
                except StepRefused:  # a person cancelled it a moment ago
                    continue
                log.info("series complete", extra={"event": {"job": job_id, "pipeline": job.pipeline}})
                closed.append(job)
        return closed

    def seconds_to_next(self) -> float:
        """How long nothing will become quiet; infinity when nothing is collected."""
        return max(0.0, min(self._due.values(), default=float("inf")) - time.monotonic())

    def _look(self, receipt: Receipt) -> _Looked:
        """Read the file: what is it, and, if a pipeline takes it, is it what was acknowledged?"""
        path = self._spool.store.path(receipt.id)
        header, reason = None, ""
        try:
            try:
                header = read_header(path)
            except DecodeRefused as error:
                log.warning("instance refused", extra={"event": {"instance": receipt.id, "error": str(error)}})
                reason = error.reason
            wanted = header is None or len(self._against(receipt, header)) < len(self._config.pipelines)
            if wanted and not self._spool.store.verify(receipt):
                header, reason = None, "altered"
        except SpoolError as error:
            log.error("instance unreadable", extra={"event": {"instance": receipt.id, "error": str(error)}})
            header, reason = None, "unreadable_file"
        return _Looked(receipt, header, reason)

    def _enter(self, one: _Looked) -> bool:
        """Write down what the instance is; True when a job takes it."""
        instances, receipt = self._spool.instances, one.receipt
        twin = instances.twin(receipt)
        if twin is not None and twin["state"] == "unmatched":
            instances.step(twin["id"], "resent", "sent again, looked at afresh")
        elif twin is not None:
            instances.step(receipt.id, "same_bytes", "the same bytes were stored before")
            self._count("duplicate")
            return False
        if one.header is None:
            instances.step(receipt.id, "bad", one.reason)
            self._count("quarantined")
            return False
        if one.header.own_result or instances.is_own_result(receipt.arrival.sop_instance_uid):
            instances.step(receipt.id, "own", "a result of this runtime came back")
            self._count("own_result")
            return False
        return self._match(receipt, one.header)

    def _against(self, receipt: Receipt, header: SeriesHeader) -> dict[str, str]:
        """The pipelines that do not take the instance, each with what speaks against it."""
        arrival = receipt.arrival
        against: dict[str, str] = {}
        for pipeline in self._config.series_pipelines:
            slices = pipeline.wanted.minimum_slices  # counted when the series is whole
            reason = matches(header, pipeline.wanted, slices, arrival.caller_ae_title, arrival.called_ae_title)
            if reason is not None or not header.has_pixels:
                against[pipeline.name] = reason or "no pixels"
        return against

    def _match(self, receipt: Receipt, header: SeriesHeader) -> bool:
        against = self._against(receipt, header)
        taking = [p for p in self._config.series_pipelines if p.name not in against]
        if taking:
            return self._take(receipt, header, taking)
        reasons = ", ".join(f"{name}: {reason}" for name, reason in against.items())
        self._spool.instances.step(receipt.id, "no_match", reasons)
        log.info("instance matches no pipeline", extra={"event": {"instance": receipt.id, "reasons": reasons}})
        self._count("unmatched")
        return False

    def _take(self, receipt: Receipt, header: SeriesHeader, pipelines: list[Pipeline]) -> bool:
        key = series_key(header)
        instances = self._spool.instances
        if instances.conflicts(receipt):
            log.warning("same instance UID with other bytes, both kept", extra={"event": {"instance": receipt.id}})
            self._count("conflicting")
        known = asdict(header)
        del known["patient_key"]
        instances.add_series(
            key, header.study_instance_uid, header.series_instance_uid, header.accession_number or "", known
        )
        instances.step(receipt.id, "match", series_key=key)
        self._count("matched")
        wanted = False
        for pipeline in pipelines:
            job = self._spool.jobs.take(receipt, key, pipeline.name, pipeline.deadline_seconds)
            if job is not None:
                if job.amends is not None and job.id not in self._due:
                    log.info("late images re-open a series", extra={"event": {"job": job.id, "amends": job.amends}})
                self._wait(job)
                wanted = True
        return wanted

    def _wait(self, job: Job) -> None:
        pipeline = self._config.pipeline(job.pipeline)
        quiet = pipeline.complete_after_seconds if pipeline else 0.0
        wait = seconds_until_quiet(quiet, job.last_received_at, time.time())
        self._due[job.id] = time.monotonic() + wait

    def _count(self, outcome: str) -> None:
        self._metrics.count("edge_instances_indexed_total", outcome=outcome)
