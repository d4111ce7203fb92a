"""Histograms of float32 values whose bins are the same share of a value wide everywhere, and the ranges read from them.

The upper 16 bits of a float32 (sign, exponent, 7 bits of mantissa: a bfloat16) are the bin: 128 bins an octave, so a
range is exact to 1 %. Such a histogram has the same size for every tensor, needs no range beforehand, and one outlier
does not squeeze all other values into a few bins.
"""

from __future__ import annotations

import numpy as np

from edge_runtime.domain import Array

_OCTAVES = range(-32, 32)  # powers of two; what is nearer to 0 counts as 0
_FIRST, _LAST = ((127 + exponent) << 7 for exponent in (_OCTAVES.start, _OCTAVES.stop))
_MAGNITUDES = (np.arange(_FIRST, _LAST + 1, dtype=np.uint32) << 16).view(np.float32).astype(np.float64)
EDGES = np.concatenate([-_MAGNITUDES[::-1], _MAGNITUDES])
"""Of the bins, ascending; the middle bin holds 0."""
BINS = len(EDGES) - 1
_MIDDLE = BINS // 2
_CHUNK = 1 << 20  # values at a time, so that counting needs little memory of its own

_LEVELS = 128  # of an INT8 magnitude
_BINS_PER_LEVEL = 16
_CANDIDATES = 2.0 ** -(np.arange(80) / 8)  # of the threshold, as shares of the largest magnitude


def count(values: Array) -> Array:
    """How many of the float32 `values`, of any shape, are in each bin: int64 of shape (BINS,)."""
    bits = np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint32)
    found = np.zeros(1 << 16, dtype=np.int64)
    for start in range(0, bits.size, _CHUNK):
        found += np.bincount(bits[start : start + _CHUNK] >> 16, minlength=1 << 16)
    positive, negative = found[: 1 << 15], found[1 << 15 :]
    zero = positive[:_FIRST].sum() + negative[:_FIRST].sum()
    positive, negative = (np.append(half[_FIRST : _LAST - 1], half[_LAST - 1 :].sum()) for half in (positive, negative))
    return np.concatenate([negative[::-1], [zero], positive])


def percentile_range(counts: Array, percentile: float) -> tuple[float, float]:
    """The smallest bins between which `percentile` percent of the values are, half of the rest on either side."""
    share = np.cumsum(counts) / counts.sum()
    outside = (1 - percentile / 100) / 2
    last = min(int(np.searchsorted(share, 1 - outside)), BINS - 1)
    return float(EDGES[np.searchsorted(share, outside, side="right")]), float(EDGES[last + 1])


def entropy_threshold(counts: Array, largest: float) -> float:
    """The magnitude at which to clip so that INT8 loses least information (Kullback-Leibler divergence).

    Migacz, "8-bit Inference with TensorRT", GTC 2017, with thresholds at equal ratios instead of equal distances, so
    that an outlier hides none of them. Values that are exactly 0 are left out: INT8 keeps them exactly.
    """
    magnitudes = (counts[_MIDDLE + 1 :] + counts[:_MIDDLE][::-1]).astype(np.float64)
    if not magnitudes.any():
        return largest
    below = np.concatenate([[0.0], np.cumsum(magnitudes)])
    thresholds = largest * _CANDIDATES
    edges = thresholds[:, None] * np.linspace(0, 1, _LEVELS * _BINS_PER_LEVEL + 1)
    inside = np.diff(np.interp(edges, _MAGNITUDES, below), axis=1)
    original = inside.copy()
    original[:, -1] += below[-1] - inside.sum(axis=1)
    divergences = _divergence(original, _quantized(inside))
    return float(thresholds[np.argmin(divergences)])


def _quantized(inside: Array) -> Array:
    """Every level's values spread evenly over those of its bins that held any; rows are thresholds."""
    levels = inside.reshape(len(inside), _LEVELS, _BINS_PER_LEVEL)
    used = levels > 0
    mean = levels.sum(axis=2, keepdims=True) / np.maximum(used.sum(axis=2, keepdims=True), 1)
    return np.where(used, mean, 0.0).reshape(inside.shape)


def _divergence(original: Array, other: Array) -> Array:
    """Kullback-Leibler divergence of each row; infinite where `other` holds nothing."""
    total = other.sum(axis=1, keepdims=True)
    p = original / original.sum(axis=1, keepdims=True)
    q = np.maximum(other / np.where(total > 0, total, 1.0), 1e-12)
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0) / q), 0.0)
    return np.where(total[:, 0] > 0, terms.sum(axis=1), np.inf)


def linear(counts: Array, low: float, high: float, bins: int) -> tuple[Array, Array]:
    """The same histogram in `bins` equally wide bins from `low` to `high`: their edges and counts, for a plot."""
    edges = np.linspace(low, high, bins + 1)
    below = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    return edges, np.diff(np.interp(edges, EDGES, below))
