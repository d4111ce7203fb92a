"""From the configuration to pipelines with verified, loaded engines: the one file that names concrete parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edge_runtime import config
from edge_runtime.backends.base import Backend
from edge_runtime.backends.registry import choose, load_backend, load_device
from edge_runtime.device.base import Device
from edge_runtime.engines.required import verify_engines
from edge_runtime.engines.runner import EngineRunner, load_runner
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.postprocess import compile_decoder
from edge_runtime.preprocess import compile_expectation, compile_recipe
from edge_runtime.stages.pipeline import Pipeline, canonical_json
from edge_runtime.stages.stage import Condition, Stage
from edge_runtime.telemetry.metrics import Metrics


def compose_pipeline(pipeline: config.Pipeline, engines: config.Engines, metrics: Metrics) -> Pipeline:
    """Verify and load the engines of a pipeline. Call `warm()` on it before the first image, `close()` at the end.

    Raises:
        ConfigurationError: an engine's card is missing or wrong, or a stage asks of another what its card has not.
        EngineRejected: an engine is not the one that its passport describes, or its library does not take it.
        BackendUnavailable: the backend is not in this version, or its package is missing.
    """
    verified = verify_engines(pipeline, engines)
    name = choose(engines.backend)
    backend, device = load_backend(name), load_device(name, engines.threads)
    runners: dict[Path, EngineRunner] = {}
    try:
        stages = [_stage(stage, verified[stage.name], runners, backend, device) for stage in pipeline.stages]
    except BaseException:
        _close(runners, device)
        raise
    documents = [_document(stage, verified[stage.name]) for stage in pipeline.stages]
    return Pipeline(pipeline.name, stages, canonical_json(documents), metrics, lambda: _close(runners, device))


def compose_pipelines(configuration: config.Config, metrics: Metrics) -> dict[str, Pipeline]:
    """Every pipeline of the configuration, by name. Raises as `compose_pipeline` does."""
    return {p.name: compose_pipeline(p, configuration.engines, metrics) for p in configuration.pipelines}


def _document(stage: config.Stage, engine: VerifiedEngine) -> dict[str, object]:
    """What a result records of a stage, and its UIDs depend on; a precision only where the stage names one."""
    keys = dataclasses.asdict(stage)
    if stage.precision is None:
        del keys["precision"]
    return {**keys, "card_sha256": engine.card_sha256}


def _stage(
    stage: config.Stage, engine: VerifiedEngine, runners: dict[Path, EngineRunner], backend: Backend, device: Device
) -> Stage:
    if engine.folder not in runners:
        runners[engine.folder] = load_runner(engine, backend, device)
    return Stage(
        name=stage.name,
        card=engine.card,
        identity=dataclasses.replace(engine.identity, backend=f"{backend.name} {backend.version}"),
        runner=runners[engine.folder],
        check=compile_expectation(engine.card),
        prepare=compile_recipe(engine.card),
        decode=compile_decoder(engine.card),
        golden=engine.golden,
        when=None if stage.when is None else Condition.parse(stage.when),
        within=stage.within,
        margin=stage.margin,
        optional=stage.optional,
        threshold=stage.threshold,
        expected_seconds=engine.passport.longest_run_seconds or 0.0,
    )


def _close(runners: dict[Path, EngineRunner], device: Device) -> None:
    for runner in runners.values():
        runner.close()
    device.close()
