"""Arithmetic of the evaluation. Pure; every interval is 95 %."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.domain import Array

Z = 1.959964  # two-sided 95 % of the normal distribution
_RESAMPLES = 1000

Interval = tuple[float, float]


def auc(scores: Sequence[float] | Array, positive: Sequence[bool] | Array) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counted half.

    Raises:
        ValueError: there is not at least one of each.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=np.bool_)
    if truth.all() or not truth.any():
        raise ValueError("an AUC needs at least one positive and one negative")
    difference = values[truth][:, None] - values[~truth][None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def wilson(hits: int, count: int) -> Interval:
    """Wilson's score interval of a share; 0 to 1 of nothing."""
    if count == 0:
        return 0.0, 1.0
    share, square = hits / count, Z * Z / count
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def bootstrap(statistic: Callable[[Array], float], count: int, seed: int = 1) -> Interval:
    """Percentile bootstrap: `statistic` is given indices drawn with replacement; draws it cannot use are left out."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(_RESAMPLES):
        value = statistic(rng.integers(count, size=count))
        if math.isfinite(value):
            found.append(value)
    low, high = np.quantile(found, (0.025, 0.975)).tolist() if found else (math.nan, math.nan)
    return low, high


def threshold_at(scores: Sequence[float] | Array, positive: Sequence[bool] | Array, specificity: float) -> float:
    """The lowest threshold that at least this share of the negatives does not exceed; above it is positive.

    It is a score of a negative: of n negatives in ascending order the one at ceil(specificity * n), counted from 1.

    Raises:
        ValueError: there is no negative.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=np.bool_)
    negatives = np.sort(values[~truth])
    if not negatives.size:
        raise ValueError("a specificity needs at least one negative")
    return float(negatives[max(1, math.ceil(specificity * negatives.size - 1e-9)) - 1])


def sensitivity_at(
    scores: Sequence[float] | Array, positive: Sequence[bool] | Array, specificity: float
) -> tuple[int, int]:
    """How many of how many positives lie above the threshold that the negatives of the same set give.

    Raises:
        ValueError: there is not at least one of each.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=np.bool_)
    if not truth.any():
        raise ValueError("a sensitivity needs at least one positive")
    threshold = threshold_at(values, truth, specificity)
    return int(np.count_nonzero(values[truth] > threshold)), int(np.count_nonzero(truth))


def youden(scores: Sequence[float] | Array, positive: Sequence[bool] | Array) -> float:
    """The threshold with the largest sum of sensitivity and specificity; above it is positive.

    It lies in the middle of the widest gap between two scores that is as good.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=np.bool_)
    ordered = np.unique(values)
    between = (ordered[1:] + ordered[:-1]) / 2
    if not between.size:
        return float(ordered[0])
    sums = [(values[truth] > t).mean() + (values[~truth] <= t).mean() for t in between]
    best = np.flatnonzero(np.isclose(sums, max(sums)))
    return float(between[best[np.argmax(np.diff(ordered)[best])]])


def iou(first: Array, second: Array) -> float:
    """Shared part of the union of two boxes, each start and stop (four numbers in a plane, six in space)."""
    axes = len(first) // 2
    low, high = np.maximum(first[:axes], second[:axes]), np.minimum(first[axes:], second[axes:])
    shared = np.prod(np.clip(high - low, 0, None))
    union = np.prod(first[axes:] - first[:axes]) + np.prod(second[axes:] - second[:axes]) - shared
    return float(shared / union) if union > 0 else 0.0


@dataclass(frozen=True)
class Detected:
    """The boxes found in one image with their scores, and those that are there."""

    boxes: tuple[tuple[float, ...], ...]
    scores: tuple[float, ...]
    truth: tuple[tuple[float, ...], ...]


def matches(image: Detected, least: float) -> list[int | None]:
    """For each box found, the best first: which true box it is (IoU of at least `least`, none taken twice), or None.

    The order is that of descending scores.
    """
    free = dict(enumerate(image.truth))
    found: list[int | None] = []
    for index in np.argsort(-np.asarray(image.scores), kind="stable"):
        overlaps = {k: iou(np.asarray(image.boxes[index]), np.asarray(box)) for k, box in free.items()}
        best = max(overlaps, key=lambda k: overlaps[k], default=None)
        hit = best is not None and overlaps[best] >= least
        found.append(best if hit else None)
        if hit and best is not None:
            del free[best]
    return found


@dataclass(frozen=True, eq=False)
class Ranked:
    """All boxes found in some images, the best first. `image` says of which each is, `truths` what each image holds."""

    image: Array
    hit: Array  # bool
    truths: Array

    @staticmethod
    def of(images: Sequence[Detected], least: float = 0.5) -> Ranked:
        """Match the boxes of each image with its truth at an IoU of `least`."""
        rows = []
        for index, image in enumerate(images):
            found = zip(sorted(image.scores, reverse=True), matches(image, least), strict=True)
            rows += [(score, index, hit is not None) for score, hit in found]
        rows.sort(key=lambda row: -row[0])
        return Ranked(
            np.array([index for _, index, _ in rows], dtype=np.intp),
            np.array([hit for _, _, hit in rows], dtype=np.bool_),
            np.array([len(image.truth) for image in images], dtype=np.int64),
        )

    def average_precision(self, weights: Array | None = None) -> float:
        """Area under the precision envelope over recall; nan without any truth.

        `weights`: how often each image counts, whole numbers; None: each once.
        """
        total = int(self.truths.sum() if weights is None else (self.truths * weights).sum())
        if not total:
            return math.nan
        hit = self.hit if weights is None else np.repeat(self.hit, weights[self.image])
        if not hit.size:
            return 0.0
        precision = np.cumsum(hit) / (np.arange(len(hit)) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        return float(envelope[hit].sum() / total)


def average_precision(images: Sequence[Detected], least: float = 0.5) -> float:
    """Average precision at an IoU of `least`, of every point (Everingham et al., 2010); nan without any truth."""
    return Ranked.of(images, least).average_precision()


def dice(first: Array, second: Array) -> float:
    """Overlap of two masks, 0 to 1; 1 of two empty ones."""
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else 1.0


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman, 1986: mean of the differences, and the limits that 95 % of them lie within."""

    bias: float
    lower: float
    upper: float
    bias_low: float
    bias_high: float


def agreement(differences: Sequence[float]) -> Agreement:
    """Agreement of two ways to measure, from at least two differences."""
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2:
        raise ValueError("limits of agreement need at least two differences")
    bias, deviation = float(values.mean()), float(values.std(ddof=1))
    half = Z * deviation / math.sqrt(values.size)
    return Agreement(bias, bias - Z * deviation, bias + Z * deviation, bias - half, bias + half)
