"""The two sides of a frame on a GPU: the runtime's pipeline and the bare engines, each with CUDA graphs and without."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.live.answer import all_ran, answers_of
from benchmarks.live.bare import bare_pipeline
from benchmarks.record import BenchFailed
from benchmarks.scenarios.gpu_frame_bare import BareEngines, FrameTimes
from edge_runtime.backends.registry import load_backend
from edge_runtime.compose import Claimed, compose_claimed, compose_pipeline
from edge_runtime.config import Config
from edge_runtime.device.base import Device, Priority
from edge_runtime.domain import Analysis, Frames, SourceImage
from edge_runtime.engines.required import verify_engines
from edge_runtime.schedule.arbiter import Arbiter
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.telemetry.metrics import NullMetrics

GRAPHS, PLAIN = "graphs", "plain"
_LATE_SECONDS = 3600.0
_BLOCK = 50  # frames


class Told(NullMetrics):
    """The pipeline's metrics: who prepared and read the frames, and what became of its graphs."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Keep what is said of frames and graphs."""
        what = {"edge_stage_runs_total": "way", "edge_graphs_total": "outcome"}.get(name)
        if what is not None:
            key = f"{name} {labels[what]}"
            self.counts[key] = self.counts.get(key, 0) + int(amount)


class Sides:
    """Both sides, loaded, in every mode that there is; a context manager.

    Raises:
        EngineError, BackendUnavailable: the engines cannot be used on the device.
        BenchFailed: no frame is one on which every stage runs.
    """

    modes = (GRAPHS, PLAIN)

    def __init__(self, config: Config, frames: Path, lanes: int) -> None:
        self._config = config
        self._lanes = lanes
        self._stack = ExitStack()
        self.told = Told()
        self.fallbacks: dict[str, str] = {}
        with self._stack as stack:
            self._pictures = np.load(frames)
            self._edge = {mode: self._composed(mode, stack) for mode in self.modes}
            self._device = _device_of(self._edge[PLAIN])
            self.facts: dict[str, Any] = dataclasses.asdict(self._device.facts)
            self._images, self.sequence = self._chosen()
            self._bare = self._bare_engines(stack)
            self._claimed = {mode: self._composed_lanes(mode, stack) for mode in self.modes}
            self._stack = stack.pop_all()

    def __enter__(self) -> Sides:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def check(self) -> int:
        """Compare what the device says of each frame, in each mode, with what the processor says; how many frames.

        Raises:
            BenchFailed: they differ.
        """
        on_cpu = dataclasses.replace(self._config.engines, device="cpu", backend="onnxruntime")
        wanted = bare_pipeline(dataclasses.replace(self._config, engines=on_cpu))
        try:
            for number, image in enumerate(self._images):
                expected = answers_of(wanted.run(image))
                for mode in self.modes:
                    found = answers_of(self._edge[mode].run(image))
                    if found != expected:
                        raise BenchFailed(f"frame {number}, {mode}: the GPU says {found}, the CPU {expected}")
        finally:
            wanted.close()
        return len(self._images)

    def allocations(self, mode: str) -> int:
        """Of memory of the device, since the pipeline was loaded."""
        return _device_of(self._edge[mode]).allocations

    def edge(self, mode: str, count: int, seconds: float = _LATE_SECONDS) -> FrameTimes:
        """So many frames through the pipeline, one after the other, or as many as fit into the seconds."""
        pipeline, images, times = self._edge[mode], self._images, FrameTimes()
        for number in range(count):
            busy, began = time.thread_time(), time.perf_counter()
            pipeline.run(images[number % len(images)])
            times.wall.append(time.perf_counter() - began)
            times.host.append(time.thread_time() - busy)
            seconds -= times.wall[-1]
            if seconds < 0:
                break
        return times

    def bare(self, mode: str, count: int, seconds: float = _LATE_SECONDS) -> FrameTimes:
        """So many frames of the bare engines, or as many as fit into the seconds."""
        times = FrameTimes()
        while len(times.wall) < count and sum(times.wall) < seconds:
            block = self._bare.run(min(_BLOCK, count - len(times.wall)), graph=self._graph(mode))
            for name in ("wall", "device", "host"):
                getattr(times, name).extend(getattr(block, name))
        return times

    def edge_overlapped(self, mode: str, seconds: float) -> float:
        """Frames a second with as many under way as there are lanes."""
        ends_at = time.perf_counter() + seconds

        def work(lane: Claimed) -> int:
            count = 0
            while time.perf_counter() < ends_at:
                with lane.claim.frame(time.monotonic() + _LATE_SECONDS):
                    lane.pipeline.run(self._images[count % len(self._images)])
                count += 1
            return count

        began = time.perf_counter()
        with ThreadPoolExecutor(self._lanes) as threads:
            counts = list(threads.map(work, self._claimed[mode]))
        return sum(counts) / (time.perf_counter() - began)

    def bare_overlapped(self, mode: str, seconds: float) -> float:
        """Frames a second of the bare engines, two under way."""
        return self._bare.saturate(seconds, graph=self._graph(mode))

    def _graph(self, mode: str) -> bool:
        return mode == GRAPHS and not self._bare.not_captured

    def _with(self, mode: str) -> Config:
        cuda = dataclasses.replace(self._config.engines.cuda, graphs=mode == GRAPHS)
        return dataclasses.replace(self._config, engines=dataclasses.replace(self._config.engines, cuda=cuda))

    def _composed(self, mode: str, stack: ExitStack) -> Pipeline:
        config = self._with(mode)
        pipeline = compose_pipeline(config.pipelines[0], config.engines, self.told)
        stack.callback(pipeline.close)
        pipeline.warm()
        return pipeline

    def _composed_lanes(self, mode: str, stack: ExitStack) -> tuple[Claimed, ...]:
        config, arbiter = self._with(mode), Arbiter(self._lanes, NullMetrics())
        stack.callback(arbiter.close)
        lanes = compose_claimed(
            config.pipelines[0], config.engines, self.told, arbiter, self._lanes, priority=Priority.HIGH
        )
        for lane in lanes[::-1]:
            stack.callback(lane.pipeline.close)
        for lane in lanes:
            for image in self._images * 2:  # every graph is recorded before anything counts
                lane.pipeline.run(image)
        return lanes

    def _chosen(self) -> tuple[list[Frames], list[str]]:
        """The frames on which every stage runs as often as in the first of them, in pinned memory; and the runs."""
        images = [_pinned(pixels, self._device) for pixels in self._pictures]
        analyses = [self._edge[PLAIN].run(image) for image in images]
        sequences = [_sequence(one) if all_ran(answers_of(one)) else [] for one in analyses]
        first = next(filter(None, sequences), None)
        if first is None:
            raise BenchFailed(f"all stages run on none of {len(images)} frames: {answers_of(analyses[0])}")
        chosen = [image for image, sequence in zip(images, sequences, strict=True) if sequence == first]
        return chosen, first

    def _bare_engines(self, stack: ExitStack) -> BareEngines:
        engines = verify_engines(self._config.pipelines[0], self._config.engines)
        backend = load_backend(self._config.engines, self._device)
        bare = BareEngines(engines, self.sequence, backend, self._device)
        stack.callback(bare.close)
        if why := bare.capture():
            self.fallbacks[GRAPHS] = f"no graphs of the bare engines: {why}"
        return bare


def _sequence(analysis: Analysis) -> list[str]:
    """The stages in the order of their runs, one within regions once for each."""
    return [record.stage for record in analysis.stages for _ in range(max(1, record.regions))]


def _pinned(pixels: Any, device: Device) -> Frames:
    memory = device.staging((1, *pixels.shape), pixels.dtype.name)
    memory[0] = pixels
    return Frames(memory, "ES", (SourceImage("live", "live"),))


def _device_of(pipeline: Pipeline) -> Device:
    runner: Any = pipeline.stages[0].runner
    device: Device = runner.device
    return device
