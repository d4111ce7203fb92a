"""Histograms with bins of equal relative width, and the ranges that are read from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.quantize import histogram

FLOATS = arrays.arrays(np.float32, st.integers(1, 200), elements=st.floats(-(2.0**20), 2.0**20, width=32))


@given(FLOATS)
def test_every_value_is_counted_in_the_bin_that_holds_it(values):
    counts = histogram.count(values)
    assert counts.shape == (histogram.BINS,)
    expected = np.zeros(histogram.BINS, dtype=np.int64)
    for value in values.astype(np.float64):
        side = "right" if value > 0 else "left"  # bins hold the edge that is nearer to 0
        expected[np.searchsorted(histogram.EDGES, value, side=side) - 1] += 1
    np.testing.assert_array_equal(counts, expected)


@given(FLOATS, FLOATS)
def test_histograms_of_parts_add_up(first, second):
    both = histogram.count(np.concatenate([first, second]))
    np.testing.assert_array_equal(both, histogram.count(first) + histogram.count(second))


def test_counting_goes_over_chunks_of_any_shape(monkeypatch):
    """A tensor larger than a chunk is counted whole."""
    values = np.random.default_rng(0).standard_normal((3, 5, 7)).astype(np.float32)
    whole = histogram.count(values)
    monkeypatch.setattr(histogram, "_CHUNK", 10)
    np.testing.assert_array_equal(histogram.count(values), whole)
    assert whole.sum() == values.size


def test_values_beyond_the_octaves_are_counted_in_the_outer_bins_and_tiny_ones_as_zero():
    counts = histogram.count(np.array([1e30, -1e30, 1e-30, -1e-30, 0.0, -0.0], dtype=np.float32))
    assert (counts[0], counts[-1], counts[histogram.BINS // 2]) == (1, 1, 4)


@given(FLOATS, st.floats(51, 100))
def test_a_percentile_range_covers_at_least_that_share(values, percentile):
    low, high = histogram.percentile_range(histogram.count(values), percentile)
    inside = np.count_nonzero((values >= low) & (values <= high))
    assert inside >= percentile / 100 * values.size - 1e-6


def test_a_percentile_is_exact_to_one_percent():
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    low, high = histogram.percentile_range(histogram.count(values), 99.0)
    expected = np.quantile(values, [0.005, 0.995])
    assert (low, high) == pytest.approx(tuple(expected), rel=0.01)


def test_an_outlier_leaves_the_percentile_of_the_others_exact():
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    values[7] = 1e6
    assert histogram.percentile_range(histogram.count(values), 99.9)[1] == pytest.approx(3.29, rel=0.02)


def test_entropy_clips_the_tail_near_where_the_error_is_least():
    """For a Laplace distribution the mean squared error of 8 bits is least near 10 times its scale."""
    values = np.random.default_rng(0).laplace(size=1_000_000).astype(np.float32)
    values[0] = 1000.0
    assert 7 < histogram.entropy_threshold(histogram.count(values), 1000.0) < 14


def test_entropy_keeps_evenly_spread_values():
    values = np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)
    assert histogram.entropy_threshold(histogram.count(values), 1.0) == pytest.approx(1.0, rel=0.1)


def test_entropy_of_zeros_alone_is_the_largest_magnitude():
    assert histogram.entropy_threshold(histogram.count(np.zeros(9, dtype=np.float32)), 0.0) == 0.0


def test_a_linear_histogram_holds_as_many_values():
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    edges, counts = histogram.linear(histogram.count(values), float(values.min()), float(values.max()), 50)
    assert len(edges) == 51
    np.testing.assert_allclose(counts, np.histogram(values, edges)[0], atol=25)
