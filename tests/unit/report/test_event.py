"""What is announced and what an event says: never a silent negative, never an identifier that was not asked for."""

import itertools
import json
from dataclasses import replace

import pytest
from support.report_sources import ENGINE, HEMORRHAGE, volume_case

from edge_runtime.domain import Analysis, Answer, Finding, StageOutcome, StageRecord
from edge_runtime.report.event import Announcement, answer_of, event_json, is_announced
from edge_runtime.report.objects import Context
from edge_runtime.report.originals import read_original

PATIENT = ("Muster", "Eva", "P-77", "19610203", "20261101", "081500", "S1", "2.25.", "A1")


def finding(answer, label="hemorrhage", stage="triage", probability=None):
    return Finding(stage, label, HEMORRHAGE, answer, probability, 0.5)


def result_of(case, *findings, outcome=StageOutcome.RAN):
    record = StageRecord("triage", ENGINE, outcome)
    return replace(case.result, analysis=Analysis((record,), findings))


@pytest.fixture
def case(tmp_path):
    return volume_case(tmp_path)


def event_of(case, result, **announcement):
    context = Context(result, read_original(result.sources[0], case.originals), "EDGE")
    return json.loads(event_json(context, Announcement("alert", **{"with_accession": False, **announcement})))


@pytest.mark.parametrize(
    ("answers", "outcome", "expected"),
    [
        ([Answer.NEGATIVE, Answer.POSITIVE], StageOutcome.RAN, Answer.POSITIVE),
        ([Answer.NOT_EVALUATED, Answer.POSITIVE], StageOutcome.FAILED, Answer.POSITIVE),
        ([Answer.NEGATIVE], StageOutcome.RAN, Answer.NEGATIVE),
        ([Answer.NEGATIVE], StageOutcome.SKIPPED, Answer.NOT_EVALUATED),
        ([Answer.NEGATIVE, Answer.NOT_EVALUATED], StageOutcome.RAN, Answer.NOT_EVALUATED),
        ([], StageOutcome.RAN, Answer.NOT_EVALUATED),
    ],
)
def test_a_result_is_negative_only_where_every_question_was_answered(case, answers, outcome, expected):
    result = result_of(case, *map(finding, answers), outcome=outcome)
    assert answer_of(result) is expected
    assert event_of(case, result)["answer"] == expected.value


def test_only_a_negative_that_takes_nothing_back_is_kept_back():
    kept_back = [
        (answer, revision, earlier)
        for answer, revision, earlier in itertools.product(Answer, (1, 2), (*Answer, None))
        if not is_announced("positive", answer, revision, earlier)
    ]
    first = [(Answer.NEGATIVE, 1, earlier) for earlier in (*Answer, None)]
    assert sorted(kept_back, key=str) == sorted([*first, (Answer.NEGATIVE, 2, Answer.NEGATIVE)], key=str)
    assert is_announced("all", Answer.NEGATIVE, 1, None)


def test_findings_of_one_label_become_one_entry_with_the_gravest_answer(case):
    result = result_of(
        case,
        finding(Answer.NEGATIVE, probability=0.3),
        finding(Answer.POSITIVE, probability=0.7),
        finding(Answer.POSITIVE, probability=0.6),
        finding(Answer.NOT_EVALUATED, "fracture"),
    )
    assert event_of(case, result)["labels"] == [
        {"stage": "triage", "label": "hemorrhage", "answer": "positive", "count": 2, "probability": 0.7,
         "threshold": 0.5},
        {"stage": "triage", "label": "fracture", "answer": "not_evaluated", "count": 1, "probability": None,
         "threshold": 0.5},
    ]  # fmt: skip


def test_an_event_names_no_patient_and_no_study_unless_it_is_asked_to(case):
    text = json.dumps(event_of(case, case.result))
    assert not [secret for secret in PATIENT if secret in text]
    named = event_of(case, case.result, with_accession=True)
    assert (named["accession_number"], named["study_instance_uid"]) == ("A1", "2.25.101")
    del named["accession_number"], named["study_instance_uid"]
    assert not [secret for secret in PATIENT if secret in json.dumps(named)]


def test_an_event_says_what_it_is_not_and_whose_engine_spoke(case):
    event = event_of(case, replace(case.result, revision=2), replaces="job-0")
    assert "NOT FOR DIAGNOSIS" in event["statement"]
    assert event["stages"][0]["engine"]["intended_use"] == ENGINE.statement
    assert (event["revision"], event["replaces"]) == (2, "job-0")
    assert event["late"] is case.result.late
