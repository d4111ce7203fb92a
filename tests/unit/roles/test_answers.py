"""What a concluded study adds to the statistics."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.domain import Analysis, Answer, Code, Finding
from edge_runtime.metrics import METRICS
from edge_runtime.roles.answers import best_probabilities, count_answers, joint_answer
from edge_runtime.telemetry.metrics import RoleMetrics

MASS = Code("4147007", "SCT", "Mass")
POSITIVE, NEGATIVE, NONE = Answer.POSITIVE, Answer.NEGATIVE, Answer.NOT_EVALUATED
VALUES = {"pipeline": ("head",), "stage": ("triage", "lesions"), "destination": ()}


def finding(stage, label, answer, probability=None):
    return Finding(stage, label, MASS, answer, probability=probability)


def counted(findings, amends=False):
    """Every sample after one study: {(name, label values): number, or count of a histogram}."""
    metrics = RoleMetrics(METRICS, VALUES)
    count_answers(SimpleNamespace(pipeline="head", analysis=Analysis((), tuple(findings))), amends, metrics)
    return {
        (name, labels): sum(value[:-1]) if isinstance(value, list) else value
        for name, labels, value in metrics.snapshot()
    }


def test_a_study_counts_once_a_stage_whatever_the_number_of_labels_and_places():
    assert counted(
        [
            finding("triage", "any", POSITIVE, 0.9),
            finding("triage", "subdural", NEGATIVE, 0.2),
            finding("lesions", "bleed", POSITIVE, 0.6),
            finding("lesions", "bleed", POSITIVE, 0.7),
        ]
    ) == {
        ("edge_stage_answers_total", ("head", "triage", "positive")): 1,
        ("edge_stage_answers_total", ("head", "lesions", "positive")): 1,
        ("edge_study_answers_total", ("head", "positive")): 1,
        ("edge_finding_probability_ratio", ("head", "triage")): 2,
        ("edge_finding_probability_ratio", ("head", "lesions")): 1,
    }


def test_an_amendment_adds_to_no_statistics_of_answers():
    assert counted([finding("triage", "any", POSITIVE, 0.9)], amends=True) == {("edge_amendments_total", ("head",)): 1}


def test_what_was_not_evaluated_is_no_negative():
    assert counted([finding("triage", "any", NEGATIVE, 0.1), finding("lesions", "bleed", NONE)]) == {
        ("edge_stage_answers_total", ("head", "triage", "negative")): 1,
        ("edge_stage_answers_total", ("head", "lesions", "not_evaluated")): 1,
        ("edge_study_answers_total", ("head", "not_evaluated")): 1,
        ("edge_finding_probability_ratio", ("head", "triage")): 1,
    }
    assert counted([]) == {("edge_study_answers_total", ("head", "not_evaluated")): 1}


@pytest.mark.parametrize(
    ("answers", "joint"),
    [
        ([NEGATIVE, NEGATIVE], NEGATIVE),
        ([NEGATIVE, NONE], NONE),
        ([NEGATIVE, NONE, POSITIVE], POSITIVE),
        ([NONE], NONE),
        ([], NONE),
    ],
)
def test_answers_add_up(answers, joint):
    assert joint_answer(answers) is joint


@given(st.lists(st.tuples(st.sampled_from("ab"), st.none() | st.floats(0, 1)), max_size=8))
def test_each_label_gives_its_highest_probability(pairs):
    best = best_probabilities([finding("triage", label, POSITIVE, p) for label, p in pairs])
    expected = [[p for name, p in pairs if name == label and p is not None] for label in "ab"]
    assert sorted(best) == sorted(max(each) for each in expected if each)
