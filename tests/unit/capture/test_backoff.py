"""Attempts go on for ever, ever more seldom, and not all sources at once."""

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.capture.backoff import FIRST_SECONDS, LONGEST_SECONDS, SOUND_SECONDS, Backoff, Said


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_each_wait_is_between_the_first_and_the_longest(chances):
    chance = iter(chances)
    backoff = Backoff(lambda: next(chance))
    waits = [backoff.wait_seconds(0.0) for _ in chances]
    assert all(0.75 * FIRST_SECONDS <= wait <= LONGEST_SECONDS for wait in waits)


def test_waits_double_and_begin_from_the_first_after_a_good_connection():
    backoff = Backoff(lambda: 0.0)
    assert [backoff.wait_seconds(0.0) for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert backoff.wait_seconds(SOUND_SECONDS) == 0.5
    assert backoff.wait_seconds(SOUND_SECONDS / 2) == 1.0, "a source that breaks off soon is no good one"


def test_the_same_failure_is_said_once_in_ten_minutes_and_another_at_once():
    said = Said()
    news = [said.is_news(failure, at) for failure, at in (("a", 0.0), ("a", 599.0), ("b", 599.0), ("a", 599.5))]
    assert news == [True, False, True, False]
    assert [said.is_news("a", at) for at in (600.0, 610.0, 1199.0, 1200.0)] == [True, False, False, True]
