"""A stream's time stamps on our clock: never in the future, drift is followed, lag is seen."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_runtime.capture.clock import DRIFT, JUMP_SECONDS, LATE_SECONDS, YOUNG_DRIFT, YOUNG_SECONDS, Pace, StreamClock

times = st.floats(0, 1e6, allow_nan=False)
delays = st.lists(st.floats(0, 3), min_size=1, max_size=60)


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e6, 1e6)), times)))
def test_whatever_the_stamps_say_no_frame_is_from_the_future(frames):
    clock = StreamClock()
    for stamp, arrived_at in frames:
        assert clock.captured_at(stamp, arrived_at) <= arrived_at


@given(delays, st.floats(-1e5, 1e5))
def test_a_frame_is_as_late_as_it_came_after_the_least_delayed_one_before_it(waits, offset):
    clock, arrived_at, least = StreamClock(), 0.0, 9.0
    for number, wait in enumerate(waits):
        stamp = number * 0.04
        arrived_at = max(arrived_at, 1e3 + stamp + wait)  # no frame overtakes another
        delay = arrived_at - 1e3 - stamp
        least = min(least, delay)
        late = arrived_at - clock.captured_at(stamp + offset, arrived_at)
        drifted = YOUNG_DRIFT * min(arrived_at - 1e3, YOUNG_SECONDS) + DRIFT * (arrived_at - 1e3) + 1e-6
        assert delay - least - drifted <= late <= delay - least + 1e-6


@given(st.floats(-0.0004, 0.0004))
def test_a_clock_that_drifts_as_crystals_do_makes_no_lag(drift):
    clock = StreamClock()
    for number in range(5000):
        now = number * 0.04
        assert now - clock.captured_at(now * (1 + drift), now) < 0.001


def test_a_lag_that_grows_slowly_is_seen():
    clock = StreamClock()
    late = [t - clock.captured_at(0.98 * t, t) for t in range(120)]
    assert late[-1] == pytest.approx((119 - YOUNG_SECONDS) * (0.02 - DRIFT), rel=0.02)


def test_stamps_that_settle_in_the_first_seconds_leave_no_lag():
    clock = StreamClock()
    late = []
    for number in range(200):
        now = 0.04 * number
        late.append(now - clock.captured_at(now - min(0.1, 0.1 * now), now))
    assert max(late[50:]) < 0.001


def test_stamps_that_are_set_anew_in_a_steady_stream_leave_its_frames_as_young_as_they_are():
    clock = StreamClock()
    assert clock.captured_at(100.0, 10.0) == 10.0
    assert clock.captured_at(100.04, 10.04) == pytest.approx(10.04)
    assert clock.captured_at(0.0, 10.08) == pytest.approx(10.08), "back"
    assert clock.captured_at(5000.0, 10.12) == pytest.approx(10.12), "and ahead"
    assert clock.captured_at(5000.04, 10.16) == pytest.approx(10.16)


def test_stamps_that_are_set_anew_after_a_pause_make_an_old_frame_no_younger_for_long_enough_to_see_it():
    clock = StreamClock()
    clock.captured_at(100.0, 10.0)
    assert clock.captured_at(0.0, 11.0) == pytest.approx(10.04)
    late = [11.0 + t - clock.captured_at(t, 11.0 + t) for t in (0.04 * n for n in range(1, 200))]
    assert late[0] > 0.9 and late[-1] < 0.01, "a source that is fresh after all is known to be within seconds"


@given(
    st.floats(0.5, 5), st.integers(1, 40), st.floats(-1e4, 1e4).filter(lambda step: abs(step) > 0.6),
    st.sampled_from([0.02, 0.04, 0.1]),
)  # fmt: skip
def test_in_a_backlog_no_step_of_the_stamps_makes_an_old_frame_look_fresh(pause, at, step, frame_seconds):
    """Frames held back for `pause` come all at once; at one of them the stamps are set anew.

    Not at the first by about as much as the pause: that is a camera that was away, and is back.
    """
    assume(at > 1 or not 0 < step <= pause + JUMP_SECONDS)
    clock = StreamClock()
    for number in range(300):
        clock.captured_at(number * frame_seconds, number * frame_seconds)
    last = 299 * frame_seconds
    for number in range(1, round(pause / frame_seconds)):
        drawn_at = last + number * frame_seconds
        stamp = drawn_at + (step if number >= at else 0.0)
        arrived_at = last + pause + 0.001 * number
        claimed = clock.captured_at(stamp, arrived_at)
        assert claimed <= drawn_at + frame_seconds + LATE_SECONDS + YOUNG_DRIFT * 0.001 * number + 1e-6


def test_what_comes_after_a_pause_in_the_first_seconds_is_known_to_be_old():
    clock = StreamClock()
    for number in range(10):
        clock.captured_at(0.04 * number, 0.04 * number)
    assert clock.captured_at(0.40, 2.4) < 0.45


def test_a_frame_that_lost_its_stamp_is_not_younger_than_the_one_before_it():
    clock = StreamClock()
    assert clock.captured_at(None, 9.0) == 9.0, "a stream without stamps has only arrivals"
    clock.captured_at(0.0, 10.0)
    assert clock.captured_at(None, 12.0) == 10.0


def test_a_file_is_paced_by_its_stamps_from_when_it_began():
    pace = Pace(0.04)
    assert [pace.due_at(stamp, 100.0) for stamp in (5.0, 5.04, 6.0)] == pytest.approx([100.0, 100.04, 101.0])
    assert pace.due_at(None, 100.0) == pytest.approx(101.04), "without a stamp it is the next by the rate"
    assert pace.due_at(0.0, 200.0) == 200.0, "it begins anew"
    pace.restart()
    assert pace.due_at(1.0, 300.0) == 300.0
