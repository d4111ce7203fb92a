"""Frames of several sources into one infer, at the same rate in all: processor time and latency of a frame."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.live.infer import LiveInfer
from benchmarks.live.site import PIPELINE, SOURCE
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.scaling_curves import add_cost, processor_seconds
from benchmarks.scenarios.scaling_schema import STREAMS, Scaling
from benchmarks.scenarios.scaling_sites import build_frame_engine, write_site
from benchmarks.statistics import median
from edge_runtime.domain import Array
from edge_runtime.frames.frame_result import decode
from edge_runtime.frames.slot import SlotWriter

ROWS, COLUMNS = 180, 320
_ENGINE = "bright"
_DEADLINE_SECONDS = 1.0  # so long that no frame is given up
_WARM_SECONDS = 1.0
_MESSAGE_BYTES = 4_000_000
_MOST_MISSING = 0.02
"""Share of the frames without a result, above which a point says something else than it seems to."""


@dataclass(frozen=True)
class Streamed:
    """What became of the frames of all streams. cpu_seconds: of infer; latencies: of those that had a result."""

    frames: int
    latencies: tuple[float, ...]
    cpu_seconds: float


class StreamsPart:
    """One infer a number of streams, started anew in every round."""

    def __init__(self, scenario: Scaling, record: Record, work: Path) -> None:
        self._scenario, self._record, self._work = scenario, record, work
        build_frame_engine(work / "engines", _ENGINE)
        self._configs = {
            size: write_site(
                work / f"streams-{size}.yaml",
                work / "engines",
                [{"name": PIPELINE, "deadline_seconds": _DEADLINE_SECONDS,
                  "stages": [{"name": _ENGINE, "engine": _ENGINE}]}],
                record,
                video=[_source(number) for number in range(size)],
            )
            for size in scenario.streams
        }  # fmt: skip

    def round(self, sizes: Sequence[int]) -> None:
        """Every number of streams. Raises BenchFailed where infer ends, or has too few results."""
        rate, seconds = self._scenario.frames_per_second, self._scenario.stream_seconds
        picture = np.full((ROWS, COLUMNS, 3), 200, np.uint8)
        for size in sizes:
            infer = InferOfStreams(self._configs[size], self._work / "infer.log")
            with infer:
                infer.stream(picture, rate, max(size, round(rate * min(seconds, _WARM_SECONDS))))
                done = infer.stream(picture, rate, max(size, round(rate * seconds)))
            add_streamed(self._record, size, done)


def add_streamed(record: Record, size: int, done: Streamed) -> None:
    """Add what became of the frames of `size` streams. Raises BenchFailed where no frame had a result."""
    results = len(done.latencies)
    if not results:
        raise BenchFailed(f"infer gave no result of {done.frames} frames of {size} streams")
    if results < (1 - _MOST_MISSING) * done.frames:
        record.problem(
            f"{STREAMS}: of {done.frames} frames of {size} streams only {results} had a result: the machine does not "
            "hold this rate; lower frames_per_second"
        )
    add_cost(record, "streams/processor", STREAMS, size, 1000 * done.cpu_seconds, results, "ms/frame")
    add_cost(record, "streams/latency", STREAMS, size, 1000 * median(done.latencies), 1, "ms")


def _source(number: int) -> dict[str, object]:
    name = SOURCE if number == 0 else f"{SOURCE}-{number + 1}"
    return {"name": name, "pipeline": PIPELINE, "url": "camera", "maximum_pixels": ROWS * COLUMNS}


class InferOfStreams(LiveInfer):
    """`LiveInfer` with a writer for every source of its configuration."""

    def stream(self, picture: Array, rate: float, count: int) -> Streamed:
        """Publish a picture `count` times, `rate` a second in all, to each source in turn. uint8 (rows, columns, 3).

        Open loop: a frame's latency counts from its moment on.

        Raises:
            BenchFailed: the process has ended.
        """
        others = {name: SlotWriter(each.frames) for name, each in self._channels.sources.items() if name != SOURCE}
        writers = [(SOURCE, self._writer), *others.items()]
        heard: list[tuple[float, bytes]] = []
        due_of: dict[tuple[str, int], float] = {}
        before, began = processor_seconds(self.pid), time.monotonic()
        try:
            for number in range(count):
                due = began + number / rate
                self._hear_until(due, heard)
                name, writer = writers[number % len(writers)]
                header = writer.publish(picture, due, time.time())
                if header is not None:
                    due_of[name, header.sequence] = due
            give_up_at = time.monotonic() + _DEADLINE_SECONDS
            while len(heard) < count and time.monotonic() < give_up_at:
                self._hear_until(time.monotonic() + 1 / rate, heard)
            took = processor_seconds(self.pid) - before
        finally:
            for other in others.values():
                other.close()
        told = [(at, decode(data)) for at, data in heard]
        latencies = [at - due_of[r.source, r.sequence] for at, r in told if (r.source, r.sequence) in due_of]
        return Streamed(count, tuple(latencies), took)

    def _hear_until(self, moment: float, heard: list[tuple[float, bytes]]) -> None:
        while (left := moment - time.monotonic()) > 0:
            ready, _, _ = select.select([self._results, self._end], [], [], left)
            if self._results in ready:
                heard.append((time.monotonic(), self._results.recv(_MESSAGE_BYTES)))
            if self._end in ready:
                self._receive()
