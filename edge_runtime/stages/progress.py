"""How far the stages of a run have come, and what that means for the next one."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_runtime.domain import Answer, Finding, Mask, StageOutcome, StageRecord
from edge_runtime.engines.views import Region
from edge_runtime.stages.stage import Stage


@dataclass
class Progress:
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


def gate_of(stage: Stage, state: Progress) -> tuple[StageOutcome, str] | None:
    """Why the stage does not run, or None. One reason that makes it not needed outweighs an answer that is missing."""
    reasons = [_condition(stage, state), _regions(stage, state)]
    for outcome in (StageOutcome.NOT_NEEDED, StageOutcome.NOT_EVALUATED):
        found = next((r for r in reasons if r is not None and r[0] is outcome), None)
        if found is not None:
            return found
    return None


def _condition(stage: Stage, state: Progress) -> tuple[StageOutcome, str] | None:
    if stage.when is None:
        return None
    if (left_out := _left_out(stage.when.stage, state)) is not None:
        return left_out
    answer = state.answer(stage.when.stage, stage.when.label)
    what = f"{stage.when.stage}.{stage.when.label} is {answer.value}"
    if answer is Answer.NOT_EVALUATED:
        return StageOutcome.NOT_EVALUATED, what
    return None if answer is stage.when.answer else (StageOutcome.NOT_NEEDED, what)


def _regions(stage: Stage, state: Progress) -> tuple[StageOutcome, str] | None:
    if stage.within is None:
        return None
    if (left_out := _left_out(stage.within, state)) is not None:
        return left_out
    return None if state.regions[stage.within] else (StageOutcome.NOT_NEEDED, f"{stage.within} found no region")


def _left_out(needed: str, state: Progress) -> tuple[StageOutcome, str] | None:
    outcome = state.records[needed].outcome
    if outcome is StageOutcome.RAN:
        return None
    follows = StageOutcome.NOT_NEEDED if outcome is StageOutcome.NOT_NEEDED else StageOutcome.NOT_EVALUATED
    return follows, f"{needed}: {outcome.value}"


def unanswered(stage: Stage) -> list[Finding]:
    """What a stage without an answer says: that it has none, for each label."""
    return [
        Finding(stage.name, label.name, label.concept.code, Answer.NOT_EVALUATED, threshold=stage.threshold_of(label))
        for label in stage.card.labels
    ]


def region_count(stage: Stage, state: Progress) -> int:
    """How many regions the stage is to run in."""
    return 1 if stage.within is None else max(1, len(state.regions.get(stage.within, ())))
