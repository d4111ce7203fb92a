"""infer: owns the accelerator. Loads the engines and runs their golden inputs, then works."""

from __future__ import annotations

from edge_runtime.compose import compose_pipelines
from edge_runtime.config import Config
from edge_runtime.engines.required import engine_marks
from edge_runtime.roles.link import Link
from edge_runtime.spool.spool import open_spool
from edge_runtime.telemetry.metrics import Metrics

WARM_BOUND_SECONDS = 900.0


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Infer until stopped."""
    spool = open_spool(config)
    with link.progress("load", "", WARM_BOUND_SECONDS):
        link.engines(engine_marks(config))  # before they are read: what is exchanged meanwhile counts as other
        pipelines = compose_pipelines(config, metrics)
        for pipeline in pipelines.values():
            pipeline.warm()
    link.ready()
    from edge_runtime.roles.inference import recover_jobs, work  # what reads images is loaded when the engines are

    recover_jobs(spool)
    work(config, spool, link, metrics, pipelines)
