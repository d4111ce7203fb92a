"""What the page says of sources, from the metrics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.live_pages import live_config

from edge_runtime.metrics import METRICS, SOURCE_STATES, label_values
from edge_runtime.page.sources import FrameRates, source_states, video_facts
from edge_runtime.telemetry.exposition import Exposition


@pytest.fixture
def exposition(tmp_path):
    return Exposition(METRICS, label_values(live_config(tmp_path, "a", "b")))


def states(source, state):
    return [("edge_video_state", (source, one), float(one == state)) for one in SOURCE_STATES]


def test_a_source_is_in_the_state_that_its_process_says_and_down_without_it(exposition):
    exposition.update("capture:a", [*states("a", "lagging"), ("edge_video_last_frame_timestamp_seconds", ("a",), 90.0)])
    exposition.update("infer", [("edge_video_frames_total", ("a", "in_time"), 5.0)])
    exposition.update("live", [("edge_examination_open", ("a",), 1.0), ("edge_examination_open", ("b",), 0.0)])
    assert source_states(exposition) == {"a": "lagging"}
    found = video_facts(exposition, ["a", "b"], FrameRates(), 100.0)
    assert (found["a"].state, found["a"].last_frame_at, found["a"].examination_open) == ("lagging", 90.0, True)
    assert found["a"].frames["in_time"] == 5 and found["a"].frames["late"] == 0
    assert (found["b"].state, found["b"].last_frame_at, found["b"].examination_open) == ("down", None, False)
    exposition.ended("capture:a")
    gone = video_facts(exposition, ["a"], FrameRates(), 100.0)["a"]
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
