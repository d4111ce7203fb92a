"""What is said of studies that were sent, by what the journal, the destinations and the clock say of each."""

import dataclasses
import json

import pytest
import yaml

from benchmarks.acceptance.daemon_facts import JobFacts
from benchmarks.acceptance.judge import follow, judge
from benchmarks.acceptance.seen import Measured
from benchmarks.acceptance.sender import SentStudy
from benchmarks.acceptance.stand_ins import Arrived
from benchmarks.acceptance.traffic import SeriesTraffic
from benchmarks.measured import Accelerator
from benchmarks.record import Record
from edge_runtime.config import Config
from edge_runtime.yaml_schema import read_schema

SITE = """
spool: {path: /nonexistent}
pipelines:
  - name: ct
    deadline_seconds: 10
    stages: [{name: find, engine: a}, {name: more, engine: b, optional: true}]
    send_to: [disk, pacs]
destinations:
  - {name: disk, type: folder, path: /x}
  - {name: pacs, type: dicom, ae_title: P, host: h, port: 104}
"""
TIMED, LOST, FAILED = 0, 1, 2  # the budgets in their order
SENT_TO = (("disk", "done"), ("disk", "done"), ("pacs", "done"))


def seen(tmp_path, studies=4, took=9.0, outcome="ran"):
    """Studies that were all delivered `took` seconds after their last slice, and the YAML document."""
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    config, spool = read_schema(Config, path), tmp_path / "spool"
    measured = Measured(config, {"ct": SeriesTraffic("ct", "x", 60)}, spool=spool, ended_at=1000.0)
    for number in range(studies):
        uid, last = f"1.{number}", 100.0 * number
        measured.sent.append(SentStudy("ct", uid, last - 2, last - 2, last, 8))
        measured.jobs.append(JobFacts(str(number), "ct", 1, "delivered", "", uid, 8, SENT_TO))
        measured.arrived += [Arrived(name, last + took, uid) for name, _ in SENT_TO]
        stages = [
            {"stage": "find", "outcome": "ran", "seconds": 1.0},
            {"stage": "more", "outcome": outcome, "seconds": 0},
        ]
        result = {"last_received_at": last, "concluded_at": last + 7, "analysis": {"stages": stages}}
        (spool / "jobs" / str(number)).mkdir(parents=True)
        (spool / "jobs" / str(number) / "result.json").write_text(json.dumps({"result": result}))
    return measured, yaml.safe_load(SITE)


def verdicts(measured, raw, complete=True):
    record = Record({}, False)
    judge(measured, raw, record, Accelerator.CPU, complete)
    assert len(record.budgets) == 4
    return record, [budget.verdict for budget in record.budgets[:3]]


def test_studies_that_all_came_in_time_pass(tmp_path):
    record, found = verdicts(*seen(tmp_path))
    assert found == ["pass", "pass", "pass"]
    document = record.document("complete", {})
    assert document["latencies"]["pipelines.ct"]["rounds"] == [[9000.0] * 4]
    assert document["deadlines"]["pipelines.ct"] == {
        "budget_ms": 10_000.0, "of": "pipelines.ct.deadline_seconds", "counted": 4, "missed": 0
    }  # fmt: skip
    spans = document["timelines"][0]["spans"]
    assert [(span["name"], span["end_ms"]) for span in spans] == [
        ("sending", 2000), ("quiet time", 7000), ("analysis", 9000), ("writing and delivery", 11_000)
    ]  # fmt: skip


def test_the_time_at_the_destination_decides_not_what_the_daemon_says(tmp_path):
    measured, raw = seen(tmp_path)
    measured.arrived[0] = dataclasses.replace(measured.arrived[0], at=10.01)  # concluded at 7, well in time
    assert verdicts(measured, raw)[1] == ["fail", "pass", "pass"]


def test_a_result_that_the_journal_calls_delivered_and_nobody_got_is_lost(tmp_path):
    measured, raw = seen(tmp_path)
    del measured.arrived[-1]
    record, found = verdicts(measured, raw)
    assert found == ["fail", "fail", "pass"]
    assert "not every result is at its destination" in record.budgets[LOST].why


def test_an_acknowledged_instance_that_is_in_no_job_is_lost(tmp_path):
    measured, raw = seen(tmp_path)
    measured.jobs[1] = dataclasses.replace(measured.jobs[1], images=7)
    record, found = verdicts(measured, raw)
    assert found == ["pass", "fail", "pass"]
    assert "8 were acknowledged, its job has 7" in record.budgets[LOST].why


