"""What is decided before a stage, and before a frame is started."""

import math

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.metrics import DECISION_REASONS, DECISIONS
from edge_runtime.schedule.decision import Admission, Choice, admit, decide, reserve_for
from edge_runtime.schedule.estimates import Estimate

TIMES = st.floats(0.0, 1.0)
LEFT = st.floats(-1.0, 2.0)
ESTIMATE = st.builds(Estimate, TIMES, st.integers(0, 100), st.booleans())
OPTIONS = st.lists(ESTIMATE, min_size=1, max_size=4)
KINDS = st.fixed_dictionaries({"optional": st.booleans(), "droppable": st.booleans()})


def known(*times, probe=False):
    return [Estimate(seconds, 10, probe) for seconds in times]


def about(options, left, reserve=0.0, optional=False, droppable=True):
    return decide(options, left_seconds=left, reserve_seconds=reserve, optional=optional, droppable=droppable)


def test_the_names_are_those_of_the_metrics():
    assert tuple(choice.value for choice in Choice) == DECISIONS


@given(OPTIONS, st.none() | LEFT, TIMES, KINDS)
def test_reasons_are_those_of_the_metrics_and_a_variant_is_one_of_those_given(options, left, reserve, kinds):
    decision = decide(options, left_seconds=left, reserve_seconds=reserve, **kinds)
    assert decision.reason in DECISION_REASONS
    assert decision.variant in range(len(options))
    assert (decision.choice is Choice.CHEAPER) == (decision.variant > 0)
    assert decision.probe == (decision.reason == "probe")
    assert decision.text() and "\n" not in decision.text()


@given(OPTIONS, TIMES, KINDS)
def test_without_a_deadline_every_stage_runs_as_configured(options, reserve, kinds):
    decision = decide(options, left_seconds=None, reserve_seconds=reserve, **kinds)
    assert (decision.choice, decision.variant, decision.reason) == (Choice.RUN, 0, "no_deadline")


@given(OPTIONS, LEFT, TIMES, KINDS)
def test_what_fits_is_run(options, left, reserve, kinds):
    decision = decide(options, left_seconds=left, reserve_seconds=reserve, **kinds)
    fits = left > 0 and options[0].seconds + reserve <= left
    assert (decision.reason == "fits") == fits
    assert not fits or decision.choice is Choice.RUN


@given(OPTIONS, LEFT, TIMES, KINDS)
def test_a_probe_is_granted_only_where_the_stage_may_be_tried_and_would_not_fit(options, left, reserve, kinds):
    decision = decide(options, left_seconds=left, reserve_seconds=reserve, **kinds)
    if decision.probe:
        chosen = options[decision.variant]
        assert chosen.probe and left > 0 and chosen.seconds + reserve > left


@given(OPTIONS, LEFT, st.floats(0.0, 1.0), TIMES, st.booleans())
def test_with_more_time_left_a_frame_never_gets_less(options, left, more, reserve, optional):
    def rank(decision):
        low = {Choice.DROP: -2, Choice.SKIP: -1}
        return low.get(decision.choice, len(options) - decision.variant)

    assert rank(about(options, left, reserve, optional)) <= rank(about(options, left + more, reserve, optional))


@given(OPTIONS, LEFT, TIMES, st.booleans())
def test_a_study_is_never_dropped_and_its_mandatory_stages_always_run(options, left, reserve, optional):
    decision = about(options, left, reserve, optional, droppable=False)
    assert decision.choice is not Choice.DROP
    assert optional or decision.choice in (Choice.RUN, Choice.CHEAPER)


@given(OPTIONS, LEFT, TIMES)
def test_only_optional_stages_are_skipped(options, left, reserve):
    assert about(options, left, reserve, optional=False).choice is not Choice.SKIP


@given(OPTIONS, st.floats(-1.0, 0.0), TIMES, st.booleans())
def test_a_frame_that_is_late_is_dropped_whatever_the_stage(options, left, reserve, optional):
    decision = about(options, left, reserve, optional)
    assert (decision.choice, decision.reason) == (Choice.DROP, "too_late")


def test_a_late_study_runs_as_configured():
    decision = about(known(3.0, 1.0), -5.0, droppable=False)
    assert (decision.choice, decision.variant, decision.reason) == (Choice.RUN, 0, "too_late")


