"""From the configuration to pipelines with verified, loaded engines: the one file that names concrete parts."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

from edge_runtime import config
from edge_runtime.backends.registry import cache_folder, load_backend, load_device
from edge_runtime.device.base import Device, Priority
from edge_runtime.engines.card import Card
from edge_runtime.engines.required import verify_variants
from edge_runtime.engines.runner import EngineRunner, Streams, Turn, load_runner, open_streams
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.errors import BackendUnavailable, DeviceError, DeviceLost
from edge_runtime.kernels import Kernels
from edge_runtime.postprocess import compile_decoder
from edge_runtime.postprocess.on_device import decoding
from edge_runtime.preprocess import compile_expectation, compile_recipe
from edge_runtime.preprocess.on_device import frame_preparation, volume_preparation
from edge_runtime.schedule.arbiter import Arbiter
from edge_runtime.schedule.claim import Claim
from edge_runtime.schedule.estimates import Estimates
from edge_runtime.stages.frame_path import FramePath
from edge_runtime.stages.on_device import OnDevice, PreparedOnDevice
from edge_runtime.stages.pipeline import Pipeline, canonical_json
from edge_runtime.stages.stage import Condition, Stage
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.compose")

_MOST_LANES = 4


@dataclass(frozen=True, eq=False)
class Claimed:
    """A pipeline whose engines wait for their turn on the accelerator, in the name of `claim`."""

    pipeline: Pipeline
    claim: Claim


@dataclass(frozen=True, eq=False)
class _Lane:
    """What one image at a time has for itself on the device."""

    number: int
    claim: Claim | None
    streams: Streams


class _Loader:
    """Loads every engine once, on one device. Each lane gets runners of its own."""

    def __init__(self, engines: config.Engines, name: str) -> None:
        self.device = load_device(engines)
        self.backend = load_backend(engines, self.device)
        self._name, self._graphs = name, engines.cuda.graphs
        self._loaded: dict[Path, EngineRunner] = {}
        self._kernels = _kernels(self.device, cache_folder(engines))

    def runner(self, engine: VerifiedEngine, lane: _Lane) -> EngineRunner:
        loaded = self._loaded.get(engine.folder)
        turn = self._turn(lane, str(engine.folder), engine.passport.longest_run_seconds or 0.0)
        if loaded is None:
            loaded = load_runner(engine, self.backend, self.device, turn, lane.streams)
            self._loaded[engine.folder] = loaded
            return loaded
        return loaded if turn is None else loaded.another(turn, lane.streams)

    def frame_path(self, pipeline: str, stages: list[Stage], lane: _Lane, metrics: Metrics) -> FramePath | None:
        """The way of single pictures through these stages; None where none of them can work on the device."""
        if all(variant.on_device is None for stage in stages for variant in stage.variants):
            return None
        turn = self._turn(lane, "pictures", sum(stage.expected_seconds for stage in stages))
        return FramePath(
            self.device,
            lane.streams.run,
            turn,
            graphs=self._graphs,
            told=lambda outcome: metrics.count("edge_graphs_total", pipeline=pipeline, outcome=outcome),
        )

    def on_device(self, stage: config.Stage, card: Card, runner: EngineRunner) -> OnDevice | None:
        """How a stage on pictures works on the device; None, with a word in the log, where the host must do it."""
        if self._kernels is None or card.input.kind != "frame":
            return None
        preparation = frame_preparation(card, self._kernels)
        read = decoding(card, self._kernels, stage.threshold)
        if isinstance(preparation, str) or isinstance(read, str):
            self._tell_host(stage, f"{preparation if isinstance(preparation, str) else read}")
            return None
        return OnDevice(stage.name + "/" + stage.asked, runner, preparation, read)

    def prepare_on_device(self, stage: config.Stage, card: Card, runner: EngineRunner) -> PreparedOnDevice | None:
        """How a stage's volumes are prepared on the device; None, with a word in the log, where the host must do it."""
        if self._kernels is None or card.input.kind != "volume":
            return None
        preparation = volume_preparation(card, self._kernels)
        if isinstance(preparation, str):
            self._tell_host(stage, preparation)
            return None
        return PreparedOnDevice(runner, preparation)

    def _tell_host(self, stage: config.Stage, reason: str) -> None:
        event = {"pipeline": self._name, "stage": stage.name, "engine": stage.asked, "reason": reason}
        log.info("the host prepares and reads", extra={"event": event})

    def _turn(self, lane: _Lane, what: str, seconds: float) -> Turn | None:
        """Of an engine on the host, which all lanes share; of a lane's own context on a device."""
        if lane.claim is None:
            return None
        mine = f"/{lane.number}" if self.device.facts.kind == "gpu" else ""
        return lane.claim.turn_of(f"{self._name}/{what}{mine}", seconds)

    def close(self) -> None:
        for runner in self._loaded.values():
            runner.close()
        self.device.close()


