"""What becomes of each stage of a run, by what it is expected to need and what time is left."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.schedule.decision import Choice, Decision, decide, reserve_for
from edge_runtime.schedule.estimates import Estimate, Estimates
from edge_runtime.stages.progress import Progress, region_count
from edge_runtime.stages.stage import Stage
from edge_runtime.telemetry.metrics import Metrics

UNBOUND = Decision(Choice.RUN, 0, "no_deadline", 0.0, None, probe=False)


class Decider:
    """Asks `schedule.decision` about the stages of a pipeline."""

    def __init__(self, pipeline: str, stages: Sequence[Stage], estimates: Estimates, metrics: Metrics) -> None:
        self._pipeline, self._stages = pipeline, stages
        self._estimates, self._metrics = estimates, metrics

    def decide(self, index: int, state: Progress, left: float | None, droppable: bool) -> Decision:
        """What is to become of a stage with `left` seconds until the deadline; None: there is none."""
        if left is None:
            return UNBOUND
        stage = self._stages[index]
        options = [self._estimate(stage, number, state) for number in range(len(stage.variants))]
        later = [
            [self._estimate(each, number, state) for number in range(len(each.variants))]
            for each in self._stages[index + 1 :]
            if not each.optional and each.when is None and (each.within is None or each.within in state.regions)
        ]
        reserve = reserve_for(later, left - options[0].seconds)
        return decide(options, left_seconds=left, reserve_seconds=reserve, optional=stage.optional, droppable=droppable)

    def commit(self, stage: Stage, decision: Decision, state: Progress) -> None:
        """It is done so: count it."""
        if decision is UNBOUND:
            return
        if decision.probe:
            self._estimates.tried(stage.name, decision.variant, region_count(stage, state))
        self._metrics.count(
            "edge_schedule_decisions_total", 1, pipeline=self._pipeline, stage=stage.name,
            decision=decision.choice.value, reason=decision.reason,
        )  # fmt: skip

    def _estimate(self, stage: Stage, variant: int, state: Progress) -> Estimate:
        return self._estimates.of(stage.name, variant, region_count(stage, state))
