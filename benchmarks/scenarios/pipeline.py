"""The stages as configured, in one process, without DICOM and files, against the same stages with bare networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import yaml

from benchmarks.devices import on
from benchmarks.live.bare import bare_pipeline
from benchmarks.load.arrivals import Load, Mode
from benchmarks.load.generator import Called, Loaded, run_load
from benchmarks.measured import Accelerator
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.pipeline_images import images_named
from benchmarks.scenarios.pipeline_schema import BARE, PipelineScenario
from benchmarks.scenarios.pipeline_sides import Analysed, Side, StageTimes
from benchmarks.site import read_site, work_folder
from benchmarks.statistics import median
from edge_runtime.backends.registry import choose
from edge_runtime.compose import compose_pipeline
from edge_runtime.config import Config

EDGE = "edge"
_WARM_UP = 3  # images of each side, after every image was analysed once
_LEAST_OFFLINE = 2

NOTES = [
    "One image is analysed by all stages: preparation, networks, decoding. It lies in memory; no DICOM, no file.",
    "single-stream: one image after the other, the sides in turn, image by image. A stage's time is what its record "
    "in the result says; what is left of the whole is between the stages. engine: the network alone.",
    "bare: the same recipes and decoding, `InferenceSession.run` with the runtime's options, nothing between.",
    "fixed-rate: open loop, a latency counts from the moment at which its image was to come; the same rate for both "
    "sides and in all rounds. offline: all images at once.",
    "The deadline is the pipeline's in the configuration. A study's begins with the receipt of its last slice, so that "
    "assembling and delivering are to fit into it too.",
]


def run(scenario: PipelineScenario, record: Record) -> None:
    """Load both sides, warm up, then the rounds."""
    record.notes.extend(NOTES)
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        config = _chosen(read_site(scenario.config, record), scenario)
        config = dataclasses.replace(config, engines=on(config.engines, scenario.device))
        for engine in record.inputs["engines"].values():
            engine["device"] = _device(config).value
        sides = _sides(config, scenario, work, record, stack)
        bench = _Bench(scenario, record, sides, _budget(scenario, config, record), _device(config))
        for number in range(1, scenario.rounds + 1):
            bench.round(number)
            print(f"round {number} of {scenario.rounds} done", flush=True)


def _chosen(config: Config, scenario: PipelineScenario) -> Config:
    """The configuration with the scenario's pipeline as its first."""
    name = scenario.pipeline or config.pipelines[0].name
    ordered = sorted(config.pipelines, key=lambda pipeline: pipeline.name != name)
    if ordered[0].name != name:
        known = ", ".join(pipeline.name for pipeline in config.pipelines)
        raise BenchFailed(f"{scenario.config} has no pipeline {name}; it has: {known}")
    return dataclasses.replace(config, pipelines=tuple(ordered))


def _device(config: Config) -> Accelerator:
    return Accelerator.CPU if choose(config.engines).device == "cpu" else Accelerator.GPU


def _sides(config: Config, scenario: PipelineScenario, work: Path, record: Record, stack: ExitStack) -> dict[str, Side]:
    times = StageTimes()
    composed = compose_pipeline(config.pipelines[0], config.engines, times)
    stack.callback(composed.close)
    images = images_named(scenario.input, scenario.distinct, composed, config, work)
    sides = {EDGE: Side(composed, images, times)}
    if BARE in scenario.peers and _device(config) is Accelerator.GPU:
        record.problem("peer bare was not measured: it runs on the processor, the pipeline does not")
    elif BARE in scenario.peers:
        sides[BARE] = Side(bare_pipeline(config), images, StageTimes())
        stack.callback(sides[BARE].close)
    answers = {name: side.warm() for name, side in sides.items()}
    for name, said in answers.items():
        if said != answers[EDGE]:
            raise BenchFailed(f"{name} says {said} of the images, edge says {answers[EDGE]}")
    record.checks["images with the same answers on all sides"] = len(images)
    return sides


def _budget(scenario: PipelineScenario, config: Config, record: Record) -> tuple[float | None, str]:
    """The pipeline's deadline, None where the YAML does not have the key; and where it stands."""
    name = config.pipelines[0].name
    of = f"pipelines.{name}.deadline_seconds"
    document = yaml.safe_load(Path(scenario.config).read_text())
    written = next(one for one in document["pipelines"] if one["name"] == name)
    if "deadline_seconds" in written:
        return config.pipelines[0].deadline_seconds, of
    record.problem(f"no deadline was checked: {scenario.config} has no {of}; set it")
    return None, of


