"""How long a network takes: percentiles, and what is not told."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models import card, segmenter, write_card

from converters.measure.latency import measure, measure_in_turn, percentile, processor_name, summary
from edge_runtime.engines.card import read_card
from edge_runtime.errors import EngineRejected

SAMPLES = st.lists(st.floats(1e-6, 10), min_size=1, max_size=300)


@pytest.fixture
def tiny(tmp_path):
    return read_card(write_card(tmp_path, card("segmentation", (1, 1, 16, 16))))[0]


@given(samples=SAMPLES, percent=st.sampled_from(["0", "50", "90", "99", "99.9", "100"]))
def test_a_percentile_is_the_sample_at_trtexecs_index(samples, percent):
    ordered, n = sorted(samples), len(samples)
    assert percentile(ordered, percent) in ordered
    above = sum(1 for x in ordered[max(n - 1 - math.floor((100 - float(percent)) * n / 100 + 1e-9), 0) + 1 :])
    assert above <= (100 - float(percent)) * n / 100 + 1e-9


def test_of_a_thousand_samples_ten_are_above_p99_and_one_above_p99_9():
    ordered = [float(i) for i in range(1000)]
    assert (percentile(ordered, "99"), percentile(ordered, "99.9")) == (989.0, 998.0)


@given(samples=SAMPLES)
def test_a_summary_is_in_order(samples):
    found = summary(samples, "CPU", 2)
    told = [found.shortest_seconds, found.p50_seconds, found.p90_seconds, found.p99_seconds, found.longest_seconds]
    told = [value for value in told if value is not None]
    assert told == sorted(told) and found.runs == len(samples)


@pytest.mark.parametrize(("runs", "told"), [(9, 0), (10, 1), (99, 1), (100, 2), (9_999, 2), (10_000, 3)])
def test_a_percentile_of_too_few_runs_is_withheld(runs, told):
    found = summary([0.001] * runs, "CPU", 2)
    rare = [found.p90_seconds, found.p99_seconds, found.p999_seconds]
    assert [value is not None for value in rare] == [True] * told + [False] * (3 - told)


def test_nothing_measured_is_no_latency():
    with pytest.raises(ValueError, match="at least one run"):
        summary([], "CPU", 2)


def test_a_network_is_run_as_often_as_asked_and_the_processor_is_named(tiny):
    found = measure(tiny, segmenter((1, 1, 16, 16)), runs=12)
    assert found.runs == 12 and found.shortest_seconds > 0
    assert found.processor == processor_name() and found.threads >= 1


def test_networks_take_turns_and_slow_ones_stop_in_time(tiny):
    network = segmenter((1, 1, 16, 16))
    found = measure_in_turn(tiny, {"A": network, "B": network}, runs=1000, seconds=0.0)
    assert {name: latency.runs for name, latency in found.items()} == {"A": 5, "B": 5}


def test_a_network_that_does_not_load_is_refused(tiny):
    with pytest.raises(EngineRejected):
        measure(tiny, b"no network")
