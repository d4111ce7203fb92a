"""Percentiles of raw latencies, blocks of dependent samples, growth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.statistics import (
    MINIMUM_BLOCKS,
    block_ratio_interval,
    blocks,
    growth_exponent,
    median,
    percentile,
    percentile_interval,
    ratio_interval,
    summary,
)

KNOWN = {"exponential": stats.expon(scale=5.0), "uniform": stats.uniform(1.0, 2.0), "lognormal": stats.lognorm(0.8)}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(("percent", "count"), [(50, 101), (90, 200), (99, 1500)])
def test_the_interval_holds_the_percentile_of_a_known_distribution_as_often_as_it_says(name, percent, count):
    distribution, runs = KNOWN[name], 400
    truth = distribution.ppf(percent / 100)
    drawn = distribution.rvs((runs, count), random_state=np.random.default_rng(5))
    intervals = [percentile_interval(row.tolist(), percent) for row in drawn]
    held = sum(one.low <= truth <= one.high for one in intervals) / runs
    assert 0.92 <= held <= 0.995, "95 % within three deviations of 400 runs, and not so wide that it says nothing"


@pytest.mark.parametrize(("percent", "count"), [(50, 5), (99, 300), (99.9, 3000)])
def test_too_few_samples_for_an_interval_give_none(percent, count):
    assert percentile_interval([float(n) for n in range(count)], percent) is None


@given(st.integers(1, 3000), st.sampled_from([50.0, 90.0, 95.0, 99.0, 99.9]))
def test_percentiles_are_those_of_trtexec(count, percent):
    """sorted[max(n - 1 - int((1 - p / 100) * n), 0)], in exact arithmetic."""
    samples = list(range(count))
    index = max(count - 1 - int((1000 - round(10 * percent)) * count // 1000), 0)
    assert percentile(samples, percent) == samples[index]


def test_p99_9_is_withheld_below_ten_thousand_samples_and_told_from_there_on():
    samples = np.random.default_rng(1).exponential(1.0, 10_000).tolist()
    assert summary(samples[:-1])["p99.9"].value is None
    told = summary(samples)
    assert told["p99.9"].value == pytest.approx(stats.expon.ppf(0.999), rel=0.15)
    values = [one.value for one in told.values()]
    assert values == sorted(values), "percentiles rise, and the most is the last"
    assert told["max"].value == max(samples) and told["max"].interval is None


@given(st.lists(st.lists(st.floats(0.1, 100.0), max_size=200), min_size=1, max_size=8))
def test_blocks_keep_every_latency_once_and_in_order(rounds):
    pieces = blocks(rounds)
    assert [x for piece in pieces for x in piece] == [x for one in rounds for x in one]
    if sum(1 for one in rounds if one) >= MINIMUM_BLOCKS:
        assert len(pieces) == sum(1 for one in rounds if one)


def wandering(generator, rounds=8, count=60):
    """Latencies of which those of one round are alike: each round has its own level."""
    return [(10.0 + level + generator.normal(0, 0.1, count)).tolist() for level in generator.normal(0, 1.0, rounds)]


@pytest.mark.slow
def test_dependent_samples_of_equal_runs_rarely_look_different_and_independent_bootstrap_is_fooled():
    generator, runs = np.random.default_rng(3), 40
    by_blocks = by_samples = 0
    for _ in range(runs):
        a, b = wandering(generator), wandering(generator)
        whole = block_ratio_interval(b, a, 50.0)
        flat = ratio_interval([x for one in b for x in one][::8], [x for one in a for x in one][::8])
        by_blocks += not whole.low <= 1 <= whole.high
        by_samples += not flat.low <= 1 <= flat.high
    assert by_blocks <= 0.25 * runs
    assert by_samples > 2 * by_blocks


def test_a_real_difference_between_runs_is_seen_by_blocks():
    generator = np.random.default_rng(4)
    slower = [[x + 5.0 for x in one] for one in wandering(generator)]
    assert block_ratio_interval(slower, wandering(generator), 50.0).low > 1.2


@settings(max_examples=20)
@given(st.floats(-1.0, 2.0), st.floats(0.1, 50.0))
def test_the_exponent_of_a_power_law_is_found(exponent, scale):
    points = {float(n): [scale * n**exponent * spread for spread in (0.98, 1.0, 1.02)] for n in (1, 2, 4, 8, 16)}
    found, interval = growth_exponent(points)
    assert found == pytest.approx(exponent, abs=1e-9)
    assert interval.low <= found <= interval.high and interval.high - interval.low < 0.1


def test_growth_needs_two_sizes():
    with pytest.raises(ValueError, match="two sizes"):
        growth_exponent({1.0: [1.0]})


def test_the_median_of_an_exponential_is_found():
    assert median(stats.expon.rvs(size=20_001, random_state=1).tolist()) == pytest.approx(math.log(2), rel=0.03)
