"""Which bounds are budgets of a site, and what a run says of them."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.acceptance.budgets import (
    MINIMUM_FRAMES,
    MINIMUM_STUDIES,
    Bound,
    frame_bounds,
    judge_frames,
    judge_none,
    judge_studies,
    overall,
    study_bounds,
)
from edge_runtime.config import Config
from edge_runtime.yaml_schema import read_schema

BOUND = Bound("pipelines.ct.deadline_seconds", 10.0, 10.0)
NONE = Bound("pipelines.ct.deadline_seconds", None, 60.0)


def bounds(tmp_path, ct="", live="", camera=""):
    path = tmp_path / "site.yaml"
    path.write_text(
        "spool: {path: /nonexistent}\n"
        "pipelines:\n"
        f"  - {{name: ct, stages: [{{name: a, engine: a}}]{ct}}}\n"
        f"  - {{name: live, stages: [{{name: a, engine: a}}]{live}}}\n"
        f"video: [{{name: camera, pipeline: live, url: x{camera}}}]\n"
    )
    config, raw = read_schema(Config, path), yaml.safe_load(path.read_text())
    return study_bounds(raw, config), frame_bounds(raw, config)


def test_a_deadline_that_holds_only_by_default_is_no_budget(tmp_path):
    studies, frames = bounds(tmp_path)
    assert studies == {"ct": Bound("pipelines.ct.deadline_seconds", None, 60.0)}
    assert frames == {"camera": Bound("video.camera.deadline_seconds", None, 60.0)}


def test_a_deadline_that_the_file_names_is_one_even_where_it_is_the_default(tmp_path):
    studies, _ = bounds(tmp_path, ct=", deadline_seconds: 60")
    assert studies["ct"].seconds == 60.0


def test_a_source_has_its_own_deadline_else_that_of_its_pipeline(tmp_path):
    _, frames = bounds(tmp_path, live=", deadline_seconds: 0.2")
    assert frames["camera"] == Bound("pipelines.live.deadline_seconds", 0.2, 0.2)
    _, frames = bounds(tmp_path, live=", deadline_seconds: 0.2", camera=", deadline_seconds: 0.1")
    assert frames["camera"] == Bound("video.camera.deadline_seconds", 0.1, 0.1)


@pytest.mark.parametrize(
    ("bound", "seconds", "unanswered", "verdict"),
    [
        (BOUND, [9.0, 9.9, 10.0], 0, "pass"),
        (BOUND, [9.0, 9.9, 10.01], 0, "fail"),  # the canary: 10 ms too late, once
        (BOUND, [9.0, 9.9, 9.9], 1, "fail"),
        (BOUND, [9.0] * (MINIMUM_STUDIES - 1), 0, "too few samples"),
        (BOUND, [11.0], 0, "fail"),
        (BOUND, [], 0, "too few samples"),
        (BOUND, [], 2, "fail"),
        (NONE, [100.0] * 5, 0, "no budget"),
    ],
)
def test_every_study_must_be_in_time_and_there_must_be_enough(bound, seconds, unanswered, verdict):
    budget = judge_studies("ct", bound, seconds, unanswered)
    assert budget.verdict == verdict
    assert budget.samples == len(seconds) + unanswered
    assert budget.found == max(seconds, default=None)


@pytest.mark.parametrize(
    ("in_time", "frames", "verdict"),
    [
        (990, 1000, "pass"),
        (989, 1000, "fail"),
        (MINIMUM_FRAMES - 1, MINIMUM_FRAMES - 1, "too few samples"),
        (100, 200, "fail"),  # few, and yet clear
        (0, 0, "too few samples"),
    ],
)
def test_a_share_of_the_frames_must_be_in_time(in_time, frames, verdict):
    budget = judge_frames("camera", Bound("video.camera.deadline_seconds", 0.05, 0.05), in_time, frames)
    assert budget.verdict == verdict
    assert judge_frames("camera", Bound("x", None, 60.0), in_time, frames).verdict == "no budget"


@given(st.lists(st.floats(0, 100), max_size=30), st.integers(0, 5))
def test_a_pass_has_enough_studies_and_none_too_late(seconds, unanswered):
    budget = judge_studies("ct", BOUND, seconds, unanswered)
    good = len(seconds) >= MINIMUM_STUDIES and not unanswered and max(seconds, default=0) <= 10
    assert (budget.verdict == "pass") == good


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_the_interval_of_a_share_holds_the_share(in_time, missed):
    budget = judge_frames("camera", BOUND, in_time, in_time + missed)
    if in_time + missed:
        low, high = budget.interval
        assert low - 1e-9 <= budget.found <= high + 1e-9


def test_what_may_not_happen_at_all_is_named_at_most_five_times():
    budget = judge_none("lost", "studies", [f"study {n}" for n in range(7)], 9)
    assert (budget.verdict, budget.found) == ("fail", 7.0)
    assert "study 4" in budget.why and "study 5" not in budget.why and "2 more" in budget.why
    assert judge_none("lost", "studies", [], 0).verdict == "too few samples"


PASSED = judge_studies("ct", BOUND, [1.0] * 3, 0)
FAILED = judge_studies("ct", BOUND, [11.0] * 3, 0)
FEW = judge_studies("ct", BOUND, [1.0], 0)
UNBOUND = judge_studies("ct", NONE, [1.0] * 3, 0)
KEPT = judge_none("lost", "studies", [], 3)
LOST = judge_none("lost", "studies", ["study 1"], 3)


@pytest.mark.parametrize(
    ("budgets", "stopped", "verdict"),
    [
        ([PASSED, KEPT], "", "pass"),
        ([PASSED, UNBOUND, KEPT], "", "pass"),
        ([FAILED, KEPT], "", "fail"),
        ([PASSED, LOST], "", "fail"),
        ([PASSED, FEW, KEPT], "", "not judged"),
        ([UNBOUND, KEPT], "", "not judged"),
        ([PASSED, KEPT], "interrupted", "not judged"),
        ([FAILED, KEPT], "interrupted", "fail"),
        ([], "", "not judged"),
    ],
)
def test_a_site_passes_only_where_a_deadline_was_judged_and_nothing_speaks_against_it(budgets, stopped, verdict):
    found, why = overall(budgets, stopped)
    assert found == verdict
    assert why
    assert not stopped or any(stopped in sentence for sentence in why)
