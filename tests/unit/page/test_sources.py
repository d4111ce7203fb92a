"""What the page says of sources, from the metrics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.live_pages import live_config

from edge_runtime.metrics import CONNECT_OUTCOMES, METRICS, SOURCE_STATES, label_values
from edge_runtime.page.sources import REASONS, FrameRates, InTimeShares, source_states, video_facts
from edge_runtime.telemetry import exposition as telemetry
from edge_runtime.telemetry.exposition import Exposition


@pytest.fixture
def exposition(tmp_path):
    return Exposition(METRICS, label_values(live_config(tmp_path, "a", "b")))


def states(source, state):
    return [("edge_video_state", (source, one), float(one == state)) for one in SOURCE_STATES]


def facts_of(exposition, *names):
    return video_facts(exposition, names, FrameRates(), InTimeShares(), 100.0)


def test_a_source_is_in_the_state_that_its_process_says_and_down_without_it(exposition):
    exposition.update("capture:a", [*states("a", "lagging"), ("edge_video_last_frame_timestamp_seconds", ("a",), 90.0)])
    exposition.update("infer", [("edge_video_frames_total", ("a", "in_time"), 5.0)])
    exposition.update("live", [("edge_examination_open", ("a",), 1.0), ("edge_examination_open", ("b",), 0.0)])
    assert source_states(exposition) == {"a": "lagging"}
    found = facts_of(exposition, "a", "b")
    assert (found["a"].state, found["a"].last_frame_at, found["a"].examination_open) == ("lagging", 90.0, True)
    assert found["a"].frames["in_time"] == 5 and found["a"].frames["late"] == 0
    assert (found["b"].state, found["b"].last_frame_at, found["b"].examination_open) == ("down", None, False)
    exposition.ended("capture:a")
    gone = facts_of(exposition, "a")["a"]
    assert (gone.state, gone.frames["in_time"]) == ("down", 5)


@given(st.floats(1, 100), st.lists(st.floats(0.3, 2.0), min_size=3, max_size=40))
def test_a_steady_rate_is_found_however_unevenly_it_is_read(rate, steps):
    rates, now = FrameRates(), 1000.0
    found = None
    for step in steps:
        now += step
        found = rates.read("a", rate * (now - 1000.0), now, now + 0.2)
    assert found == pytest.approx(rate, abs=0.06)


def test_a_rate_is_of_the_last_seconds_and_nothing_when_nothing_comes():
    rates = FrameRates(window_seconds=10.0, silent_seconds=3.0)
    assert rates.read("a", 0.0, None, 0.0) == 0.0
    assert rates.read("a", 10.0, 1.0, 1.0) is None
    for second in range(2, 30):
        found = rates.read("a", 10.0 + 10 * second, float(second), float(second))
    assert found == 10.0
    for second in range(30, 60):
        found = rates.read("a", 310.0 + 20 * (second - 30), float(second), float(second))
    assert found == 20.0
    assert rates.read("a", 900.0, 59.0, 62.5) == 0.0


def test_a_clock_that_is_set_back_begins_anew():
    rates = FrameRates()
    rates.read("a", 0.0, 1000.0, 1000.0)
    rates.read("a", 25.0, 1001.0, 1001.0)
    assert rates.read("a", 50.0, 500.0, 500.0) is None
    assert rates.read("a", 75.0, 501.0, 501.0) == 25.0


def test_a_source_that_is_connecting_says_how_its_last_attempt_ended(exposition, monkeypatch):
    assert set(REASONS) == set(CONNECT_OUTCOMES) and len(set(REASONS.values())) == len(REASONS)
    exposition.update("capture:a", states("a", "connecting"))
    assert facts_of(exposition, "a")["a"].reason == "the first attempt is under way"
    counts = dict.fromkeys(CONNECT_OUTCOMES, 0.0)
    for second, outcome in enumerate(
        ["refused", "opened", "timeout", "not_found", "no_video", "broken", "ended", "refused"]
    ):
        monkeypatch.setattr(telemetry.time, "time", lambda second=second: 50.0 + second)
        counts[outcome] += 1
        exposition.update("capture:a", [("edge_video_connects_total", ("a", one), n) for one, n in counts.items()])
        assert facts_of(exposition, "a")["a"].reason == REASONS[outcome]
    exposition.update("capture:a", states("a", "live"))
    assert facts_of(exposition, "a")["a"].reason == ""  # that was before


def test_a_share_is_of_the_frames_that_came_to_an_end_between_two_readings():
    shares = InTimeShares(window_seconds=4.0, remembered_seconds=60.0)
    assert shares.read("a", 900.0, 900.0, 0.0) is None
    assert shares.read("a", 900.0, 900.0, 1.0) is None  # nothing came to an end
    assert shares.read("a", 915.0, 950.0, 2.0) == 0.3
    assert shares.read("b", 5.0, 10.0, 2.0) is None
    for second in range(3, 9):
        found = shares.read("a", 915.0, 950.0 + 25 * second, float(second))
    assert found == 0.0  # what was before the window is forgotten
    assert shares.read("a", 5000.0, 5000.0, 100.0) is None  # so is what was long ago
    assert shares.read("a", 5000.0, 5010.0, 50.0) is None  # the clock was set back
    assert shares.read("a", 5009.0, 5020.0, 51.0) == 0.9


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0.1, 90.0)), min_size=2, max_size=30))
def test_a_share_is_between_none_and_all_however_it_is_read(steps):
    shares, good, ended, now = InTimeShares(), 0, 0, 0.0
    for in_time, missed, seconds in steps:
        good, ended, now = good + in_time, ended + in_time + missed, now + seconds
        found = shares.read("a", float(good), float(ended), now)
        assert found is None or 0.0 <= found <= 1.0
        assert found in (None, 1.0) or good < ended


def test_frames_that_nobody_began_are_in_no_share(exposition):
    def count(**outcomes):
        exposition.update("infer", [("edge_video_frames_total", ("a", one), float(n)) for one, n in outcomes.items()])
        return video_facts(exposition, ["a"], FrameRates(), shares, 100.0)["a"].in_time_share

    shares = InTimeShares()
    assert count(captured=5) is None
    assert count(captured=110, superseded=50, in_time=30, late=5, dropped=20, failed=3, overtaken=2) == 0.5
