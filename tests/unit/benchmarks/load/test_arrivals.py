"""Moments of arrival, against the distributions they are to have, and what a load may say."""

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.load.arrivals import QUOTED_PERCENTILE, Load, Mode, fixed_rate, moments, poisson

RATES = st.floats(0.01, 10_000)
OPEN = [Mode.SERVER, Mode.FIXED_RATE]
CLOSED = [Mode.SINGLE_STREAM, Mode.MULTI_STREAM]


def gaps(found):
    return np.diff(np.fromiter(found, np.float64))


def test_the_gaps_of_poisson_arrivals_are_exponential():
    found = gaps(islice(poisson(250.0, seed=7), 20_001))
    assert found.mean() == pytest.approx(1 / 250, rel=4 / np.sqrt(20_000)), "within four standard errors"
    assert stats.kstest(found, "expon", args=(0, 1 / 250)).pvalue > 0.01


def test_the_numbers_of_poisson_arrivals_in_equal_times_scatter_as_poisson_counts_do():
    found = np.fromiter(islice(poisson(50.0, seed=3), 50_000), np.float64)
    counts = np.bincount(found.astype(int))[:-1]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / len(counts)))


def test_the_canary_gaps_of_a_camera_do_not_pass_for_exponential_ones():
    found = gaps(islice(fixed_rate(250.0), 20_001))
    assert stats.kstest(found, "expon", args=(0, 1 / 250)).pvalue < 1e-6


@given(RATES, st.integers(0, 2**32 - 1))
def test_poisson_arrivals_are_of_their_seed_begin_at_zero_and_never_go_back(rate, seed):
    found = list(islice(poisson(rate, seed), 50))
    assert found == list(islice(poisson(rate, seed), 50))
    assert found != list(islice(poisson(rate, seed + 1), 50))
    assert found[0] == 0 and all(a <= b for a, b in pairwise(found))


@given(RATES, st.integers(1, 32), st.integers(1, 20))
def test_cameras_each_keep_their_rate_and_are_evenly_offset(rate, streams, frames):
    found = np.fromiter(islice(fixed_rate(rate, streams), streams * frames), np.float64)
    by_camera = found.reshape(frames, streams)
    assert np.allclose(by_camera, np.arange(frames)[:, None] / rate + np.arange(streams) / (rate * streams))


def test_an_hour_of_frames_does_not_drift():
    assert next(islice(fixed_rate(30.0), 108_000, None)) == 3600.0


@given(st.sampled_from(OPEN), RATES, st.integers(0, 200), st.floats(0, 0.5))
def test_the_last_arrival_is_the_first_with_which_both_minima_are_reached(mode, rate, queries, seconds):
    if not queries and not seconds:
        return
    load = Load(mode, queries=queries, seconds=min(seconds, 300 / rate), rate=rate)
    found = list(moments(load))
    assert load.enough(len(found), found[-1])
    assert not any(load.enough(number, moment) for number, moment in enumerate(found[:-1], start=1))


@given(st.integers(0, 100), st.floats(0, 100), st.integers(1, 100), st.floats(0, 100))
def test_both_minima_must_be_reached(queries, seconds, counted, elapsed):
    if queries or seconds:
        load = Load(Mode.SINGLE_STREAM, queries=queries, seconds=seconds)
        assert load.enough(counted, elapsed) == (counted >= queries and elapsed >= seconds)


@pytest.mark.parametrize("mode", CLOSED)
def test_the_system_sets_the_pace_of_a_closed_loop(mode):
    with pytest.raises(ValueError, match=f"rate: {mode.value} has none"):
        Load(mode, queries=1, rate=10)


@pytest.mark.parametrize("mode", OPEN)
@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan"), None])
def test_an_open_loop_has_a_rate(mode, rate):
    with pytest.raises(ValueError, match="rate: "):
        Load(mode, queries=1, rate=rate)


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("queries, seconds", {}),
        ("queries", {"queries": -1}),
        ("seconds", {"queries": 1, "seconds": float("nan")}),
        ("seconds", {"seconds": float("inf")}),
        ("warm_up_queries", {"queries": 1, "warm_up_queries": -1}),
        ("give_up_seconds", {"queries": 1, "give_up_seconds": 0}),
        ("samples_per_query", {"queries": 1, "samples_per_query": 2}),
        ("samples_per_query, streams", {"queries": 1, "samples_per_query": 0}),
        ("streams", {"queries": 1, "streams": 2}),
        ("queries, seconds", {"queries": 2, "mode": Mode.OFFLINE}),
        ("queries, seconds", {"seconds": 1, "mode": Mode.OFFLINE}),
    ],
)
def test_a_load_that_does_not_fit_names_the_key(key, keys):
    with pytest.raises(ValueError, match=f"^{key}: "):
        Load(**{"mode": Mode.SINGLE_STREAM, **keys})


def test_an_offline_load_is_one_query_of_all_its_samples():
    assert Load(Mode.OFFLINE, samples_per_query=24_576) == Load(Mode.OFFLINE, 0, samples_per_query=24_576)


def test_the_percentile_that_is_quoted_is_that_of_loadgen():
    assert set(QUOTED_PERCENTILE) == set(Mode)
    assert [QUOTED_PERCENTILE[mode] for mode in (Mode.SINGLE_STREAM, Mode.SERVER, Mode.OFFLINE)] == [90, 99, None]
