"""Smooth random fields on a plane."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edge_runtime.domain import Array


@lru_cache(maxsize=64)
def _spline(size: int, knots: int, periodic: bool) -> Array:
    """Weights (size, knots), float32, of a uniform cubic B-spline."""
    at = np.arange(size) * (knots / size if periodic else (knots - 3) / size)
    first, t = np.floor(at).astype(int), at - np.floor(at)
    weights = np.zeros((size, knots), dtype=np.float32)
    taps = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for k, tap in enumerate(taps):
        weights[np.arange(size), (first + k) % knots] += tap / 6
    return weights


def smooth(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float], periodic: bool = True) -> Array:
    """A field, float32 with a deviation of about 1, that varies over `cell` rows and columns.

    With `periodic` its columns go on at the first after the last.
    """
    rows = max(4, round(shape[0] / cell[0]) + 3)
    columns = max(4, round(shape[1] / cell[1]) + (0 if periodic else 3))
    knots = rng.standard_normal((rows, columns), dtype=np.float32)
    field: Array = _spline(shape[0], rows, False) @ (knots @ _spline(shape[1], columns, periodic).T)
    field *= np.float32(2.1)  # a cubic B-spline of white noise has about this much less deviation
    return field
