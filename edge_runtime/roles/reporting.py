"""The work of report: turns committed findings into DICOM objects and JSON. What is written is never made again."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.domain import Answer, JobResult, Predecessor
from edge_runtime.errors import SpoolError
from edge_runtime.report.event import Announcement, answer_of, is_announced
from edge_runtime.report.thumbnail import write_thumbnail
from edge_runtime.report.writer import identify_report, write_results
from edge_runtime.result_objects import ResultKind
from edge_runtime.roles.link import Link
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.layout import sync_folder
from edge_runtime.spool.results import load_result
from edge_runtime.spool.spool import Spool, destinations_of, read_manifest, write_manifest
from edge_runtime.spool.strays import explain_jobs
from edge_runtime.telemetry.logs import describe
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.report")

JOB_BOUND_SECONDS = 300.0
DISK_WAIT_SECONDS = 10.0


def write_waiting(config: Config, spool: Spool, link: Link, metrics: Metrics) -> bool:
    """Write the reports that wait; False when there are none."""
    for job in spool.jobs.in_state("reporting"):  # an end that could not be written down
        spool.jobs.step(job.id, "defer")
    concluded = spool.jobs.in_state("concluded")
    stray = [job.pipeline for job in concluded if config.pipeline(job.pipeline) is None]
    explain_jobs(spool.journal, "concluded", set(stray))
    metrics.set("edge_jobs_without_pipeline", len(stray))
    waiting = [job for job in concluded if job.pipeline not in stray and not spool.jobs.earlier_is_open(job)]
    for job in waiting:
        if link.stopped.is_set():
            break
        link.beat()
        with link.progress("report", job.id, JOB_BOUND_SECONDS):
            _report(job, config, spool, metrics, link.stopped)
            link.hint("deliver")
            _picture(job, config, spool)
    return bool(waiting)


def _report(job: Job, config: Config, spool: Spool, metrics: Metrics, stopped: threading.Event) -> None:
    if job.poisonous:
        text = f"writing the report failed {job.report_attempts} times; last: {job.reason or 'the process died'}"
        spool.jobs.step(job.id, "park", text)
        metrics.count("edge_jobs_parked_total", pipeline=job.pipeline, reason="report")
        log.error("job parked", extra={"event": {"job": job.id, "reason": text}})
        return
    spool.jobs.step(job.id, "report")
    try:
        if not (spool.layout.job(job.id) / "report" / "manifest.json").exists():
            _write(job, config, spool)
        results = read_manifest(spool.layout.job(job.id))
        spool.deliveries.add_results(job.id, results, destinations_of(config, job.pipeline))
        spool.jobs.step(job.id, "commit")
        spool.deliveries.end_if_delivered(job.id)
    except SpoolError as error:
        log.exception("report waits for the disk", extra={"event": {"job": job.id}})
        spool.jobs.step(job.id, "defer", describe(error))
        stopped.wait(DISK_WAIT_SECONDS)
        return
    except Exception as error:  # the next job must still be reported
        log.exception("report failed", extra={"event": {"job": job.id}})
        spool.jobs.step(job.id, "interrupt", describe(error))
        return
    metrics.count("edge_reports_written_total", pipeline=job.pipeline)
    log.info("report written", extra={"event": {"job": job.id, "files": len(results)}})


def _write(job: Job, config: Config, spool: Spool) -> None:
    """Write all objects beside the place where they belong, then move them there as one."""
    folder = spool.layout.job(job.id)
    draft = folder / "report.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    result = load_result(folder)
    originals = _originals(job, spool)
    pipeline = config.pipeline(job.pipeline)
    assert pipeline is not None
    kinds = [ResultKind(kind) for kind in pipeline.results]
    serial, announcements = config.receive.dicom.ae_title, _announcements(job, result, config, spool)
    objects = write_results(result, kinds, originals, _predecessor(job, spool), draft, serial, announcements)
    write_manifest(draft, objects)
    draft.rename(folder / "report")
    sync_folder(folder)


def _picture(job: Job, config: Config, spool: Spool) -> None:
    """The thumbnail for the page, when the results are on their way. Without it nothing is missing from them."""
    if config.http.thumbnails == "never" or spool.jobs.get(job.id).state not in ("reported", "delivered"):
        return
    folder = spool.layout.job(job.id)
    try:
        write_thumbnail(load_result(folder), _originals(job, spool), config.http.thumbnails, folder)
    except (OSError, SpoolError):
        log.exception("thumbnail not made", extra={"event": {"job": job.id}})


def _originals(job: Job, spool: Spool) -> dict[str, Path]:
    return {r.arrival.sop_instance_uid: spool.store.path(r.id) for r in spool.instances.of_job(job.id)}


def _predecessor(job: Job, spool: Spool) -> Predecessor | None:
    row = spool.jobs.predecessor(job)
    if row is None:
        return None
    path: Path = spool.layout.job(row["job"]) / "report" / row["file_name"]
    return identify_report(path) if path.exists() else None


def _announcements(job: Job, result: JobResult, config: Config, spool: Spool) -> list[Announcement]:
    """The events that the webhooks of the job's pipeline get."""
    pipeline = config.pipeline(job.pipeline)
    assert pipeline is not None
    named = {send.name for send in pipeline.send_to}
    hooks = [d for d in config.destinations if d.type == "webhook" and d.name in named]
    if not hooks:
        return []
    replaces, earlier = _earlier(job, spool)
    answer = answer_of(result)
    return [
        Announcement(hook.name, hook.identifiers == "accession", replaces)
        for hook in hooks
        if is_announced(hook.announce, answer, job.revision, earlier)
    ]


def _earlier(job: Job, spool: Spool) -> tuple[str | None, Answer | None]:
    """The newest earlier revision that was reported, and what it said; None for what is not known any more."""
    amends = job.amends
    while amends is not None:
        folder = spool.layout.job(amends)
        try:
            if (folder / "report" / "manifest.json").exists():
                return amends, answer_of(load_result(folder))
            amends = spool.jobs.get(amends).amends
        except SpoolError:  # deleted after the retention time, or damaged
            return amends, None
    return None, None
