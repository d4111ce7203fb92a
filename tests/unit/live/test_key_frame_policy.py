"""Which positive frames become key frames: a simulated clock, and any order of results and examinations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.config import KeyFrames
from edge_runtime.domain import Answer, Box, Code, Finding
from edge_runtime.live.key_frame_policy import TAKE, Seen, consider, give_back, is_candidate


@dataclass(frozen=True)
class Step:
    """One result: when it was captured, whether it is positive, and which examination takes it."""

    at: float
    positive: bool
    examination: str | None


@st.composite
def histories(draw) -> list[Step]:
    at, steps, current, number = 0.0, [], None, 0
    for _ in range(draw(st.integers(0, 60))):
        at += draw(st.sampled_from([0.04, 0.04, 0.04, 1.0, 5.0]))
        change = draw(st.sampled_from(["", "", "", "", "begin", "end"]))
        if change == "begin":
            number += 1
            current = f"examination {number}"
        elif change == "end":
            current = None
        steps.append(Step(at, draw(st.booleans()), current))
    return steps


KEYS = st.builds(
    KeyFrames,
    seconds_between=st.sampled_from([0.0, 0.5, 3.0]),
    results=st.integers(1, 4),
    maximum=st.integers(0, 5),
)


def run(steps: list[Step], keys: KeyFrames) -> list[str | None]:
    seen, outcomes = Seen(), []
    for step in steps:
        seen, outcome = consider(seen, keys, step.examination, step.positive, step.at)
        outcomes.append(outcome)
    return outcomes


@given(histories(), KEYS)
def test_every_positive_frame_has_one_outcome_and_no_other_frame_has_one(steps, keys):
    known = {TAKE, "no_examination", "too_few", "maximum", "too_soon"}
    for step, outcome in zip(steps, run(steps, keys), strict=True):
        assert (outcome in known) if step.positive else outcome is None
        assert not step.positive or (outcome == "no_examination") == (step.examination is None)


@given(histories(), KEYS)
def test_a_key_frame_ends_a_run_of_positive_results_of_its_own_examination(steps, keys):
    outcomes = run(steps, keys)
    for index, outcome in enumerate(outcomes):
        if outcome == TAKE:
            before = steps[max(0, index + 1 - keys.results) : index + 1]
            assert len(before) == keys.results
            assert all(step.positive and step.examination == steps[index].examination for step in before)


@given(histories(), KEYS)
def test_key_frames_of_an_examination_keep_their_distance_and_their_maximum(steps, keys):
    taken: dict[str | None, list[float]] = {}
    for step, outcome in zip(steps, run(steps, keys), strict=True):
        if outcome == TAKE:
            taken.setdefault(step.examination, []).append(step.at)
    for times in taken.values():
        assert len(times) <= keys.maximum
        assert all(b - a >= keys.seconds_between for a, b in itertools.pairwise(times))


@given(histories(), histories(), KEYS)
def test_what_was_seen_in_one_examination_changes_nothing_in_the_next(first, second, keys):
    renamed = [
        Step(step.at + 1000.0, step.positive, None if step.examination is None else f"other {step.examination}")
        for step in second
    ]
    assert run([*first, *renamed], keys)[len(first) :] == run(renamed, keys)


@given(histories(), KEYS)
def test_no_positive_frame_is_left_out_without_a_reason(steps, keys):
    """What is refused as too soon or as too many truly is."""
    taken: dict[str | None, list[float]] = {}
    for step, outcome in zip(steps, run(steps, keys), strict=True):
        times = taken.setdefault(step.examination, [])
        if outcome == TAKE:
            times.append(step.at)
        elif outcome == "maximum":
            assert len(times) == keys.maximum
        elif outcome == "too_soon":
            assert times and step.at - times[-1] < keys.seconds_between


def test_one_that_could_not_be_stored_does_not_count_towards_the_maximum():
    keys = KeyFrames(seconds_between=0, results=1, maximum=1)
    seen, outcome = consider(Seen(), keys, "a", True, 1.0)
    assert outcome == TAKE
    assert consider(seen, keys, "a", True, 2.0)[1] == "maximum"
    assert consider(give_back(seen, "a"), keys, "a", True, 2.0)[1] == TAKE
    assert give_back(seen, "b") == seen
    assert give_back(Seen("a"), "a").taken == 0


def finding(stage, label, answer, box=None):
    return Finding(stage, label, Code("1", "SCT", "Polyp"), answer, 0.5, 0.5, (), box)


PLACE = Box((0, 1, 1), (1, 5, 5))


@pytest.mark.parametrize(
    ("findings", "when", "candidate"),
    [
        ([("view", "informative", Answer.POSITIVE, None)], None, False),
        ([("polyps", "polyp", Answer.POSITIVE, PLACE)], None, True),
        ([("polyps", "polyp", Answer.NEGATIVE, PLACE)], None, False),
        ([("view", "informative", Answer.POSITIVE, None)], "view.informative.positive", True),
        ([("polyps", "polyp", Answer.POSITIVE, PLACE)], "view.informative.positive", False),
        ([("polyps", "polyp", Answer.NEGATIVE, None)], "polyps.polyp.negative", True),
        ([("polyps", "polyp", Answer.NOT_EVALUATED, None)], "polyps.polyp.negative", False),
        ([], "polyps.polyp.negative", False),
    ],
)
def test_a_frame_is_a_candidate_by_the_answer_that_is_asked_for_and_never_by_a_missing_one(findings, when, candidate):
    assert is_candidate([finding(*each) for each in findings], when) is candidate
