"""Lines about long work: not too many, and none that promises what it cannot know."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.progress import EVERY_SECONDS, Progress, duration, how_far, seconds_left

SECONDS = st.floats(0, 1e6)
UNITS = {"s": 1, "min": 60, "h": 3600}


class Clock:
    """Time goes on only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def said_by(seconds_an_item, count, known=True):
    """What is said of `count` items that each take so long."""
    lines, clock = [], Clock()
    progress = Progress(lines.append, clock)
    for _ in progress.steps("calibrating", range(count), count if known else None):
        clock.now += seconds_an_item
    return lines


def test_quick_work_says_nothing():
    assert said_by(0.01, 100) == []


def test_slow_work_says_how_far_it_is_and_how_long_it_still_takes():
    assert said_by(2.0, 4) == [
        "calibrating: 1 of 4, about 6 s left",
        "calibrating: 2 of 4, about 4 s left",
        "calibrating: 3 of 4, about 2 s left",
    ]


def test_work_of_unknown_length_promises_no_time():
    assert said_by(2.0, 3, known=False) == ["calibrating: 1 done", "calibrating: 2 done"]


@given(seconds=st.floats(0.01, 30), count=st.integers(1, 60))
def test_no_two_lines_come_sooner_than_promised(seconds, count):
    assert len(said_by(seconds, count)) <= seconds * count / EVERY_SECONDS + 1e-6


def test_the_items_come_as_they_are_and_only_when_asked_for():
    taken = []
    items = Progress(print).steps("reading", (taken.append(i) or i for i in range(3)), 3)
    assert next(items) == 0 and taken == [0]
    assert list(items) == [1, 2]


def test_a_step_is_said_and_timed_even_where_it_fails():
    lines, clock = [], Clock()
    progress = Progress(lines.append, clock)
    with pytest.raises(ZeroDivisionError), progress.step("exporting"):
        clock.now += 3
        raise ZeroDivisionError
    with progress.step("exporting"):
        clock.now += 1
    assert lines == ["exporting", "exporting"] and progress.seconds == {"exporting": 4.0}


@given(done=st.integers(1, 10**6), more=st.integers(0, 10**6), seconds=SECONDS)
def test_the_rest_goes_on_at_the_pace_so_far(done, more, seconds):
    left = seconds_left(done, done + more, seconds)
    assert math.isclose(left * done, seconds * more, rel_tol=1e-9, abs_tol=1e-6)


@pytest.mark.parametrize(("done", "count"), [(0, 5), (6, 5), (3, None)])
def test_what_cannot_be_known_is_not_estimated(done, count):
    assert seconds_left(done, count, 10.0) is None
    assert how_far(done, count, 10.0) == f"{done} done"


@given(seconds=SECONDS)
def test_a_duration_is_rounded_up_and_not_by_much(seconds):
    words = duration(seconds).split()
    told = sum(int(number) * UNITS[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert seconds <= told
    assert told - seconds <= max(5, seconds)
    assert told - seconds <= 600


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (7.2, "8 s"), (38, "40 s"), (56, "1 min"), (61, "2 min"), (3590, "1 h"), (4700, "1 h 20 min")],
)
def test_a_duration_reads_as_a_person_says_it(seconds, text):
    assert duration(seconds) == text
