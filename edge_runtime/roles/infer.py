"""infer: owns the accelerator. Loads engines, runs their golden inputs, then works on studies and live frames."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

from edge_runtime.compose import Claimed, compose_claimed, compose_pipeline, gpu_of, lanes_for, runs_at_once
from edge_runtime.config import Config
from edge_runtime.device.base import Priority
from edge_runtime.device.hang import on_hang
from edge_runtime.engines.required import engine_marks, studies_apart
from edge_runtime.frames.channels import Channels
from edge_runtime.roles.device_end import DeviceHang
from edge_runtime.roles.link import Link
from edge_runtime.schedule.arbiter import Arbiter
from edge_runtime.schedule.claim import Claim
from edge_runtime.schedule.estimates import Estimates
from edge_runtime.spool.spool import Spool, open_spool
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.telemetry.metrics import Metrics

WARM_BOUND_SECONDS = 900.0
BEAT_SECONDS = 1.0
LIVE_SWITCH_SECONDS = 0.0005
"""A live frame waits no longer for another thread's Python."""


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Infer until stopped."""
    spool = open_spool(config)
    if link.channels is not None:
        _run_live(config, link, metrics, spool, link.channels)
    else:
        run_studies("infer", config, link, metrics, spool)


def run_studies(
    role: str, config: Config, link: Link, metrics: Metrics, spool: Spool, each_turn: Callable[[], None] | None = None
) -> None:
    """Load what studies need and work on them until stopped; `each_turn` is called every now and then."""
    on_hang.handler = hang = DeviceHang(role, link, metrics)
    with link.progress("load", "", WARM_BOUND_SECONDS):
        link.engines(engine_marks(config))  # before they are read: what is exchanged meanwhile counts as other
        pipelines = {p.name: compose_pipeline(p, config.engines, metrics) for p in config.series_pipelines}
        link.gpu(gpu_of(config.engines))
        _warm(list(pipelines.values()))
    link.ready()
    _work(config, spool, link, metrics, pipelines, {}, hang, each_turn)


def _run_live(config: Config, link: Link, metrics: Metrics, spool: Spool, channels: Channels) -> None:
    """Live frames, and studies beside them where those are short."""
    on_hang.handler = hang = DeviceHang("infer", link, metrics)
    with link.progress("load", "", WARM_BOUND_SECONDS):
        link.engines(engine_marks(config))
        capacity = runs_at_once(config)
        arbiter = Arbiter(capacity, metrics)
        names = dict.fromkeys(video.pipeline for video in config.video)
        lanes = lanes_for(capacity)
        high, normal = Priority.HIGH, Priority.NORMAL
        live = {name: _claimed(config, name, metrics, arbiter, lanes, Estimates(), high) for name in names}
        link.gpu(gpu_of(config.engines))
        series = () if studies_apart(config) else config.series_pipelines
        studies = {p.name: _claimed(config, p.name, metrics, arbiter, 1, None, normal)[0] for p in series}
        _warm([one.pipeline for each in live.values() for one in each])
        _warm([one.pipeline for one in studies.values()])
    from edge_runtime.roles.frames import LiveFrames  # what handles frames is loaded when the engines are

    gc.collect()
    gc.freeze()
    sys.setswitchinterval(LIVE_SWITCH_SECONDS)
    frames = LiveFrames(config, channels, live, capacity, metrics)
    frames.on_broken = link.hinted.set
    frames.start()
    link.ready()
    if studies:
        pipelines = {name: one.pipeline for name, one in studies.items()}
        claims = {name: one.claim for name, one in studies.items()}
        _work(config, spool, link, metrics, pipelines, claims, hang, frames.check, frames.has_answered)
    while not link.stopped.is_set():
        link.beat()
        frames.check()
        link.hinted.wait(BEAT_SECONDS)
        link.hinted.clear()
    frames.stop()


def _claimed(
    config: Config,
    name: str,
    metrics: Metrics,
    arbiter: Arbiter,
    lanes: int,
    estimates: Estimates | None,
    priority: Priority,
) -> tuple[Claimed, ...]:
    pipeline = config.pipeline(name)
    assert pipeline is not None
    claimed = compose_claimed(pipeline, config.engines, metrics, arbiter, lanes, estimates, priority)
    for one in claimed:
        one.claim.on_promotion = lambda: metrics.count("edge_schedule_promotions_total", pipeline=name)
    return claimed


def _warm(pipelines: list[Pipeline]) -> None:
    for pipeline in pipelines:
        pipeline.warm()


def _work(
    config: Config,
    spool: Spool,
    link: Link,
    metrics: Metrics,
    pipelines: dict[str, Pipeline],
    claims: dict[str, Claim],
    hang: DeviceHang,
    each_turn: Callable[[], None] | None = None,
    live_works: Callable[[], bool] = lambda: False,
) -> None:
    from edge_runtime.roles.inference import recover_jobs, work  # what reads images is loaded when the engines are

    recover_jobs(spool)
    work(config, spool, link, metrics, pipelines, claims, hang, each_turn, live_works)