def _kernels(device: Device, cache: Path | None) -> Kernels | None:
    """What prepares and reads on the device; None, with a word in the log, where it cannot be had."""
    if not device.abilities.kernels:
        return None
    try:
        return Kernels(device, cache)
    except DeviceLost:
        raise
    except (BackendUnavailable, DeviceError) as error:
        log.warning("the host prepares and reads all images", extra={"event": {"reason": str(error)}})
        return None


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
    priority: Priority = Priority.NORMAL,
) -> tuple[Claimed, ...]:
    """The same pipeline `lanes` times over the same engines: each with its own buffers, for images side by side.

    All share `estimates`, what is known of how long stages take; None: what suits studies. Their streams have
    `priority`. Closing the first closes the engines of all. Raises as `compose_pipeline`.
    """
    claims = [Claim(arbiter) for _ in range(lanes)]
    pipelines = _compose(pipeline, engines, metrics, claims, estimates, priority)
    return tuple(Claimed(one, claim) for one, claim in zip(pipelines, claims, strict=True))


def compose_pipelines(configuration: config.Config, metrics: Metrics) -> dict[str, Pipeline]:
    """Every pipeline of the configuration, by name. Raises as `compose_pipeline` does."""
    return {p.name: compose_pipeline(p, configuration.engines, metrics) for p in configuration.pipelines}


def runs_at_once(configuration: config.Config) -> int:
    """How many runs of engines the accelerator takes at the same time."""
    engines = configuration.engines
    if configuration.schedule.concurrency:
        return configuration.schedule.concurrency
    device = load_device(engines)
    try:
        return device.concurrency
    finally:
        device.close()


def gpu_of(engines: config.Engines) -> str | None:
    """The PCI address of the GPU that engines run on, "" for one without; None: they run on none."""
    device = load_device(engines)
    try:
        return (device.facts.pci_bus_id or "") if device.facts.kind == "gpu" else None
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
    priority: Priority = Priority.NORMAL,
) -> list[Pipeline]:
    verified = verify_variants(pipeline, engines)
    loader = _Loader(engines, pipeline.name)
    documents = canonical_json([_document(stage, verified[stage.name]) for stage in pipeline.stages])
    composed: list[Pipeline] = []
    try:
        for number, claim in enumerate(claims):
            lane = _Lane(number, claim, open_streams(loader.device, priority))
            stages = [_stage(stage, verified[stage.name], loader, lane) for stage in pipeline.stages]
            close = _nothing if composed else loader.close
            path = loader.frame_path(pipeline.name, stages, lane, metrics)
            composed.append(
                Pipeline(pipeline.name, stages, documents, metrics, close, estimates=estimates, frame_path=path)
            )
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


def _stage(stage: config.Stage, engines: tuple[VerifiedEngine, ...], loader: _Loader, lane: _Lane) -> Stage:
    as_configured = stage.variants
    configured, *cheaper = (_variant(*each, loader, lane) for each in zip(as_configured, engines, strict=True))
    return dataclasses.replace(configured, cheaper=tuple(cheaper))


def _variant(stage: config.Stage, engine: VerifiedEngine, loader: _Loader, lane: _Lane) -> Stage:
    backend, runner = loader.backend, loader.runner(engine, lane)
    return Stage(
        name=stage.name,
        card=engine.card,
        identity=dataclasses.replace(engine.identity, backend=f"{backend.name} {backend.version}"),
        runner=runner,
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
        on_device=loader.on_device(stage, engine.card, runner),
        prepare_on_device=loader.prepare_on_device(stage, engine.card, runner),
    )