def test_the_first_cheaper_variant_that_fits_runs():
    decision = about(known(0.03, 0.02, 0.01), 0.025)
    assert (decision.choice, decision.variant, decision.reason) == (Choice.CHEAPER, 1, "too_slow")
    assert (decision.needed_seconds, decision.expected_seconds) == (0.03, 0.02)
    assert decision.text() == ("it needs about 0.03 s, the deadline leaves 0.025 s; cheaper variant 1 runs instead")


def test_time_that_later_stages_need_is_kept_for_them():
    decision = about(known(0.02), 0.03, reserve=0.02, optional=True)
    assert (decision.choice, decision.reason) == (Choice.SKIP, "reserved")
    assert decision.text() == "it needs about 0.02 s, the deadline leaves 0.03 s, and later stages need 0.02 s of it"


def test_what_is_too_slow_is_tried_where_nothing_is_known_of_late():
    decision = about(known(0.2, probe=True), 0.03, optional=True)
    assert (decision.choice, decision.reason) == (Choice.RUN, "probe")
    assert about(known(0.2), 0.03, optional=True).choice is Choice.SKIP
    assert about(known(0.2), 0.03).choice is Choice.DROP


def test_the_reserve_is_that_of_the_fastest_variants():
    assert math.isclose(reserve_for([known(0.03, 0.01), known(0.02)], 1.0), 0.03)
    assert reserve_for([], 0.0) == 0.0


def test_a_later_stage_that_may_be_tried_keeps_no_stage_before_it_from_running():
    slow = known(0.5, probe=True)
    assert reserve_for([slow, known(0.02)], 0.05) == 0.02
    assert reserve_for([known(0.01, probe=True), known(0.02)], 0.05) == 0.03


TIME = st.floats(0.0, 1.0)
STATE = st.fixed_dictionaries(
    {
        "age_seconds": st.floats(0.0, 2.0),
        "deadline_seconds": st.floats(0.01, 1.0),
        "own_seconds": TIME,
        "ahead_seconds": TIME,
        "in_flight": st.integers(0, 4),
        "depth": st.integers(1, 4),
        "probe": st.booleans(),
        "urgent_seconds": TIME,
        "capacity": st.integers(1, 3),
    }
)


@given(STATE)
def test_a_frame_past_its_deadline_is_never_started(state):
    if state["age_seconds"] >= state["deadline_seconds"]:
        assert admit(**state) is Admission.STALE


@given(STATE)
def test_with_nothing_in_flight_a_frame_is_started_whatever_the_estimates_say(state):
    state["in_flight"] = 0
    if state["age_seconds"] < state["deadline_seconds"]:
        assert admit(**state) is Admission.START


@given(STATE)
def test_beside_others_a_frame_is_started_only_where_all_can_be_in_time_or_as_a_probe(state):
    if state["in_flight"] > 0 and admit(**state) is Admission.START:
        left = state["deadline_seconds"] - state["age_seconds"]
        assert state["in_flight"] < state["depth"]
        if state["own_seconds"] > left:
            assert state["probe"]
        else:
            assert state["own_seconds"] + state["ahead_seconds"] / state["capacity"] <= left
            assert (state["own_seconds"] + state["ahead_seconds"]) / state["capacity"] <= state["urgent_seconds"]


@given(STATE, st.floats(0.0, 1.0))
def test_a_fresher_frame_never_has_worse_chances(state, fresher):
    rank = {Admission.STALE: 0, Admission.WAIT: 1, Admission.START: 2}
    state["probe"] = False
    better = {**state, "age_seconds": state["age_seconds"] - fresher}
    assert rank[admit(**state)] <= rank[admit(**better)]


def test_what_fits_behind_those_in_flight_is_started_and_what_does_not_waits_for_a_fresher_frame():
    state = {"deadline_seconds": 0.05, "own_seconds": 0.02, "in_flight": 1, "depth": 2, "probe": False}
    assert admit(age_seconds=0.005, ahead_seconds=0.02, **state) is Admission.START
    assert admit(age_seconds=0.015, ahead_seconds=0.02, **state) is Admission.WAIT
    assert admit(age_seconds=0.035, ahead_seconds=0.02, **state) is Admission.STALE
    assert admit(age_seconds=0.005, ahead_seconds=0.02, urgent_seconds=0.03, **state) is Admission.WAIT
