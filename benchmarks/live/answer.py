"""What an analysis says, in few words, so that two of them can be compared."""

from __future__ import annotations

from edge_runtime.domain import Analysis

Answers = list[list[str]]
"""Of each stage its name and outcome; of each finding its stage, label, answer, and probability to two digits."""


def answers_of(analysis: Analysis) -> Answers:
    """What an analysis says."""
    stages = [[record.stage, record.outcome.value] for record in analysis.stages]
    findings = [
        [f.stage, f.label, f.answer.value, "" if f.probability is None else f"{f.probability:.2f}"]
        for f in analysis.findings
    ]
    return stages + findings


def all_ran(answers: Answers) -> bool:
    """Whether every stage ran."""
    return all(said[1] == "ran" for said in answers if len(said) == 2)
