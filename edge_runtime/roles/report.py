"""report: owns the writing of results. Ready before what writes them is loaded: results wait in the spool."""

from __future__ import annotations

import logging

from edge_runtime.config import Config
from edge_runtime.errors import SpoolError
from edge_runtime.roles.link import Link
from edge_runtime.spool.spool import open_spool
from edge_runtime.spool.strays import forget_jobs
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.report")

POLL_SECONDS = 1.0
PREPARE_AFTER_SECONDS = 8.0
PREPARE_BOUND_SECONDS = 300.0


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Write reports until stopped."""
    spool = open_spool(config)
    forget_jobs(spool.journal, "concluded")
    for job in spool.jobs.in_state("reporting"):
        spool.jobs.step(job.id, "interrupt")
    link.ready()
    if not spool.jobs.in_state("concluded"):
        link.hinted.wait(PREPARE_AFTER_SECONDS)  # nothing to write: the cores are for infer, which starts now too
    if not link.stopped.is_set():
        with link.progress("prepare", "", PREPARE_BOUND_SECONDS):
            from edge_runtime.report.writer import prepare
            from edge_runtime.roles.reporting import write_waiting

            prepare()
    while not link.stopped.is_set():
        link.beat()
        try:
            worked = write_waiting(config, spool, link, metrics)
        except SpoolError:  # a job was cancelled at the console a moment ago, or the disk is full
            log.exception("report not begun or not ended")
            worked = False
        if not worked:
            link.hinted.wait(POLL_SECONDS)
            link.hinted.clear()
    spool.close()
