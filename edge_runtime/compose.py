"""From the configuration to pipelines with verified, loaded engines: the one file that names concrete parts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from edge_runtime import config
from edge_runtime.backends.registry import choose, load_backend, load_device
from edge_runtime.engines.required import verify_variants
from edge_runtime.engines.runner import EngineRunner, Turn, load_runner
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.postprocess import compile_decoder
from edge_runtime.preprocess import compile_expectation, compile_recipe
from edge_runtime.schedule.arbiter import Arbiter
from edge_runtime.schedule.claim import Claim
from edge_runtime.schedule.estimates import Estimates
from edge_runtime.stages.pipeline import Pipeline, canonical_json
from edge_runtime.stages.stage import Condition, Stage
from edge_runtime.telemetry.metrics import Metrics

_MOST_LANES = 4


@dataclass(frozen=True, eq=False)
class Claimed:
    """A pipeline whose engines wait for their turn on the accelerator, in the name of `claim`."""

    pipeline: Pipeline
    claim: Claim


class _Loader:
    """Loads every engine once, on one device. Each claim gets runners of its own."""

    def __init__(self, engines: config.Engines, name: str) -> None:
        flavour = choose(engines.backend)
        self.backend, self._device = load_backend(flavour), load_device(flavour, engines.threads)
        self._name = name
        self._loaded: dict[Path, EngineRunner] = {}

    def runner(self, engine: VerifiedEngine, claim: Claim | None) -> EngineRunner:
        loaded, turn = self._loaded.get(engine.folder), self._turn(engine, claim)
        if loaded is None:
            loaded = self._loaded[engine.folder] = load_runner(engine, self.backend, self._device, turn)
            return loaded
        return loaded if turn is None else loaded.another(turn)

    def _turn(self, engine: VerifiedEngine, claim: Claim | None) -> Turn | None:
        if claim is None:
            return None
        return claim.turn_of(f"{self._name}/{engine.folder}", engine.passport.longest_run_seconds or 0.0)

    def close(self) -> None:
        for runner in self._loaded.values():
            runner.close()
        self._device.close()


def compose_pipeline(pipeline: config.Pipeline, engines: config.Engines, metrics: Metrics) -> Pipeline:
    """Verify and load the engines of a pipeline. Call `warm()` on it before the first image, `close()` at the end.

    Raises:
        ConfigurationError: an engine's card is missing or wrong, or a stage asks of another what its card has not.
        EngineRejected: an engine is not the one that its passport describes, or its library does not take it.
        BackendUnavailable: the backend is not in this version, or its package is missing.
    """
    return _compose(pipeline, engines, metrics, [None])[0]


def compose_claimed(
    pipeline: config.Pipeline,
    engines: config.Engines,
    metrics: Metrics,
    arbiter: Arbiter,
    lanes: int,
    estimates: Estimates | None = None,
) -> tuple[Claimed, ...]:
    """The same pipeline `lanes` times over the same engines: each with its own buffers, for images side by side.

    All share `estimates`, what is known of how long stages take; None: what suits studies. Closing the first closes the
    engines of all. Raises as `compose_pipeline`.
    """
    claims = [Claim(arbiter) for _ in range(lanes)]
    pipelines = _compose(pipeline, engines, metrics, claims, estimates)
    return tuple(Claimed(one, claim) for one, claim in zip(pipelines, claims, strict=True))


def compose_pipelines(configuration: config.Config, metrics: Metrics) -> dict[str, Pipeline]:
    """Every pipeline of the configuration, by name. Raises as `compose_pipeline` does."""
    return {p.name: compose_pipeline(p, configuration.engines, metrics) for p in configuration.pipelines}


def runs_at_once(configuration: config.Config) -> int:
    """How many runs of engines the accelerator takes at the same time."""
    engines = configuration.engines
    if configuration.schedule.concurrency:
        return configuration.schedule.concurrency
    device = load_device(choose(engines.backend), engines.threads)
    try:
        return device.concurrency
    finally:
        device.close()


def lanes_for(concurrency: int) -> int:
    """How many frames of a pipeline are under way at once: those on the accelerator, and one that is prepared."""
    return min(concurrency + 1, _MOST_LANES)


def _compose(
    pipeline: config.Pipeline,
    engines: config.Engines,
    metrics: Metrics,
    claims: list[Claim] | list[None],
    estimates: Estimates | None = None,
) -> list[Pipeline]:
    verified = verify_variants(pipeline, engines)
    loader = _Loader(engines, pipeline.name)
    documents = canonical_json([_document(stage, verified[stage.name]) for stage in pipeline.stages])
    composed: list[Pipeline] = []
    try:
        for claim in claims:
            stages = [_stage(stage, verified[stage.name], loader, claim) for stage in pipeline.stages]
            close = _nothing if composed else loader.close
            composed.append(Pipeline(pipeline.name, stages, documents, metrics, close, estimates=estimates))
    except BaseException:
        loader.close()
        raise
    return composed


def _nothing() -> None:
    """What the other lanes close: the first one closes the engines."""


def _document(stage: config.Stage, engines: tuple[VerifiedEngine, ...]) -> dict[str, object]:
    """What a result records of a stage, and its UIDs depend on; precision and variants only where there are any."""
    keys = dataclasses.asdict(stage)
    if stage.precision is None:
        del keys["precision"]
    if stage.cheaper:
        keys["cheaper_card_sha256"] = [engine.card_sha256 for engine in engines[1:]]
    else:
        del keys["cheaper"]
    return {**keys, "card_sha256": engines[0].card_sha256}


def _stage(stage: config.Stage, engines: tuple[VerifiedEngine, ...], loader: _Loader, claim: Claim | None) -> Stage:
    configured, *cheaper = (_variant(stage, engine, loader, claim) for engine in engines)
    return dataclasses.replace(configured, cheaper=tuple(cheaper))


def _variant(stage: config.Stage, engine: VerifiedEngine, loader: _Loader, claim: Claim | None) -> Stage:
    backend = loader.backend
    return Stage(
        name=stage.name,
        card=engine.card,
        identity=dataclasses.replace(engine.identity, backend=f"{backend.name} {backend.version}"),
        runner=loader.runner(engine, claim),
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
