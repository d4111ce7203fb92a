"""Medians, percentiles and bootstrap intervals. Pure, with a fixed seed: the same samples give the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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

TOLD_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}
SAMPLES_FOR = {"p99.9": 10_000}
"""A percentile is withheld below so many samples."""
MINIMUM_BLOCKS = 5
"""Blocks of raw latencies, of each run, below which two runs are not compared."""
_BLOCKS, _BLOCK_SAMPLES = 10, 20
_BLOCK_RESAMPLES = 2_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval (Efron 1979)."""

    low: float
    high: float


@dataclass(frozen=True)
class Quantile:
    """A percentile of latencies with its interval; `value` None: withheld, `interval` None: too few samples for one."""

    value: float | None
    interval: Interval | None


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


def percentile_interval(samples: Sequence[float], percent: float) -> Interval | None:
    """The 95 % interval of a percentile between two order statistics; it presumes independent samples, no distribution.

    (Hahn and Meeker 1991, Statistical Intervals, 5.2.) None where there are too few samples to bound it.
    """
    from scipy.stats import binom

    count, tail = len(samples), (1 - CONFIDENCE) / 2
    low, high = (int(binom.ppf(one, count, percent / 100)) for one in (tail, 1 - tail))  # ranks from 1: low, high + 1
    if low < 1 or high + 1 > count:
        return None
    ordered = sorted(samples)
    return Interval(ordered[low - 1], ordered[high])


def summary(samples: Sequence[float]) -> dict[str, Quantile]:
    """p50, p90, p95, p99 and p99.9 with intervals, and the most (`max`), which has none.

    Raises:
        ValueError: there is no sample.
    """
    told: dict[str, Quantile] = {}
    for name, percent in TOLD_PERCENTILES.items():
        if len(samples) < SAMPLES_FOR.get(name, 0):
            told[name] = Quantile(None, None)
        else:
            told[name] = Quantile(percentile(samples, percent), percentile_interval(samples, percent))
    return {**told, "max": Quantile(max(samples), None)}


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


def blocks(rounds: Sequence[Sequence[float]]) -> list[Floats]:
    """Raw latencies as the pieces of which chance is thought to choose: what follows on another is like it.

    Rounds are pieces where there are enough of them; else each is cut into consecutive pieces.
    """
    filled = [np.asarray(one, np.float64) for one in rounds if len(one)]
    if len(filled) >= MINIMUM_BLOCKS or not filled:
        return filled
    pieces = -(-_BLOCKS // len(filled))
    return [piece for one in filled for piece in np.array_split(one, max(1, min(pieces, len(one) // _BLOCK_SAMPLES)))]


def block_ratio_interval(
    numerators: Sequence[Sequence[float]], denominators: Sequence[Sequence[float]], percent: float
) -> Interval:
    """The bootstrap interval of a ratio of percentiles. Whole blocks are drawn (Kuensch 1989), as samples depend."""
    generator = np.random.default_rng(SEED)
    top, bottom = (_resampled_percentiles(one, percent, generator) for one in (numerators, denominators))
    return _interval(top / bottom)


def growth_exponent(points: Mapping[float, Sequence[float]]) -> tuple[float, Interval]:
    """The e of cost ~ size^e, by least squares on the logarithms of size and median cost, and its bootstrap interval.

    `points`: samples of the cost by size; both are positive.

    Raises:
        ValueError: there are fewer than two sizes.
    """
    if len(points) < 2:
        raise ValueError(f"growth needs two sizes or more, got {len(points)}")
    generator, sizes = np.random.default_rng(SEED), np.log(np.array(list(points), np.float64))
    slopes = (sizes - sizes.mean()) / np.square(sizes - sizes.mean()).sum()
    resampled = np.stack([np.log(_resampled_medians(samples, generator)) for samples in points.values()])
    exponent = float(slopes @ np.log([median(samples) for samples in points.values()]))
    return exponent, _interval(slopes @ resampled)


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


def _resampled_percentiles(rounds: Sequence[Sequence[float]], percent: float, generator: np.random.Generator) -> Floats:
    pieces = blocks(rounds)
    found = np.empty(_BLOCK_RESAMPLES)
    for number, row in enumerate(generator.integers(0, len(pieces), (_BLOCK_RESAMPLES, len(pieces)))):
        values = np.concatenate([pieces[k] for k in row])
        index = max(len(values) - 1 - math.floor((100 - percent) * len(values) / 100), 0)
        found[number] = np.partition(values, index)[index]
    return found


def _interval(values: Floats) -> Interval:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))
