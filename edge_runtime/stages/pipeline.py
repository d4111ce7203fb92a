"""A pipeline: its stages one after the other, and what they add up to."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edge_runtime.domain import (
    Analysis,
    Answer,
    EngineIdentity,
    Finding,
    Image,
    Mask,
    StageOutcome,
    StageRecord,
)
from edge_runtime.engines.golden import golden_difference, golden_image
from edge_runtime.engines.views import Region
from edge_runtime.errors import EngineError, EngineRejected, InferenceFailed
from edge_runtime.stages.stage import Seen, Stage, Trace, run_stage
from edge_runtime.telemetry.metrics import Metrics

__all__ = ["Pipeline", "Trace"]

log = logging.getLogger("edge_runtime.stages")

_WHOLE = (StageOutcome.RAN, StageOutcome.NOT_NEEDED)
_REMEMBERED_RUNS = 100
_HIGH_QUANTILE = 0.95
_REBUILD = "build it again on this machine with edge-convert build"


@dataclass
class _State:
    """What the stages of one run have said so far."""

    records: dict[str, StageRecord] = field(default_factory=dict)
    regions: dict[str, tuple[Region, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)

    def answer(self, stage: str, label: str) -> Answer:
        """Positive if any finding of the label is; negative if all are; else not evaluated."""
        answers = {f.answer for f in self.findings if f.stage == stage and f.label == label}
        if Answer.POSITIVE in answers:
            return Answer.POSITIVE
        return Answer.NEGATIVE if answers == {Answer.NEGATIVE} else Answer.NOT_EVALUATED


class Pipeline:
    """Stages with their engines loaded. One run at a time."""

    def __init__(
        self,
        name: str,
        stages: Sequence[Stage],
        configuration: str,
        metrics: Metrics,
        close: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`configuration` is canonical JSON of the stages; `close` frees what the runners share; `clock` is seconds."""
        self.name = name
        self.stages = tuple(stages)
        self.stages_json = configuration
        self._metrics = metrics
        self._close = close
        self._clock = clock
        self._recent: dict[str, deque[float]] = {stage.name: deque(maxlen=_REMEMBERED_RUNS) for stage in stages}

    @property
    def input_kind(self) -> Literal["volume", "frames"]:
        """What images are to be assembled into: a volume if any engine takes one."""
        return "volume" if any(stage.card.input.kind == "volume" for stage in self.stages) else "frames"

    @property
    def engines(self) -> tuple[EngineIdentity, ...]:
        """The engines in the order of the stages."""
        return tuple(stage.identity for stage in self.stages)

    @property
    def notes(self) -> tuple[str, ...]:
        """What every result of this pipeline must say: thresholds that are not the validated ones."""
        return tuple(
            f"stage {stage.name}: the configuration sets the threshold {stage.threshold:g}; "
            f"the validated threshold of {label.name} is {label.threshold:g}"
            for stage in self.stages
            for label in stage.card.labels
            if stage.threshold is not None and stage.threshold != label.threshold
        )

    def warm(self) -> None:
        """Run the golden input of every engine and compare what comes out.

        Raises:
            EngineRejected: it differs by more than the tolerance, or the run failed.
        """
        for stage in self.stages:
            _warm(stage)
            event = {"pipeline": self.name, "engine": stage.identity.name, "seconds": stage.runner.engine_seconds}
            log.info("engine answers its golden input as built", extra={"event": event})

    def run(self, image: Image, seconds_left: float | None = None, trace: Trace | None = None) -> Analysis:
        """Analyse one image. `seconds_left` until the deadline lets optional stages be skipped; None skips nothing.

        `trace` is called with a name and every tensor. A stage that fails makes what depends on it not evaluated.

        Raises:
            EngineError: the device or an engine is lost; no other image will fare better.
        """
        state, began, seen = _State(), self._clock(), Seen(image, self.stages)
        for stage in self.stages:
            left = None if seconds_left is None else seconds_left - (self._clock() - began)
            gate = _gate(stage, state) or self._skip(stage, left)
            if gate is None:
                self._run(stage, seen, state, trace)
            else:
                state.records[stage.name] = StageRecord(stage.name, stage.identity, *gate)
                event = {"pipeline": self.name, "stage": stage.name, "outcome": gate[0].value, "reason": gate[1]}
                log.info("stage left out", extra={"event": event})
            if state.records[stage.name].outcome not in _WHOLE:
                state.findings.extend(_unanswered(stage))
        return Analysis(tuple(state.records.values()), tuple(state.findings), tuple(state.masks))

    def close(self) -> None:
        """Free the engines and their device; a second call does nothing."""
        for stage in self.stages:
            stage.runner.close()
        self._close()

    def _skip(self, stage: Stage, left: float | None) -> tuple[StageOutcome, str] | None:
        if not stage.optional or left is None:
            return None
        needed = _high_quantile(self._recent[stage.name]) or stage.expected_seconds
        if needed <= left:
            return None
        return StageOutcome.SKIPPED, f"it needs about {needed:.3g} s, the deadline leaves {max(0.0, left):.3g} s"

    def _run(self, stage: Stage, image: Seen, state: _State, trace: Trace | None) -> None:
        regions: tuple[Region | None, ...] = (None,) if stage.within is None else state.regions[stage.within]
        began = self._clock()
        outcome, reason = StageOutcome.RAN, ""
        try:
            result = run_stage(stage, image, regions, len(state.masks) + 1, trace)
        except EngineError:
            raise
        except Exception as error:
            outcome = StageOutcome.FAILED
            reason = str(error) if isinstance(error, InferenceFailed) else f"unexpected {type(error).__name__}"
            event = {"pipeline": self.name, "stage": stage.name, "reason": reason}
            log.exception("stage failed", extra={"event": event})
        else:
            state.findings.extend(result.findings)
            state.masks.extend(result.masks)
            state.regions[stage.name] = result.regions
            self._metrics.observe("edge_engine_seconds", result.engine_seconds, pipeline=self.name, stage=stage.name)
        seconds = self._clock() - began
        if outcome is StageOutcome.RAN:
            self._recent[stage.name].append(seconds)
        count = 0 if stage.within is None else len(regions)
        state.records[stage.name] = StageRecord(stage.name, stage.identity, outcome, reason, seconds, count)


