"""From what a network says of every sample to the task's metrics, each with its 95 % interval. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from converters.measure import metrics
from converters.measure.metrics import Detected, Ranked
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card, Tolerance

_EVERY = {
    "classification": (Tolerance("auc", 0.0), Tolerance("sensitivity", 0.0), Tolerance("specificity", 0.0)),
    "detection": (Tolerance("map_50", 0.0),),
    "segmentation": (Tolerance("dice_mean", 0.0), Tolerance("dice_worst", 0.0)),
}


@dataclass(frozen=True)
class Score:
    """A metric with its 95 % interval. `worst`: of Dice the worst sample, of the others the worst label."""

    metric: str
    value: float
    low: float
    high: float
    worst: float


def wanted(card: Card) -> tuple[Tolerance, ...]:
    """What the card's gate looks at; without a gate, everything of the task."""
    return card.gate or _EVERY[card.task]


def score_classification(asked: Tolerance, probability: Array, positive: Array, thresholds: Sequence[float]) -> Score:
    """AUC, sensitivity or specificity, the mean over labels; a probability above its label's threshold is positive.

    probability: float, positive: bool, both (samples, labels). The interval is a bootstrap over samples; of a share for
    one label Wilson's.
    """
    labels = range(probability.shape[1])

    def of(label: int, chosen: Array) -> float:
        values, truth = probability[chosen, label], positive[chosen, label]
        if asked.metric == "auc":
            return metrics.auc(values, truth) if truth.any() and not truth.all() else float("nan")
        hits, count = _hits(asked, values, truth, thresholds[label])
        return hits / count if count else float("nan")

    whole = np.arange(len(probability))
    found = [of(label, whole) for label in labels]
    if asked.metric != "auc" and len(found) == 1:
        low, high = metrics.wilson(*_hits(asked, probability[:, 0], positive[:, 0], thresholds[0]))
    else:
        low, high = metrics.bootstrap(lambda chosen: float(np.mean([of(k, chosen) for k in labels])), len(whole))
    return _score(asked.name, float(np.mean(found)), low, high, min(found))


def _hits(asked: Tolerance, values: Array, truth: Array, threshold: float) -> tuple[int, int]:
    """How many are told rightly, of how many."""
    if asked.at_specificity is not None:
        both = truth.any() and not truth.all()
        return metrics.sensitivity_at(values, truth, asked.at_specificity) if both else (0, 0)
    of = truth == (asked.metric == "sensitivity")
    return int(np.count_nonzero(((values > threshold) == truth) & of)), int(np.count_nonzero(of))


def score_detection(asked: Tolerance, images: Sequence[Sequence[Detected]]) -> Score:
    """Mean over labels of the average precision at an IoU of 0.5. `images`: for each label, what each sample has."""
    ranked = [Ranked.of(of_label) for of_label in images]
    count = len(images[0])

    def of(chosen: Array) -> float:
        weights = np.bincount(chosen, minlength=count)
        return float(np.mean([one.average_precision(weights) for one in ranked]))

    found = [one.average_precision() for one in ranked]
    return _score(asked.name, float(np.mean(found)), *metrics.bootstrap(of, count), min(found))


def score_segmentation(asked: Tolerance, dice: Array) -> Score:
    """Mean or worst Dice of (samples, labels)."""
    flat, worst = dice.reshape(-1), float(dice.min())
    if asked.metric == "dice_worst":
        return Score(asked.name, worst, worst, worst, worst)
    low, high = metrics.bootstrap(lambda chosen: float(flat[chosen].mean()), flat.size)
    return _score(asked.name, float(flat.mean()), low, high, worst)


def _score(metric: str, value: float, low: float, high: float, worst: float) -> Score:
    return Score(metric, value, min(low, value), max(high, value), worst)
