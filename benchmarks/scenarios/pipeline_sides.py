"""The two sides of a pipeline's measurement, and what one image took in each stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.live.answer import Answers, answers_of
from benchmarks.measured import Span
from benchmarks.record import BenchFailed
from edge_runtime.domain import Image, StageOutcome, StageRecord
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.telemetry.metrics import NullMetrics

LANE = "stages"


class StageTimes(NullMetrics):
    """The pipeline's metrics: of each stage of the last image the network's seconds, and when it ended."""

    def __init__(self) -> None:
        self.engines: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Keep what is said of the networks."""
        if name == "edge_engine_seconds":
            self.engines[labels["stage"]] = value
            self.ended[labels["stage"]] = time.perf_counter()

    def clear(self) -> None:
        """Forget the last image."""
        self.engines, self.ended = {}, {}


@dataclass(frozen=True)
class Analysed:
    """One image: seconds of all, of each stage and of its network; 0 where a stage was not needed. Its time line."""

    seconds: float
    stages: dict[str, float]
    engines: dict[str, float]
    ran: tuple[str, ...]
    spans: tuple[Span, ...]


class Side:
    """A loaded pipeline; used by one thread at a time."""

    def __init__(self, pipeline: Pipeline, images: Sequence[Image], times: StageTimes) -> None:
        self._pipeline, self._images, self._times = pipeline, images, times

    def warm(self) -> list[Answers]:
        """Analyse every image once; what is said of each.

        Raises:
            EngineError: an engine does not answer its golden input as it was built to.
            BenchFailed: a stage fails.
        """
        self._pipeline.warm()
        analyses = [self._pipeline.run(image) for image in self._images]
        for analysis in analyses:
            _check(analysis.stages)
        return [answers_of(analysis) for analysis in analyses]

    def analyse(self, number: int) -> Analysed:
        """Analyse the image of a number; they come round. Raises BenchFailed where a stage fails."""
        image = self._images[number % len(self._images)]
        self._times.clear()
        began = time.perf_counter()
        records = self._pipeline.run(image).stages
        seconds = time.perf_counter() - began
        _check(records)
        return Analysed(
            seconds,
            {one.stage: one.seconds for one in records},
            {one.stage: self._times.engines.get(one.stage, 0.0) for one in records},
            tuple(one.stage for one in records if one.outcome is StageOutcome.RAN),
            _spans(records, {stage: moment - began for stage, moment in self._times.ended.items()}),
        )

    def close(self) -> None:
        """Free the engines."""
        self._pipeline.close()


def _check(records: Sequence[StageRecord]) -> None:
    for one in records:
        if one.outcome not in (StageOutcome.RAN, StageOutcome.NOT_NEEDED):
            raise BenchFailed(f"stage {one.stage} {one.outcome.value}: {one.reason}; give another input")


def _spans(records: Sequence[StageRecord], ended: dict[str, float]) -> tuple[Span, ...]:
    """Each stage that ran, from its begin to its end in seconds from the image's arrival on."""
    spans: list[Span] = []
    for one in records:
        if one.stage in ended:
            before = spans[-1].end_seconds if spans else 0.0
            spans.append(Span(LANE, one.stage, max(before, ended[one.stage] - one.seconds), ended[one.stage]))
    return tuple(spans)
