"""report: turns committed findings into DICOM objects and JSON. What is written once is never made again."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.domain import Predecessor, ResultKind
from edge_runtime.errors import SpoolError
from edge_runtime.roles.link import Link
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.layout import sync_folder
from edge_runtime.spool.results import load_result
from edge_runtime.spool.spool import Spool, destinations_of, open_spool, read_manifest, write_manifest
from edge_runtime.telemetry.logs import describe
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.report")

POLL_SECONDS = 1.0
PREPARE_AFTER_SECONDS = 8.0
JOB_BOUND_SECONDS = 300.0
DISK_WAIT_SECONDS = 10.0


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Write reports until stopped."""
    spool = open_spool(config)
    for job in spool.jobs.in_state("reporting"):
        spool.jobs.step(job.id, "interrupt")
    link.ready()
    if not spool.jobs.in_state("concluded"):
        link.hinted.wait(PREPARE_AFTER_SECONDS)  # nothing to write: the cores are for infer, which starts now too
    with link.progress("prepare", "", JOB_BOUND_SECONDS):
        from edge_runtime.report.writer import prepare

        prepare()
    while not link.stopped.is_set():
        link.beat()
        try:
            worked = _turn(config, spool, link, metrics)
        except SpoolError:  # a job was cancelled at the console a moment ago, or the disk is full
            log.exception("report not begun or not ended")
            worked = False
        if not worked:
            link.hinted.wait(POLL_SECONDS)
            link.hinted.clear()
    spool.close()


def _turn(config: Config, spool: Spool, link: Link, metrics: Metrics) -> bool:
    """Write the reports that wait; False when there are none."""
    for job in spool.jobs.in_state("reporting"):  # an end that could not be written down
        spool.jobs.step(job.id, "defer")
    waiting = [job for job in spool.jobs.in_state("concluded") if not spool.jobs.earlier_is_open(job)]
    for job in waiting:
        if link.stopped.is_set():
            break
        link.beat()
        with link.progress("report", job.id, JOB_BOUND_SECONDS):
            _report(job, config, spool, metrics, link.stopped)
        link.hint("deliver")
    return bool(waiting)


def _report(job: Job, config: Config, spool: Spool, metrics: Metrics, stopped: threading.Event) -> None:
    if job.poisonous:
        text = f"writing the report failed {job.report_attempts} times; last: {job.reason or 'the process died'}"
        spool.jobs.step(job.id, "park", text)
        metrics.count("edge_jobs_parked_total", pipeline=job.pipeline, reason="report")
        log.error("job parked", extra={"event": {"job": job.id, "reason": text}})
        return
    if config.pipeline(job.pipeline) is None:
        spool.jobs.step(job.id, "park", "its pipeline is no longer configured: nobody is named to send the results to")
        log.error("job parked", extra={"event": {"job": job.id, "reason": "no such pipeline"}})
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
    from edge_runtime.report.writer import write_results

    folder = spool.layout.job(job.id)
    draft = folder / "report.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    result = load_result(folder)
    originals = {r.arrival.sop_instance_uid: spool.store.path(r.id) for r in spool.instances.of_job(job.id)}
    pipeline = config.pipeline(job.pipeline)
    assert pipeline is not None
    kinds = [ResultKind(kind) for kind in pipeline.results]
    objects = write_results(result, kinds, originals, _predecessor(job, spool), draft, config.receive.dicom.ae_title)
    write_manifest(draft, objects)
    draft.rename(folder / "report")
    sync_folder(folder)


def _predecessor(job: Job, spool: Spool) -> Predecessor | None:
    from edge_runtime.report.writer import identify_report

    row = spool.jobs.predecessor(job)
    if row is None:
        return None
    path: Path = spool.layout.job(row["job"]) / "report" / row["file_name"]
    return identify_report(path) if path.exists() else None
