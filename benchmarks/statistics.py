"""Medians, percentiles and bootstrap intervals. Pure, with a fixed seed: the same samples give the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 20_260_101
MINIMUM_ROUNDS = 3
"""Fewer samples give a figure and no verdict."""
MINIMUM_TO_COMPARE = 5
"""Of each run. With 5 and 5, chance alone separates two equal runs completely in 2 of 252 cases."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval (Efron 1979)."""

    low: float
    high: float


class Verdict(Enum):
    """What the samples say of a target."""

    MET = "met"
    NOT_MET = "not met"
    WITHIN_NOISE = "within noise"
    TOO_FEW = "too few samples"


@dataclass(frozen=True)
class Target:
    """A bound for the median: at least it, or at most. `aim` is what is hoped for beyond the bound."""

    bound: float
    at_least: bool
    aim: float | None = None


def percentile(samples: Sequence[float], percent: float) -> float:
    """The sample at trtexec's index, n - 1 - floor((100 - percent) / 100 * n), at least 0; MLPerf's LoadGen agrees.

    Raises:
        ValueError: there is no sample, or `percent` is not within 0 to 100.
    """
    if not samples or not 0 <= percent <= 100:
        raise ValueError(f"a percentile is of at least one sample and within 0..100, got {len(samples)}, {percent}")
    above = math.floor((100 - Fraction(str(percent))) * len(samples) / 100)  # of 1000, one is above p99.9
    index = len(samples) - 1 - above
    return sorted(samples)[max(index, 0)]


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle."""
    return float(np.median(np.asarray(samples, np.float64)))


def median_interval(samples: Sequence[float]) -> Interval:
    """The bootstrap interval of the median."""
    return _interval(_resampled_medians(samples, np.random.default_rng(SEED)))


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """The bootstrap interval of median(numerators) / median(denominators), from runs that were not interleaved."""
    generator = np.random.default_rng(SEED)
    return _interval(_resampled_medians(numerators, generator) / _resampled_medians(denominators, generator))


def paired_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """One ratio a round, of the rounds that both have."""
    return [a / b for a, b in zip(numerators, denominators, strict=False)]


def verdict(samples: Sequence[float], target: Target) -> Verdict:
    """Met or not met only where the whole interval of the median lies on that side of the bound."""
    if len(samples) < MINIMUM_ROUNDS:
        return Verdict.TOO_FEW
    interval = median_interval(samples)
    worst, best = (interval.low, interval.high) if target.at_least else (-interval.high, -interval.low)
    bound = target.bound if target.at_least else -target.bound
    if worst >= bound:
        return Verdict.MET
    return Verdict.NOT_MET if best < bound else Verdict.WITHIN_NOISE


def _resampled_medians(samples: Sequence[float], generator: np.random.Generator) -> Floats:
    values = np.asarray(samples, np.float64)
    chosen = generator.integers(0, len(values), (RESAMPLES, len(values)))
    return np.median(values[chosen], axis=1)


def _interval(values: Floats) -> Interval:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))
