"""A pipeline: its stages one after the other, and what they add up to."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Literal

from edge_runtime.domain import Analysis, Array, EngineIdentity, Frames, Image, StageOutcome, StageRecord
from edge_runtime.engines.views import Region
from edge_runtime.errors import EngineError, FrameDropped, InferenceFailed, OutOfDeviceMemory
from edge_runtime.schedule.decision import Choice, Decision
from edge_runtime.schedule.estimates import Estimates, study_estimates
from edge_runtime.stages.decider import UNBOUND, Decider
from edge_runtime.stages.frame_path import FramePath
from edge_runtime.stages.golden_run import difference_on_device, run_golden
from edge_runtime.stages.on_device import Answered, Asked, OnDevice
from edge_runtime.stages.progress import Progress, gate_of, unanswered
from edge_runtime.stages.stage import (
    Seen,
    Stage,
    StageResult,
    Trace,
    conclude_answered,
    run_stage,
)
from edge_runtime.telemetry.metrics import Metrics

__all__ = ["Pipeline", "Trace"]

log = logging.getLogger("edge_runtime.stages")

_LARGEST = 1e9
"""Of a picture's values on the device: float32 overflows far beyond it, whatever a recipe makes of them."""

_WHOLE = (StageOutcome.RAN, StageOutcome.NOT_NEEDED)
Chosen = tuple[Stage, Decision]
"""A stage that is to run, and as which of its variants."""


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
        frame_path: FramePath | None = None,
    ) -> None:
        """`configuration` is canonical JSON of the stages; `close` frees what the runners share; `clock` is seconds.

        `estimates` of what stages need: of studies where none are given; shared by pipelines that run side by side.
        `frame_path` takes single pictures through the stages that can work on the device.
        """
        self.name = name
        self.stages = tuple(stages)
        self.stages_json = configuration
        self._metrics = metrics
        self._close = close
        self._clock = clock
        self._frame_path = frame_path
        self._left_to_host: set[str] = set()  # stages that differ on the device
        self.estimates = estimates or study_estimates(clock)
        self._decider = Decider(name, self.stages, self.estimates, metrics)
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
        for number, variant in ((n, variant) for stage in self.stages for n, variant in enumerate(stage.variants)):
            run_golden(variant)
            if not variant.expected_seconds:  # nobody measured it where it was built
                self.estimates.expect(variant.name, number, variant.runner.engine_seconds)
            event = {"pipeline": self.name, "engine": variant.identity.name, "seconds": variant.runner.engine_seconds}
            log.info("engine answers its golden input as built", extra={"event": event})
            difference = difference_on_device(variant, self._frame_path)
            if difference is None:
                continue
            event = {"pipeline": self.name, "stage": variant.name, "engine": variant.key, "difference": difference}
            if difference <= variant.card.tolerance:
                log.info("the device prepares the golden input as built", extra={"event": event})
            else:
                self._left_to_host.add(variant.key)
                log.error("the device prepares no golden input as built: the host does it", extra={"event": event})

    def _work_of(self, stage: Stage, decision: Decision) -> OnDevice | None:
        variant = stage.variants[decision.variant]
        return None if variant.key in self._left_to_host else variant.on_device

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
        state, began, seen = Progress(), self._clock(), Seen(image, self.stages)
        picture = self._picture(image) if trace is None else None
        for index, stage in enumerate(self.stages):
            if stage.name not in state.records:  # else it ran together with one before it
                left = None if seconds_left is None else seconds_left - (self._clock() - began)
                self._advance(index, seen, state, left, trace, droppable=droppable, picture=picture)
            if state.records[stage.name].outcome not in _WHOLE:
                state.findings.extend(unanswered(stage))
        return Analysis(tuple(state.records.values()), tuple(state.findings), tuple(state.masks))

    def _picture(self, image: Image) -> Array | None:
        """The image as a picture that can go its way on the device; None where it is none."""
        path = self._frame_path
        if path is None or not isinstance(image, Frames) or len(image.pixels) != 1:
            return None
        picture = image.pixels[0]
        if picture.dtype.kind == "f" and not max(float(picture.max()), -float(picture.min())) < _LARGEST:
            return None  # the host's recipe tells what is not finite, also what becomes so
        return picture if self._takes(picture) else None

    def _takes(self, picture: Array) -> bool:
        return self._frame_path is not None and self._frame_path.takes(picture)

    def _advance(
        self,
        index: int,
        seen: Seen,
        state: Progress,
        left: float | None,
        trace: Trace | None,
        *,
        droppable: bool,
        picture: Array | None,
    ) -> None:
        """Decide on a stage and run it, together with those that follow where the device takes them at once."""
        stage = self.stages[index]
        gate = gate_of(stage, state)
        if gate is None:
            decision = self._decider.decide(index, state, left, droppable)
            self._decider.commit(stage, decision, state)
            if decision.choice is Choice.DROP:
                raise FrameDropped(f"stage {stage.name}: {decision.text()}", tuple(state.records.values()))
            if decision.choice is not Choice.SKIP:
                if picture is not None and self._takes(picture) and self._work_of(stage, decision) is not None:
                    chosen = self._together(index, decision, state, left, droppable)
                    self._run_on_device(chosen, picture, seen, state)
                else:
                    self._run(stage, decision, seen, state, trace)
                return
            gate = StageOutcome.SKIPPED, decision.text()
        state.records[stage.name] = StageRecord(stage.name, stage.identity, *gate)
        event = {"pipeline": self.name, "stage": stage.name, "outcome": gate[0].value, "reason": gate[1]}
        log.log(logging.DEBUG if droppable else logging.INFO, "stage left out", extra={"event": event})

    def _together(
        self, index: int, decision: Decision, state: Progress, left: float | None, droppable: bool
    ) -> list[Chosen]:
        """The stage, and those after it whose turn it is whatever it says: the host has nothing to decide between."""
        chosen = [(self.stages[index], decision)]
        for number in range(index + 1, len(self.stages)):
            stage = self.stages[number]
            needed = {stage.within, None if stage.when is None else stage.when.stage} - {None}
            if not needed <= set(state.records) or gate_of(stage, state) is not None:
                break
            if left is not None:
                left -= chosen[-1][1].expected_seconds or 0.0
            following = self._decider.decide(number, state, left, droppable)
            runs = following.choice in (Choice.RUN, Choice.CHEAPER)
            if not runs or self._work_of(stage, following) is None:
                break
            self._decider.commit(stage, following, state)
            chosen.append((stage, following))
        return chosen

    def pin(self, picture: Array) -> None:
        """The memory of this picture stays where it is, and will hold others: they can be uploaded without a copy."""
        if self._frame_path is not None:
            self._frame_path.pin(picture)

    def close(self) -> None:
        """Free the engines and their device; a second call does nothing."""
        if self._frame_path is not None:
            self._frame_path.close()  # its graphs run the engines
        for stage in self.stages:
            for variant in stage.variants:
                variant.runner.close()
        self._close()

    def _run(self, stage: Stage, decision: Decision, seen: Seen, state: Progress, trace: Trace | None) -> None:
        """A stage whose outputs the host reads."""
        variant, began = stage.variants[decision.variant], self._clock()
        on_device = variant.prepare_on_device is not None and trace is None and variant.key not in self._left_to_host
        said: StageResult | Exception
        way = "device" if on_device else "host"
        try:
            said, way = self._said(variant, seen, state, trace, way)
        except EngineError:
            raise
        except Exception as error:
            log.exception("stage failed", extra={"event": {"pipeline": self.name, "stage": stage.name}})
            said = error
        self._note(stage, decision, state, said, self._clock() - began, way)

    def _said(
        self, stage: Stage, seen: Seen, state: Progress, trace: Trace | None, way: str
    ) -> tuple[StageResult, str]:
        """What a stage said, and which way it went in the end."""
        regions, first_mask = _regions_of(stage, state), len(state.masks) + 1
        try:
            return run_stage(stage, seen, regions, first_mask, trace, on_device=way == "device"), way
        except OutOfDeviceMemory as error:
            if way == "host":
                raise
            event = {"pipeline": self.name, "stage": stage.name, "reason": str(error)}
            log.warning("no device memory to prepare this image: the host does it", extra={"event": event})
            return run_stage(stage, seen, regions, first_mask, trace), "host"

    def _run_on_device(self, chosen: Sequence[Chosen], picture: Array, seen: Seen, state: Progress) -> None:
        """Stages that go their whole way on the device, with one wait for all of them."""
        path, began = self._frame_path, self._clock()
        assert path is not None
        asked = [
            [Asked(work, region, stage.margin) for region in _regions_of(stage, state)]
            for stage, decision in chosen
            if (work := self._work_of(stage, decision)) is not None
        ]
        fresh, seen.uploaded = not seen.uploaded, False  # after a failure nobody knows what came to the device
        try:
            answered = iter(path.run(picture, [one for each in asked for one in each], fresh=fresh))
            seen.uploaded = True
        except InferenceFailed as error:
            answered = iter([Answered(error)] * sum(map(len, asked)))
        except OutOfDeviceMemory as error:
            event = {"pipeline": self.name, "stages": [stage.name for stage, _ in chosen], "reason": str(error)}
            log.warning(
                "no device memory for pictures of this shape: the host prepares and reads", extra={"event": event}
            )
            for stage, decision in chosen:
                self._run(stage, decision, seen, state, None)
            return
        parts = [list(islice(answered, len(each))) for each in asked]
        waited = path.waited_seconds
        seconds = self._clock() - began - waited
        on_device = [sum(one.seconds for one in part) for part in parts]
        for (stage, decision), part, share in zip(chosen, parts, shares(on_device), strict=True):
            variant = stage.variants[decision.variant]
            said: StageResult | Exception
            try:
                said = conclude_answered(variant, seen.image, part, len(state.masks) + 1, waited * share)
            except Exception as error:
                log.exception("stage failed", extra={"event": {"pipeline": self.name, "stage": stage.name}})
                said = error
            self._note(stage, decision, state, said, (seconds + waited) * share, "device")

    def _note(
        self, stage: Stage, decision: Decision, state: Progress, said: StageResult | Exception, seconds: float, way: str
    ) -> None:
        """Write down what a stage said, and learn how long it took. `seconds` include the wait for its turn."""
        self._metrics.count("edge_stage_runs_total", pipeline=self.name, stage=stage.name, way=way)
        variant, waited, regions = stage.variants[decision.variant], 0.0, len(_regions_of(stage, state))
        outcome, reason = StageOutcome.RAN, "" if decision.choice is Choice.RUN else decision.text()
        expected = decision.expected_seconds if decision is not UNBOUND else None
        labels = {"pipeline": self.name, "stage": stage.name}
        if isinstance(said, Exception):
            outcome = StageOutcome.FAILED
            reason = str(said) if isinstance(said, InferenceFailed) else f"unexpected {type(said).__name__}"
        else:
            state.findings.extend(said.findings)
            state.masks.extend(said.masks)
            state.regions[stage.name] = said.regions
            waited = said.waited_seconds
            self._metrics.observe("edge_engine_seconds", said.engine_seconds, **labels)
            ratio = self.estimates.observe(stage.name, decision.variant, regions, seconds - waited)
            if ratio is not None and expected is not None:
                self._metrics.observe("edge_schedule_estimate_error_ratio", ratio, **labels)
        count = 0 if stage.within is None else regions
        state.records[stage.name] = StageRecord(
            stage.name, variant.identity, outcome, reason, seconds, count, waited, expected
        )


def _regions_of(stage: Stage, state: Progress) -> tuple[Region | None, ...]:
    return (None,) if stage.within is None else state.regions[stage.within]


def shares(parts: Sequence[float]) -> list[float]:
    """What share of the whole each part is; equal ones of nothing."""
    whole = sum(parts)
    return [part / whole if whole > 0 else 1 / len(parts) for part in parts]


def canonical_json(document: object) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