@pytest.mark.parametrize(
    "change",
    [{"state": "parked", "reason": "attempts"}, {"state": "refused", "reason": "missing_slices"},
     {"deliveries": (*SENT_TO, ("pacs", "parked"))}],
)  # fmt: skip
def test_a_job_that_ended_badly_fails_the_site(tmp_path, change):
    measured, raw = seen(tmp_path)
    measured.jobs[0] = dataclasses.replace(measured.jobs[0], **change)
    assert verdicts(measured, raw)[1][FAILED] == "fail"


def test_an_optional_stage_may_be_left_out_and_a_mandatory_one_may_not(tmp_path):
    measured, raw = seen(tmp_path, outcome="skipped")
    record, found = verdicts(measured, raw)
    assert found[FAILED] == "pass" and "4 studies went without an optional stage" in record.budgets[FAILED].why
    document = SITE.replace(", optional: true", "")
    (tmp_path / "site.yaml").write_text(document)
    measured.config = read_schema(Config, tmp_path / "site.yaml")
    assert verdicts(measured, raw)[1][FAILED] == "fail"


def test_what_was_under_way_when_a_run_was_stopped_is_neither_late_nor_lost(tmp_path):
    measured, raw = seen(tmp_path)
    measured.sent.append(SentStudy("ct", "1.9", 994, 994, 995, 8))
    record, found = verdicts(measured, raw, complete=False)
    assert found == ["pass", "pass", "pass"] and record.budgets[TIMED].samples == 4
    assert verdicts(measured, raw)[1][:2] == ["fail", "fail"], "of a run that went to its end it is"
    measured.ended_at = 1006.0
    assert verdicts(measured, raw, complete=False)[1][TIMED] == "fail", "its deadline had passed"


def test_a_later_revision_of_a_study_takes_the_place_of_the_first(tmp_path):
    measured, _ = seen(tmp_path, studies=1)
    measured.jobs.append(dataclasses.replace(measured.jobs[0], revision=2, state="pending"))
    (one,) = follow(measured)
    assert one.seconds is None and one.job.revision == 2


def test_a_role_that_ended_and_was_replaced_is_a_failure_though_every_study_was_in_time(tmp_path):
    measured, raw = seen(tmp_path)
    measured.troubles = ["the role infer ended and was replaced: 2 times"]
    record, found = verdicts(measured, raw)
    assert found == ["pass", "pass", "fail"]
    assert measured.troubles[0] in record.budgets[FAILED].why


LIVE = """
spool: {path: /nonexistent}
pipelines: [{name: live, stages: [{name: find, engine: a}]}]
video: [{name: tower, pipeline: live, url: "rtsp://x", deadline_seconds: 0.05}]
"""


def live(tmp_path, **seen_of_source):
    path = tmp_path / "live.yaml"
    path.write_text(LIVE)
    measured = Measured(
        read_schema(Config, path), spool=tmp_path, frames={"tower": {"in_time": 2000}}, ready_seconds=2.0
    )
    measured.source_states, measured.source_losses = {"tower": "live"}, {"tower": 0}
    for name, value in seen_of_source.items():
        setattr(measured, name, {"tower": value})
    record = Record({}, False)
    judge(measured, yaml.safe_load(LIVE), record, Accelerator.CPU, True)
    return {budget.name: budget for budget in record.budgets}


def test_a_source_that_stays_live_passes(tmp_path):
    found = live(tmp_path)
    assert found["video.tower: capture to result"].verdict == found["video.tower: the source stays"].verdict == "pass"


@pytest.mark.parametrize(
    ("seen_of_source", "said"),
    [
        ({"source_losses": 2}, "it ended or could not be opened 2 times"),
        ({"source_states": "silent"}, "it was silent at"),
    ],
)
def test_a_source_that_goes_fails_though_every_frame_that_came_was_in_time(tmp_path, seen_of_source, said):
    budget = live(tmp_path, **seen_of_source)["video.tower: the source stays"]
    assert budget.verdict == "fail" and said in budget.why


def test_a_run_that_ended_before_the_daemon_was_ready_says_so(tmp_path):
    path = tmp_path / "live.yaml"
    path.write_text(LIVE)
    record = Record({}, False)
    judge(Measured(read_schema(Config, path)), yaml.safe_load(LIVE), record, Accelerator.CPU, False)
    (ready,) = [budget for budget in record.budgets if budget.name.startswith("ready")]
    assert "was not ready when the run ended" in ready.why and ready.found is None