def _warm(stage: Stage) -> None:
    name, tolerance = stage.identity.name, stage.card.tolerance
    prepared = next(iter(stage.prepare(golden_image(stage.golden.seed), None, 0.0))).inputs[0].array
    try:
        output = stage.runner.run(prepared)
    except InferenceFailed as error:
        raise EngineRejected(f"engine {name}: its golden input fails: {error}; {_REBUILD}") from error
    of_input, of_output = golden_difference(stage.golden, prepared, output)
    if not (of_input <= tolerance and of_output <= tolerance):
        raise EngineRejected(
            f"engine {name}: its golden output expects a difference up to {tolerance:g}, found {of_output:.3g} "
            f"(input: {of_input:.3g}); {_REBUILD}"
        )


def _gate(stage: Stage, state: _State) -> tuple[StageOutcome, str] | None:
    """Why the stage does not run, or None. One reason that makes it not needed outweighs an answer that is missing."""
    reasons = [_condition(stage, state), _regions(stage, state)]
    for outcome in (StageOutcome.NOT_NEEDED, StageOutcome.NOT_EVALUATED):
        found = next((r for r in reasons if r is not None and r[0] is outcome), None)
        if found is not None:
            return found
    return None


def _condition(stage: Stage, state: _State) -> tuple[StageOutcome, str] | None:
    if stage.when is None:
        return None
    if (left_out := _left_out(stage.when.stage, state)) is not None:
        return left_out
    answer = state.answer(stage.when.stage, stage.when.label)
    what = f"{stage.when.stage}.{stage.when.label} is {answer.value}"
    if answer is Answer.NOT_EVALUATED:
        return StageOutcome.NOT_EVALUATED, what
    return None if answer is stage.when.answer else (StageOutcome.NOT_NEEDED, what)


def _regions(stage: Stage, state: _State) -> tuple[StageOutcome, str] | None:
    if stage.within is None:
        return None
    if (left_out := _left_out(stage.within, state)) is not None:
        return left_out
    return None if state.regions[stage.within] else (StageOutcome.NOT_NEEDED, f"{stage.within} found no region")


def _left_out(needed: str, state: _State) -> tuple[StageOutcome, str] | None:
    outcome = state.records[needed].outcome
    if outcome is StageOutcome.RAN:
        return None
    follows = StageOutcome.NOT_NEEDED if outcome is StageOutcome.NOT_NEEDED else StageOutcome.NOT_EVALUATED
    return follows, f"{needed}: {outcome.value}"


def _unanswered(stage: Stage) -> list[Finding]:
    """What a stage without an answer says: that it has none, for each label."""
    return [
        Finding(stage.name, label.name, label.concept.code, Answer.NOT_EVALUATED, threshold=stage.threshold_of(label))
        for label in stage.card.labels
    ]


def _high_quantile(seconds: Sequence[float]) -> float:
    """The 95th percentile of what a stage took lately; 0 where it never ran."""
    if not seconds:
        return 0.0
    return sorted(seconds)[max(0, math.ceil(_HIGH_QUANTILE * len(seconds)) - 1)]


def canonical_json(document: object) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
