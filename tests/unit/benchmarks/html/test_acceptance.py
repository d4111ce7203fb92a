"""The acceptance verdict of a result's page."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bench_results import OF, budget, document

from benchmarks.html.acceptance import checked, missed_share, of_deadline, overall, rows
from benchmarks.html.model import Deadline, parse

VERDICTS = ("pass", "fail", "no budget", "too few samples")
STATES = ("complete", "interrupted", "failed")


@pytest.mark.parametrize(
    ("state", "reduced", "verdicts", "word", "sentence"),
    [
        ("complete", False, ["pass", "pass"], "pass", "every budget of the configuration was kept"),
        ("complete", False, ["pass", "no budget"], "pass", "no budget in the configuration: b1"),
        ("complete", False, ["pass", "fail"], "fail", "fail: b1"),
        ("complete", False, ["pass", "too few samples"], "not judged", "too few samples for a verdict: b1"),
        ("complete", False, ["no budget"], "not judged", "no budget in the configuration: b0"),
        ("complete", False, [], "not judged", "no budget in the configuration was judged"),
        ("complete", True, ["pass"], "not judged", "a reduced run, which proves only that the parts work"),
        ("interrupted", False, ["pass"], "not judged", "the run did not go to its end: interrupted"),
        ("failed", True, ["pass"], "not judged", "the run did not go to its end: failed"),
        ("complete", True, ["pass", "fail"], "fail", "fail: b1: too slow"),
        ("interrupted", False, ["pass", "fail"], "fail", "fail: b1"),
    ],
)
def test_the_verdict_and_its_reason(state, reduced, verdicts, word, sentence):
    budgets = [budget(one, f"b{order}", why="too slow" if one == "fail" else "") for order, one in enumerate(verdicts)]
    found = overall(state, reduced, budgets)
    assert found.word == word
    assert any(sentence in one for one in found.sentences), found.sentences


@pytest.mark.parametrize("reduced", [False, True])
def test_a_reduced_run_is_not_said_to_have_ended_early(reduced):
    said = " ".join(overall("complete", reduced, [budget("pass")]).sentences)
    assert ("reduced" in said) == reduced and "did not go to its end" not in said
    assert ("was kept" in said) != reduced


@given(st.sampled_from(STATES), st.booleans(), st.lists(st.sampled_from(VERDICTS), max_size=6))
def test_pass_is_said_only_of_a_whole_run_whose_every_budget_was_passed(state, reduced, verdicts):
    found = overall(state, reduced, [budget(one, f"b{order}") for order, one in enumerate(verdicts)])
    whole = state == "complete" and not reduced
    assert (found.word == "pass") == (whole and "pass" in verdicts and set(verdicts) <= {"pass", "no budget"})
    assert (found.word == "fail") == ("fail" in verdicts)
    assert (found.passed, found.judged) == (verdicts.count("pass"), len(verdicts) - verdicts.count("no budget"))
    assert found.sentences


@pytest.mark.parametrize(
    ("found", "at_least", "verdict"),
    [
        (50.0, False, "pass"),
        (50.1, False, "fail"),
        (50.0, True, "pass"),
        (49.9, True, "fail"),
        (float("nan"), True, "fail"),
    ],
)
def test_a_pass_that_what_was_found_does_not_bear_out_is_a_fail(found, at_least, verdict):
    assert checked(budget("pass", found=found, at_least=at_least)).verdict == verdict


@pytest.mark.parametrize("verdict", ["fail", "no budget", "too few samples"])
def test_no_other_verdict_is_ever_made_better(verdict):
    one = dataclasses.replace(budget("pass"), verdict=verdict)
    assert checked(one) == one


@pytest.mark.parametrize(
    ("budget_ms", "counted", "missed", "verdict"),
    [
        (50.0, 5000, 0, "pass"),
        (50.0, 5000, 500, "fail"),
        (50.0, 20, 20, "fail"),
        (50.0, 20, 0, "too few samples"),
        (50.0, 0, 0, "too few samples"),
        (None, 5000, 0, "no budget"),
    ],
)
def test_a_deadline_that_no_budget_speaks_of_is_judged_by_its_counts(budget_ms, counted, missed, verdict):
    found = of_deadline(Deadline("half load/edge", OF, budget_ms, counted, missed))
    assert found.verdict == verdict
    assert (found.bound is None) == (budget_ms is None)


def test_deadlines_of_peers_and_of_the_scenario_are_not_for_acceptance():
    made = document()
    made["budgets"] = []
    counts = {"counted": 5000, "missed": 4000, "budget_ms": 50.0}
    made["deadlines"] = {
        "half load/edge": {**counts, "missed": 0, "of": OF},
        "half load/fifo": {**counts, "of": OF},
        "half load, other/edge": {**counts, "of": "scenario.deadline_seconds"},
    }
    result = parse(made)
    assert [one.name for one in rows(result)] == ["half load/edge: in time"]
    made["budgets"] = [dataclasses.asdict(budget(of=OF))]
    assert [one.name for one in rows(parse(made))] == ["p99"]  # one verdict on one key


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_the_interval_of_the_missed_share_holds_the_share(counted, share):
    missed = round(counted * share)
    low, high = missed_share(Deadline("a", OF, 50.0, counted, missed))
    assert -1e-12 <= low <= missed / counted <= high <= 1 + 1e-12