class _Bench:
    """The rounds."""

    def __init__(
        self, scenario: PipelineScenario, record: Record, sides: Mapping[str, Side], budget: tuple[float | None, str],
        device: Accelerator,
    ) -> None:  # fmt: skip
        self._scenario, self._record, self._sides = scenario, record, sides
        self._budget, self._device = budget, device
        warm = {name: [side.analyse(n).seconds for n in range(_WARM_UP)] for name, side in sides.items()}
        self._capacity = 1 / median(warm[EDGE])
        self._analysed: list[Analysed] = []
        record.details["capacity before the first round, images a second"] = self._capacity

    def round(self, number: int) -> None:
        """Single-stream, then the loads of the scenario."""
        found = self._single_stream(number)
        for name, analysed in found.items():
            seconds = [one.seconds for one in analysed]
            self._record.add_latencies(f"single-stream/{name}", Mode.SINGLE_STREAM, seconds, device=self._device,
                                       warm_up=0 if number > 1 else _WARM_UP)  # fmt: skip
            self._figure(f"latency p50/{name}", median(seconds))
        self._ratio("latency p50")
        self._stages(found[EDGE])
        self._deadline("single-stream/edge", [one.seconds for one in found[EDGE]], 0)
        for mode in map(Mode, self._scenario.loads):
            for name in self._order(number):
                self._load(mode, name)
            self._ratio("offline throughput" if mode is Mode.OFFLINE else f"{mode.value} p50")

    def _order(self, number: int) -> list[str]:
        """The sides, in the other order every second time."""
        return list(self._sides) if number % 2 else list(self._sides)[::-1]

    def _single_stream(self, number: int) -> dict[str, list[Analysed]]:
        found: dict[str, list[Analysed]] = {name: [] for name in self._sides}
        for image in range(self._scenario.images):
            for name in self._order(number + image):
                found[name].append(self._sides[name].analyse(image))
            if sum(one.seconds for one in found[EDGE]) >= self._scenario.seconds:
                break
        return found

    def _stages(self, analysed: Sequence[Analysed]) -> None:
        """Times of the stages of the runtime's side, image by image; the time line of the median image so far."""
        record = self._record
        names = list(analysed[0].stages)
        record.add_stages("single-stream/edge", {s: [one.stages[s] for one in analysed] for s in names})
        record.add_stages("single-stream/edge, networks", {s: [one.engines[s] for one in analysed] for s in names})
        counts: dict[str, int] = record.checks.setdefault("images in which a stage ran", dict.fromkeys(names, 0))
        for stage in names:
            ran = [one for one in analysed if stage in one.ran]
            counts[stage] += len(ran)
            if ran:
                self._figure(f"stage {stage} p50", median([one.stages[stage] for one in ran]))
                self._figure(f"stage {stage}, network p50", median([one.engines[stage] for one in ran]))
        self._analysed.extend(analysed)
        middle = sorted(self._analysed, key=lambda one: one.seconds)[len(self._analysed) // 2]
        record.timelines.clear()
        record.add_timeline(f"the median image: {1000 * middle.seconds:.3g} ms", middle.spans)

    def _load(self, mode: Mode, name: str) -> None:
        loaded = self._loaded(mode, self._sides[name])
        self._record.add_loaded(f"{mode.value}/{name}", loaded, device=self._device)
        if mode is Mode.OFFLINE:
            self._record.add(f"offline throughput/{name}", loaded.throughput, "images/s", higher_is_better=True,
                             device=self._device)  # fmt: skip
            return
        if loaded.latencies:
            self._figure(f"{mode.value} p50/{name}", median(loaded.latencies), loaded.load.rate)
        if name == EDGE:
            self._deadline(f"{mode.value}/edge", loaded.latencies, loaded.unanswered)

    def _loaded(self, mode: Mode, side: Side) -> Loaded:
        def analyse(numbers: tuple[int, ...]) -> None:
            for number in numbers:
                side.analyse(number)

        seconds = self._scenario.load_seconds
        if mode is Mode.OFFLINE:
            images = max(_LEAST_OFFLINE, round(seconds * self._capacity))
            return run_load(Load(mode, samples_per_query=images), Called(analyse))
        with Called(analyse, workers=1) as system:
            return run_load(Load(mode, seconds=seconds, rate=self._scenario.rate_share * self._capacity), system)

    def _figure(self, name: str, seconds: float, rate: float | None = None) -> None:
        self._record.add(name, 1000 * seconds, "ms", higher_is_better=False, device=self._device, rate=rate)

    def _ratio(self, what: str) -> None:
        of = f"{what}/{EDGE}", f"{what}/{BARE}"
        if all(one in self._record.figures for one in of):
            better = self._record.figures[of[0]].higher_is_better
            self._record.add_ratio(f"{what}, edge : bare", of, higher_is_better=better)

    def _deadline(self, name: str, seconds: Sequence[float], unanswered: int) -> None:
        budget, of = self._budget
        late = 0 if budget is None else sum(one > budget for one in seconds) + unanswered
        self._record.add_deadline(name, budget, len(seconds) + unanswered, late, of)
