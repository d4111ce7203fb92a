"""Each frame without a result in time has one cause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.metrics import MISS_CAUSES
from edge_runtime.schedule.misses import Timeline, cause_of

TIME = st.floats(0.0, 1.0)


@given(st.builds(Timeline, TIME, TIME, st.lists(st.tuples(TIME, TIME), max_size=5)), st.floats(0.001, 1.0))
def test_a_cause_is_one_of_the_metrics(timeline, deadline):
    assert cause_of(timeline, deadline) in MISS_CAUSES


@pytest.mark.parametrize(
    ("timeline", "cause"),
    [
        (Timeline(0.045, 0.002, [(0.01, 0.01)]), "capture"),
        (Timeline(0.060, 0.000), "capture"),
        (Timeline(0.005, 0.040, [(0.01, 0.01)]), "waiting"),
        (Timeline(0.005, 0.002, [(0.05, 0.01), (0.01, 0.01)]), "stage"),
        (Timeline(0.005, 0.002, [(0.05, 0.01)]), "stage"),
        (Timeline(0.005, 0.002, [(0.03, 0.01), (0.03, 0.01), (0.01, 0.01)]), "contention"),
        (Timeline(0.005, 0.002, [(0.03, 0.03), (0.03, 0.03)]), "stage"),
        (Timeline(0.005, 0.002, [(0.01, 0.01)]), "decision"),
    ],
)
def test_the_cause_is_what_cost_most_beyond_what_was_expected(timeline, cause):
    assert cause_of(timeline, 0.05) == cause
