"""What a concluded study adds to the statistics of answers and probabilities."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from edge_runtime.domain import Answer, Finding, JobResult
from edge_runtime.telemetry.metrics import Metrics


def count_answers(result: JobResult, amends: bool, metrics: Metrics) -> None:
    """Count the answers and observe the probabilities of a study, once.

    With `amends` an earlier revision has given an answer: the same patient is not counted twice.
    """
    if amends:
        metrics.count("edge_amendments_total", pipeline=result.pipeline)
        return
    by_stage: dict[str, list[Finding]] = {}
    for finding in result.analysis.findings:
        by_stage.setdefault(finding.stage, []).append(finding)
    answers = []
    for stage, findings in by_stage.items():
        answers.append(joint_answer([finding.answer for finding in findings]))
        metrics.count("edge_stage_answers_total", pipeline=result.pipeline, stage=stage, answer=answers[-1].value)
        for probability in best_probabilities(findings):
            metrics.observe("edge_finding_probability_ratio", probability, pipeline=result.pipeline, stage=stage)
    metrics.count("edge_study_answers_total", pipeline=result.pipeline, answer=joint_answer(answers).value)


def joint_answer(answers: Collection[Answer]) -> Answer:
    """Positive if any is; else negative only if there are some and all are: no answer is never a negative."""
    if Answer.POSITIVE in answers:
        return Answer.POSITIVE
    return Answer.NEGATIVE if set(answers) == {Answer.NEGATIVE} else Answer.NOT_EVALUATED


def best_probabilities(findings: Sequence[Finding]) -> list[float]:
    """The highest probability of each label that has one: a detection may find a label in several places."""
    best: dict[str, float] = {}
    for finding in findings:
        if finding.probability is not None:
            best[finding.label] = max(finding.probability, best.get(finding.label, 0.0))
    return list(best.values())
