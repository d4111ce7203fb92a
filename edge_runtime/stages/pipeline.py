"""A pipeline: its stages one after the other, and what they add up to."""

from __future__ import annotations

import json
import logging
import time
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
from edge_runtime.errors import EngineError, EngineRejected, FrameDropped, InferenceFailed
from edge_runtime.schedule.decision import Choice, Decision, decide, reserve_for
from edge_runtime.schedule.estimates import Estimate, Estimates, study_estimates
from edge_runtime.stages.stage import Seen, Stage, Trace, run_stage
from edge_runtime.telemetry.metrics import Metrics

__all__ = ["Pipeline", "Trace"]

log = logging.getLogger("edge_runtime.stages")

_WHOLE = (StageOutcome.RAN, StageOutcome.NOT_NEEDED)
_UNBOUND = Decision(Choice.RUN, 0, "no_deadline", 0.0, None, probe=False)
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
        estimates: Estimates | None = None,
    ) -> None:
        """`configuration` is canonical JSON of the stages; `close` frees what the runners share; `clock` is seconds.

        `estimates` of what stages need: of studies where none are given; shared by pipelines that run side by side.
        """
        self.name = name
        self.stages = tuple(stages)
        self.stages_json = configuration
        self._metrics = metrics
        self._close = close
        self._clock = clock
        self.estimates = estimates or study_estimates(clock)
        for stage in stages:
            for number, variant in enumerate(stage.variants):
                self.estimates.expect(stage.name, number, variant.expected_seconds)

    @property
    def input_kind(self) -> Literal["volume", "frames"]:
        """What images are to be assembled into: a volume if any engine takes one."""
        return "volume" if any(stage.card.input.kind == "volume" for stage in self.stages) else "frames"

    @property
    def engines(self) -> tuple[EngineIdentity, ...]:
        """The engines in the order of the stages."""
        return tuple(variant.identity for stage in self.stages for variant in stage.variants)

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
        for variant in (variant for stage in self.stages for variant in stage.variants):
            _warm(variant)
            event = {"pipeline": self.name, "engine": variant.identity.name, "seconds": variant.runner.engine_seconds}
            log.info("engine answers its golden input as built", extra={"event": event})

    def run(
        self, image: Image, seconds_left: float | None = None, trace: Trace | None = None, *, droppable: bool = False
    ) -> Analysis:
        """Analyse one image.

        With `seconds_left` until its deadline, a cheaper variant of a stage may run, an optional one be skipped, and
        a `droppable` image given up; with None every stage runs as configured.
        `trace` is called with a name and every tensor. A stage that fails makes what depends on it not evaluated.

        Raises:
            FrameDropped: a stage that must run would not make the deadline.
            EngineError: the device or an engine is lost; no other image will fare better.
        """
        state, began, seen = _State(), self._clock(), Seen(image, self.stages)
        for index, stage in enumerate(self.stages):
            gate = _gate(stage, state)
            if gate is None:
                left = None if seconds_left is None else seconds_left - (self._clock() - began)
                decision = self._decide(index, state, left, droppable)
                if decision.choice is Choice.DROP:
                    raise FrameDropped(f"stage {stage.name}: {decision.text()}", tuple(state.records.values()))
                if decision.choice is Choice.SKIP:
                    gate = StageOutcome.SKIPPED, decision.text()
                else:
                    self._run(stage, decision, seen, state, trace)
            if gate is not None:
                state.records[stage.name] = StageRecord(stage.name, stage.identity, *gate)
                event = {"pipeline": self.name, "stage": stage.name, "outcome": gate[0].value, "reason": gate[1]}
                log.log(logging.DEBUG if droppable else logging.INFO, "stage left out", extra={"event": event})
            if state.records[stage.name].outcome not in _WHOLE:
                state.findings.extend(_unanswered(stage))
        return Analysis(tuple(state.records.values()), tuple(state.findings), tuple(state.masks))

    def close(self) -> None:
        """Free the engines and their device; a second call does nothing."""
        for stage in self.stages:
            for variant in stage.variants:
                variant.runner.close()
        self._close()

    def _decide(self, index: int, state: _State, left: float | None, droppable: bool) -> Decision:
        if left is None:
            return _UNBOUND
        stage = self.stages[index]
        options = [self._estimate(stage, number, state) for number in range(len(stage.variants))]
        later = [
            [self._estimate(each, number, state) for number in range(len(each.variants))]
            for each in self.stages[index + 1 :]
            if not each.optional and each.when is None and (each.within is None or each.within in state.regions)
        ]
        reserve = reserve_for(later, left - options[0].seconds)
        decision = decide(
            options, left_seconds=left, reserve_seconds=reserve, optional=stage.optional, droppable=droppable
        )
        if decision.probe:
            self.estimates.tried(stage.name, decision.variant, _region_count(stage, state))
        self._metrics.count(
            "edge_schedule_decisions_total", 1, pipeline=self.name, stage=stage.name,
            decision=decision.choice.value, reason=decision.reason,
        )  # fmt: skip
        return decision

    def _estimate(self, stage: Stage, variant: int, state: _State) -> Estimate:
        return self.estimates.of(stage.name, variant, _region_count(stage, state))

    def _run(self, stage: Stage, decision: Decision, image: Seen, state: _State, trace: Trace | None) -> None:
        regions: tuple[Region | None, ...] = (None,) if stage.within is None else state.regions[stage.within]
        variant = stage.variants[decision.variant]
        began, waited = self._clock(), 0.0
        outcome, reason = StageOutcome.RAN, "" if decision.choice is Choice.RUN else decision.text()
        labels = {"pipeline": self.name, "stage": stage.name}
        try:
            result = run_stage(variant, image, regions, len(state.masks) + 1, trace)
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
            waited = result.waited_seconds
            self._metrics.observe("edge_engine_seconds", result.engine_seconds, **labels)
        seconds = self._clock() - began
        expected = decision.expected_seconds if decision is not _UNBOUND else None
        if outcome is StageOutcome.RAN:
            ratio = self.estimates.observe(stage.name, decision.variant, len(regions), seconds - waited)
            if ratio is not None and expected is not None:
                self._metrics.observe("edge_schedule_estimate_error_ratio", ratio, **labels)
        count = 0 if stage.within is None else len(regions)
        state.records[stage.name] = StageRecord(
            stage.name, variant.identity, outcome, reason, seconds, count, waited, expected
        )


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


def _region_count(stage: Stage, state: _State) -> int:
    """How many regions the stage is to run in."""
    return 1 if stage.within is None else max(1, len(state.regions.get(stage.within, ())))


def canonical_json(document: object) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
