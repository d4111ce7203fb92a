"""The engines on this device: verified, loaded and run on their golden input, each in a process that may die."""

from __future__ import annotations

import logging
import multiprocessing
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from edge_runtime import config
from edge_runtime.compose import compose_pipeline
from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.doctor.machine import LEAST_MEMORY_BYTES, available_bytes_here
from edge_runtime.engines.required import verify_engines
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.telemetry.logs import describe, start_logging
from edge_runtime.telemetry.metrics import NullMetrics

log = logging.getLogger("edge_runtime.doctor")

LOAD_SECONDS = 240.0


@dataclass(frozen=True)
class Loaded:
    """What loading an engine took: seconds, the seconds of its golden input in the engine, peak memory of a process."""

    load_seconds: float
    golden_seconds: float
    peak_bytes: int


def examine_engines(site: Site) -> Iterator[Check]:
    """The engines of every pipeline."""
    loaded: dict[str, Loaded] = {}
    for pipeline in site.config.pipelines:
        try:
            verify_engines(pipeline, site.config.engines)
        except EdgeRuntimeError as error:
            yield fail(f"pipeline {pipeline.name}", str(error), "mend the engine; see edge-runtime engines verify")
            continue
        for stage in pipeline.variants:
            if stage.asked not in loaded:
                found = load_apart(stage, site.config.engines)
                if isinstance(found, Check):
                    yield found
                    continue
                loaded[stage.asked] = found
                yield loaded_check(stage.asked, found)
        if all(stage.asked in loaded for stage in pipeline.stages):
            yield from deadline_checks(site.config, pipeline, loaded)
    if loaded:
        yield engine_memory_check(sum(one.peak_bytes for one in loaded.values()), available_bytes_here())


def load_apart(stage: config.Stage, engines: config.Engines, seconds: float = LOAD_SECONDS) -> Loaded | Check:
    """Load the engine of a stage in a process of its own and run its golden input."""
    what = f"engine {stage.asked}"
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_load, args=(theirs, stage, engines), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(seconds) else fail(what, f"not loaded within {seconds:.0f} s", _SLOW)
    except EOFError:
        process.join(10.0)
        answer = fail(what, f"the process that loaded it ended with {process.exitcode}", _DIED)
    process.kill()
    process.join()
    return fail(what, answer, "see edge-runtime engines verify") if isinstance(answer, str) else answer


_SLOW = "is the device in use by something else? look at its load"
_DIED = "a library of the backend does not fit this computer; install edge-runtime again"


def _load(answer: Connection, stage: config.Stage, engines: config.Engines) -> None:
    start_logging("doctor", "CRITICAL")
    alone = replace(stage, when=None, within=None)
    began = time.perf_counter()
    try:
        pipeline = compose_pipeline(config.Pipeline(name="doctor", stages=(alone,)), engines, NullMetrics())
        seconds = time.perf_counter() - began
        pipeline.warm()
    except Exception as error:  # whatever a library raises is what the doctor is to find
        log.exception("engine not loaded", extra={"event": {"engine": stage.engine}})
        answer.send(str(error) if isinstance(error, EdgeRuntimeError) else describe(error))
        return
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer.send(Loaded(seconds, pipeline.stages[0].runner.engine_seconds, peak))


def loaded_check(name: str, loaded: Loaded) -> Check:
    """An engine that answers as built."""
    found = f"answers its golden input as built, in {loaded.golden_seconds:.3f} s"
    return ok(f"engine {name}", f"{found}; loaded in {loaded.load_seconds:.1f} s, {loaded.peak_bytes / 1e6:.0f} MB")


def deadline_checks(site: config.Config, pipeline: config.Pipeline, loaded: dict[str, Loaded]) -> Iterator[Check]:
    """The engines' time, each run once, against every deadline: of the pipeline, and of each source that uses it."""
    seconds = sum(loaded[stage.asked].golden_seconds for stage in pipeline.stages)
    what = f"pipeline {pipeline.name}"
    deadlines = [
        (f"{what}, {v.name}", site.live_deadline_seconds(v)) for v in site.video if v.pipeline == pipeline.name
    ]
    if pipeline in site.series_pipelines:
        deadlines.insert(0, (what, pipeline.deadline_seconds))
    for name, deadline in deadlines:
        found = f"engines take {seconds:.3g} s, the deadline is {deadline:g} s"
        if seconds > deadline / 2:
            yield warn(name, found, "use a faster device or engine, or a longer deadline_seconds")
        else:
            yield ok(name, found)


def engine_memory_check(needed: int, available: int) -> Check:
    """The engines' memory against what is available, with room for the other roles."""
    what, found = "memory for engines", f"up to {needed / 1e9:.1f} GB of {available / 1e9:.1f} GB available"
    if needed + LEAST_MEMORY_BYTES / 2 > available:
        return warn(what, found, "add memory, or run fewer pipelines: the system ends a daemon that takes too much")
    return ok(what, found)
