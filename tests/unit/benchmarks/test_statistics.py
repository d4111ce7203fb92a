"""Medians, percentiles and bootstrap intervals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics import (
    Target,
    Verdict,
    median,
    median_interval,
    paired_ratios,
    percentile,
    ratio_interval,
    verdict,
)

SAMPLES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=40)
BOUNDS = st.floats(0.001, 1e6)


@pytest.mark.parametrize(
    ("count", "percent", "expected"), [(100, 99, 99), (100, 90, 90), (10, 90, 9), (1000, 99.9, 999), (1, 99, 1)]
)
def test_a_percentile_is_the_sample_at_the_index_of_trtexec(count, percent, expected):
    """Of 1..n the p-th percentile leaves floor((100 - p) / 100 n) samples above."""
    assert percentile(range(1, count + 1), percent) == expected


@given(SAMPLES, st.floats(0, 100))
def test_a_percentile_is_one_of_the_samples_and_rises_with_percent(samples, percent):
    found = percentile(samples, percent)
    assert found in samples
    assert min(samples) <= percentile(samples, percent / 2) <= found <= percentile(samples, 100) == max(samples)


@pytest.mark.parametrize(("samples", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_a_percentile_of_nothing_or_beyond_its_range_is_refused(samples, percent):
    with pytest.raises(ValueError, match="percentile"):
        percentile(samples, percent)


@given(SAMPLES)
def test_the_interval_of_a_median_lies_within_the_samples_and_holds_the_median_of_equal_ones(samples):
    interval = median_interval(samples)
    assert min(samples) <= interval.low <= interval.high <= max(samples)
    same = median_interval([samples[0]] * len(samples))
    assert same.low == same.high == samples[0]


@given(SAMPLES)
def test_the_same_samples_give_the_same_interval(samples):
    assert median_interval(samples) == median_interval(samples)


def test_more_noise_widens_the_interval():
    calm, noisy = [10.0, 10.1, 9.9, 10.0, 10.05], [10.0, 14.0, 6.0, 12.0, 8.0]
    width = [i.high - i.low for i in map(median_interval, (calm, noisy))]
    assert width[1] > 5 * width[0]


@given(SAMPLES, st.floats(0.01, 100))
def test_the_ratio_of_scaled_samples_holds_the_scale(samples, scale):
    interval = ratio_interval([value * scale for value in samples], samples)
    assert interval.low * (1 - 1e-9) <= scale <= interval.high * (1 + 1e-9)


@given(st.lists(st.tuples(BOUNDS, BOUNDS), min_size=1))
def test_paired_ratios_are_those_of_each_round(pairs):
    ratios = paired_ratios([a for a, _ in pairs], [b for _, b in pairs])
    assert all(math.isclose(ratio * b, a) for ratio, (a, b) in zip(ratios, pairs, strict=True))


def test_a_round_that_only_one_side_has_makes_no_ratio():
    assert paired_ratios([2.0, 4.0], [1.0]) == [2.0]


@pytest.mark.parametrize(
    ("samples", "at_least", "expected"),
    [
        ([3.0, 3.1, 3.2], True, Verdict.MET),
        ([1.0, 1.1, 1.2], True, Verdict.NOT_MET),
        ([1.0, 2.0, 3.0], True, Verdict.WITHIN_NOISE),
        ([3.0, 3.1, 3.2], False, Verdict.NOT_MET),
        ([1.0, 1.1, 1.2], False, Verdict.MET),
        ([1.0, 2.0, 3.0], False, Verdict.WITHIN_NOISE),
        ([9.0, 9.0], True, Verdict.TOO_FEW),
        ([2.0, 2.0, 2.0], True, Verdict.MET),
        ([2.0, 2.0, 2.0], False, Verdict.MET),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side_of_the_bound(samples, at_least, expected):
    assert verdict(samples, Target(2.0, at_least)) is expected


@given(st.lists(BOUNDS, min_size=3, max_size=20), BOUNDS)
def test_at_least_and_at_most_never_both_hold_unless_all_is_on_the_bound(samples, bound):
    found = [verdict(samples, Target(bound, at_least)) for at_least in (True, False)]
    interval = median_interval(samples)
    if found == [Verdict.MET, Verdict.MET]:
        assert interval.low == interval.high == bound
    assert found != [Verdict.NOT_MET, Verdict.NOT_MET]


def test_the_median_of_an_even_count_is_the_middle():
    assert median([1.0, 2.0, 4.0, 8.0]) == 3.0
