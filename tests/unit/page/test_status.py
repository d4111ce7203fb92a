"""From rows to the document: what the page says of jobs, destinations, engines and of its own age."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.live_pages import live_config
from support.spools import make_config

from edge_runtime.config import Config, Destination
from edge_runtime.page.engines import EngineFacts
from edge_runtime.page.journal import JournalFacts
from edge_runtime.page.results import Picture, ResultSummary, StageSummary
from edge_runtime.page.status import (
    DestinationFacts,
    Facts,
    VideoFacts,
    age,
    mark_of,
    quantile,
    status_document,
    timings,
)
from edge_runtime.telemetry.health import Reason, RoleState

NOW = 1_790_000_000.0
ROLES = (RoleState("infer", ready=True, reason="", process=7), RoleState("deliver", ready=True, reason="", process=8))


def job(number: int = 1, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"{number:011x}-00000000", "pipeline": "head", "revision": 1, "state": "delivered", "reason": "",
        "last_received_at": NOW - 30, "deadline_at": NOW + 30, "superseded": 0,
    }  # fmt: skip
    return {**row, **changes}


def journal(*jobs: dict[str, Any], **changes: Any) -> JournalFacts:
    empty = JournalFacts(NOW, {}, jobs, {}, (), (), {}, ())
    return replace(empty, **changes)


def summary(*outcomes: str, late: bool = False, seconds: float = 1.0) -> ResultSummary:
    stages = tuple(StageSummary(f"s{i}", outcome, "why", seconds) for i, outcome in enumerate(outcomes))
    return ResultSummary(late, 2.0, stages)


def facts(jobs: JournalFacts | None, **changes: Any) -> Facts:
    whole = Facts(NOW, ROLES, (), 0.1, {"infer": 2}, 10**10, jobs)
    return replace(whole, **changes)


@pytest.fixture
def config(tmp_path: Any) -> Config:
    return make_config(tmp_path)


WHOLE, LATE = summary("ran", "not_needed"), summary("ran", late=True)
PARTIAL = summary("ran", "skipped", late=True)


@pytest.mark.parametrize(
    ("state", "result", "mark"),
    [
        ("delivered", WHOLE, "whole"), ("concluded", WHOLE, "whole"), ("reported", LATE, "late"),
        ("delivered", PARTIAL, "incomplete"), ("delivered", summary("failed"), "incomplete"),
        ("delivered", summary("not_evaluated"), "incomplete"), ("delivered", summary("strange"), "incomplete"),
        ("delivered", None, "unknown"), ("parked", WHOLE, "problem"), ("refused", None, "problem"),
        ("cancelled", WHOLE, "unknown"), ("retired", None, "unknown"), ("running", WHOLE, "waiting"),
        ("collecting", None, "waiting"), ("pending", None, "waiting"),
    ],
)  # fmt: skip
def test_only_a_whole_answer_in_time_looks_good(state: str, result: ResultSummary | None, mark: str) -> None:
    assert mark_of(job(state=state), result, NOW) == mark


@given(st.sampled_from(["delivered", "reported", "running", "parked", "new state"]), st.booleans(), st.booleans())
def test_an_answer_that_a_later_revision_replaces_never_looks_good(state: str, late: bool, whole: bool) -> None:
    result = summary("ran" if whole else "failed", late=late)
    assert mark_of(job(state=state, superseded=1), result, NOW) == "superseded"


def test_a_job_past_its_deadline_without_an_answer_is_late(config: Config) -> None:
    rows = [job(1, state="pending", deadline_at=NOW - 1), job(2, state="pending"), job(3, deadline_at=NOW - 1)]
    document = status_document(config, facts(journal(*rows), results={rows[2]["id"]: WHOLE}))
    assert [one["mark"] for one in document["jobs"]] == ["late", "waiting", "whole"]
    assert [one["late"] for one in document["jobs"]] == [True, False, False]


def test_a_job_says_what_was_left_out_and_where_it_went(config: Config) -> None:
    row = job(state="reported", reason="text")
    deliveries = ({"job_id": row["id"], "destination": "pacs", "state": "queued", "n": 3},
                  {"job_id": "other", "destination": "pacs", "state": "done", "n": 9})  # fmt: skip
    read = journal(row, images={row["id"]: 12}, deliveries=deliveries)
    pictures = {row["id"]: Picture(shown=False, reason="burned in")}
    (one,) = status_document(config, facts(read, results={row["id"]: PARTIAL}, pictures=pictures))["jobs"]
    assert one["left_out"] == [{"stage": "s1", "outcome": "skipped", "reason": "why"}]
    assert one["deliveries"] == [{"destination": "pacs", "state": "queued", "count": 3}]
    assert (one["images"], one["age_seconds"], one["late"]) == (12, 30.0, True)
    assert (one["thumbnail"], one["no_thumbnail"]) == (False, "burned in")


def test_a_picture_is_shown_only_beside_results_that_are_on_their_way(config: Config) -> None:
    rows = [job(1, state="concluded"), job(2, state="reported"), job(3, state="cancelled")]
    pictures = {row["id"]: Picture(shown=True) for row in rows}
    document = status_document(config, facts(journal(*rows), pictures=pictures))
    assert [one["thumbnail"] for one in document["jobs"]] == [False, True, False]


def test_what_is_old_says_so(config: Config) -> None:
    assert status_document(config, facts(journal()))["stale"] == []
    (stuck,) = status_document(config, facts(journal(), turned_seconds_ago=33.0))["stale"]
    assert "33 s" in stuck and "supervisor" in stuck
    (unread,) = status_document(config, facts(journal(read_at=NOW - 9), journal_error="locked"))["stale"]
    assert "9 s" in unread and "locked" in unread
    document = status_document(config, facts(None, journal_error="gone"))
    assert "gone" in document["stale"][0]
    assert document["jobs"] == [] and document["left_out"] == []


def test_roles_say_why_and_how_often_they_were_replaced(config: Config) -> None:
    roles = (*ROLES, RoleState("report", ready=False, reason="down", process=0))
    reasons = (Reason("deliver", "slow"), Reason("report", "down"))
    document = status_document(config, facts(journal(), roles=roles, reasons=reasons))
    assert not document["ready"]
    assert document["roles"] == [
        {"name": "infer", "ready": True, "reasons": [], "restarts": 2},
        {"name": "deliver", "ready": True, "reasons": ["slow"], "restarts": 0},
        {"name": "report", "ready": False, "reasons": ["down"], "restarts": 0},
    ]


def test_destinations_show_backlog_reasons_and_when_they_last_answered(config: Config) -> None:
    backlog = (
        {"destination": "pacs", "state": "queued", "n": 4, "reason": "away", "attempts": 3, "next_at": NOW + 5,
         "oldest_at": NOW - 100},
        {"destination": "pacs", "state": "queued", "n": 1, "reason": "", "attempts": 0, "next_at": 0,
         "oldest_at": NOW - 50},
        {"destination": "pacs", "state": "parked", "n": 2, "reason": "refused", "attempts": 1, "next_at": 0,
         "oldest_at": NOW - 500},
        {"destination": "old", "state": "queued", "n": 1, "reason": "", "attempts": 0, "next_at": 0, "oldest_at": NOW},
    )  # fmt: skip
    said = {"pacs": DestinationFacts(up=False, last_success_at=NOW - 60, last_failure_at=NOW - 1, last_failure="away")}
    document = status_document(config, facts(journal(backlog=backlog), destinations=said))
    disk, pacs, old = document["destinations"]
    assert (disk["name"], disk["up"], disk["waiting"], disk["oldest_seconds"]) == ("disk", None, 0, None)
    assert (pacs["up"], pacs["waiting"], pacs["parked"], pacs["oldest_seconds"]) == (False, 5, 2, 500.0)
    assert (pacs["reasons"], pacs["next_attempt_seconds"]) == (["away", "refused"], 5.0)
    assert (pacs["last_success_seconds"], pacs["last_failure_seconds"], pacs["last_failure"]) == (60.0, 1.0, "away")
    assert (old["type"], old["waiting"]) == ("not configured", 1)


def test_a_source_shows_its_state_frames_and_deadline_and_never_its_address(tmp_path: Any) -> None:
    config = live_config(tmp_path, "tower-1", "tower-2")
    said = VideoFacts("frozen", {"captured": 9, "in_time": 7}, 24.5, NOW - 3, True, 0.42, "no cable")
    document = status_document(config, facts(journal(), video={"tower-1": said}))
    first, second = document["video"]
    assert first == {
        "name": "tower-1", "pipeline": "head", "state": "frozen", "deadline_seconds": 0.05, "in_time_per_second": 24.5,
        "in_time_share": 0.42, "reason": "no cable",
        "frames": {"captured": 9, "in_time": 7}, "last_frame_seconds": 3.0, "examination_open": True,
    }  # fmt: skip
    assert (second["state"], second["in_time_per_second"], second["examination_open"]) == ("down", None, None)
    assert (second["in_time_share"], second["reason"]) == (None, "")
    assert "secret" not in json.dumps(document) and "rtsp" not in json.dumps(document)


def test_a_live_destination_is_among_the_destinations(tmp_path: Any) -> None:
    base = live_config(tmp_path, "tower-1")
    lines = Destination(name="lines", type="jsonlines", path=str(tmp_path))
    config = replace(base, destinations=(*base.destinations, lines))
    said = {"lines": DestinationFacts(up=False, last_failure_at=NOW - 1, last_failure="lost")}
    *_, found = status_document(config, facts(journal(), destinations=said))["destinations"]
    assert (found["name"], found["type"], found["up"], found["waiting"]) == ("lines", "jsonlines", False, 0)
    assert found["last_failure"] == "lost"


def test_an_engine_shows_its_passport_and_has_passed_its_golden_run_only_when_infer_is_ready(config: Config) -> None:
    engine = EngineFacts("e", ("head/a",), "1", "ab" * 32, "fp32", "onnxruntime 1", "none", "research")
    (idle,) = status_document(config, facts(journal(), engines=(engine,)))["engines"]
    (ready,) = status_document(config, facts(journal(), engines=(engine,), engines_loaded=True))["engines"]
    assert (idle["golden"], ready["golden"]) == ("not run yet", "passed")
    assert ready["sha256"] == "abababababab" and ready["intended_use"] == "research"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    smaller = [value for value in values if value < found]
    assert len(smaller) < share * len(values)


def test_times_are_of_stages_that_ran() -> None:
    rows = [job(number) for number in range(1, 5)]
    results: dict[str, ResultSummary | None] = {
        row["id"]: summary("ran", "skipped", seconds=float(number)) for number, row in enumerate(rows[:3], 1)
    }
    whole, stage = timings({**results, rows[3]["id"]: None}, rows)
    assert (whole["stage"], whole["count"], whole["max_seconds"]) == ("", 3, 2.0)
    assert (stage["stage"], stage["p50_seconds"], stage["p95_seconds"], stage["max_seconds"]) == ("s0", 2.0, 3.0, 3.0)


@given(st.floats(-1e9, 1e9))
def test_an_age_is_never_negative(then: float) -> None:
    found = age(0.0, then)
    assert found is not None and found >= 0.0
    assert age(0.0, None) is None


def test_the_document_is_json_and_keeps_hostile_text_as_text(config: Config) -> None:
    hostile = "</script><script>alert(1)</script>\u2028\ud800"
    left_out = ({"state": "unmatched", "reason": "r", "caller_ae_title": hostile, "n": 1, "newest_at": NOW},)
    document = status_document(config, facts(journal(job(reason=hostile), left_out=left_out)))
    assert json.loads(json.dumps(document)) == document
    assert document["left_out"][0]["caller"] == hostile
