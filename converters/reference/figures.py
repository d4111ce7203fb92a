"""From the cases of the evaluation to thresholds (on validation phantoms) and figures (on test phantoms). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from converters.measure import metrics
from converters.measure.metrics import Detected
from converters.reference.cases import Case, Outline
from converters.reference.samples import CLASSIFIER, DETECTOR, SEGMENTER
from edge_runtime.engines.card import Metric

DETECTION_LEVELS = tuple(round(0.1 + 0.05 * k, 2) for k in range(15))
OUTLINE_LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7)
_LOOSE, _STRICT = 0.1, 0.5  # IoU: a box that leads to the place, and one that fits it
_DIGITS = 4


@dataclass(frozen=True)
class Chosen:
    """Thresholds from validation phantoms: of the networks, and of the plain method for each of its tasks."""

    probability: float
    score: float
    outline: float
    hu_of_presence: float
    bright_ml: float
    hu_of_boxes: float
    hu_of_outlines: float
    hu_of_outlines_in_boxes: float


def choose(cases: Sequence[Case]) -> Chosen:
    """The best of each on these phantoms: Youden's index, F1 of boxes, mean Dice; AUC and precision of boxes."""
    truth = [case.positive for case in cases]
    positives = [case for case in cases if case.positive]
    hounsfield = sorted(cases[0].bright_ml)
    presence = _best(hounsfield, lambda level: metrics.auc([case.bright_ml[level] for case in cases], truth))
    return Chosen(
        probability=_within(metrics.youden([case.probability for case in cases], truth)),
        score=_best(DETECTION_LEVELS, lambda level: _f1([case.found for case in cases], level)),
        outline=_best(OUTLINE_LEVELS, lambda level: _mean_dice([case.outlines[level] for case in positives])),
        hu_of_presence=presence,
        bright_ml=metrics.youden([case.bright_ml[presence] for case in cases], truth),
        hu_of_boxes=_best(hounsfield, lambda hu: metrics.average_precision([case.bright[hu] for case in cases])),
        hu_of_outlines=_best(hounsfield, lambda hu: float(np.mean([case.bright_dice[hu] for case in positives]))),
        hu_of_outlines_in_boxes=_best(hounsfield, lambda hu: _mean_dice([c.bright_outlines[hu] for c in positives])),
    )


def _best(levels: Sequence[float], value: Callable[[float], float]) -> float:
    return max(levels, key=value)


def _within(threshold: float) -> float:
    return round(min(0.95, max(0.05, threshold)), 2)


def _mean_dice(outlines: Sequence[Sequence[Outline]]) -> float:
    return float(np.mean([outline.dice for each in outlines for outline in each]))


def _above(found: Detected, level: float) -> Detected:
    kept = [k for k, score in enumerate(found.scores) if score > level]
    return Detected(tuple(found.boxes[k] for k in kept), tuple(found.scores[k] for k in kept), found.truth)


def _f1(images: Sequence[Detected], level: float) -> float:
    above = [_above(image, level) for image in images]
    hits = sum(match is not None for image in above for match in metrics.matches(image, _LOOSE))
    return 2 * hits / max(1, sum(len(image.scores) + len(image.truth) for image in above))


def figures(cases: Sequence[Case], chosen: Chosen) -> dict[str, list[Metric]]:
    """The figures of each engine, the plain method's beside them."""
    return {
        CLASSIFIER: _presence(cases, chosen),
        DETECTOR: _boxes(cases, chosen),
        SEGMENTER: _outlined([case for case in cases if case.positive], chosen),
    }


def _metric(name: str, value: float, interval: tuple[float, float] | None, baseline: float | None = None) -> Metric:
    low, high = interval or (None, None)
    rounded = [None if v is None else round(float(v), _DIGITS) for v in (value, low, high, baseline)]
    assert rounded[0] is not None
    return Metric(name, rounded[0], rounded[1], rounded[2], rounded[3])


def _presence(cases: Sequence[Case], chosen: Chosen) -> list[Metric]:
    truth = np.array([case.positive for case in cases])
    networks = np.array([case.probability for case in cases])
    plain = np.array([case.bright_ml[chosen.hu_of_presence] for case in cases])

    def of(indices: np.ndarray) -> float:
        some = truth[indices]
        return metrics.auc(networks[indices], some) if some.any() and not some.all() else float("nan")

    found = _metric("auc", metrics.auc(networks, truth), metrics.bootstrap(of, len(cases)), metrics.auc(plain, truth))
    rows = [found]
    for name, group, right in (("sensitivity", truth, True), ("specificity", ~truth, False)):
        hits, count = int(np.count_nonzero(((networks > chosen.probability) == right)[group])), int(group.sum())
        of_plain = float(((plain > chosen.bright_ml) == right)[group].mean())
        rows.append(_metric(name, hits / count, metrics.wilson(hits, count), of_plain))
    return rows


def _boxes(cases: Sequence[Case], chosen: Chosen) -> list[Metric]:
    networks = [case.found for case in cases]
    plain = [case.bright[chosen.hu_of_boxes] for case in cases]

    def of(indices: np.ndarray) -> float:
        return metrics.average_precision([networks[k] for k in indices], _STRICT)

    precision = metrics.average_precision(networks, _STRICT)
    rows = [_metric("map_50", precision, metrics.bootstrap(of, len(cases)), metrics.average_precision(plain, _STRICT))]
    above = [_above(image, chosen.score) for image in networks]
    total = sum(len(image.truth) for image in above)
    for name, least in (("lesion_sensitivity", _LOOSE), ("lesion_sensitivity_50", _STRICT)):
        hits, of_plain = (sum(m is not None for image in images for m in metrics.matches(image, least))
                          for images in (above, plain))  # fmt: skip
        rows.append(_metric(name, hits / total, metrics.wilson(hits, total), of_plain / total))
    wrong = [
        float(np.mean([sum(m is None for m in metrics.matches(image, _LOOSE)) for image in images]))
        for images in (above, plain)
    ]
    rows.append(_metric("false_boxes_per_study", wrong[0], None, wrong[1]))
    return rows


def _outlined(cases: Sequence[Case], chosen: Chosen) -> list[Metric]:
    """In true boxes: Dice, volume and diameter; and Dice of the whole image after the detector."""
    pairs = [(t, o, p) for case in cases for t, o, p in
             zip(case.truth, case.outlines[chosen.outline], case.bright_outlines[chosen.hu_of_outlines_in_boxes],
                 strict=True)]  # fmt: skip
    rows = [
        _mean("dice_mean", [o.dice for _, o, _ in pairs], [p.dice for _, _, p in pairs]),
        _metric("dice_worst", min(o.dice for _, o, _ in pairs), None, min(p.dice for _, _, p in pairs)),
    ]
    for name, unit in (("volume", "ml"), ("diameter", "mm")):
        errors, of_plain = ([getattr(each, f"{name}_{unit}") - getattr(t, f"{name}_{unit}") for t, each in measured]
                            for measured in ([(t, o) for t, o, _ in pairs], [(t, p) for t, _, p in pairs]))  # fmt: skip
        found, plain = metrics.agreement(errors), metrics.agreement(of_plain)
        rows.append(_metric(f"{name}_bias_{unit}", found.bias, (found.bias_low, found.bias_high), plain.bias))
        rows.append(_metric(f"{name}_limit_low_{unit}", found.lower, None, plain.lower))
        rows.append(_metric(f"{name}_limit_high_{unit}", found.upper, None, plain.upper))
    after = [case.pipeline_dice or 0.0 for case in cases]
    rows.append(_mean("dice_after_detector", after, [case.bright_dice[chosen.hu_of_outlines] for case in cases]))
    return rows


def _mean(name: str, values: Sequence[float], plain: Sequence[float]) -> Metric:
    array = np.asarray(values)
    interval = metrics.bootstrap(lambda chosen: float(array[chosen].mean()), len(array))
    return _metric(name, float(array.mean()), interval, float(np.mean(plain)))


@dataclass(frozen=True)
class Group:
    """The figures of some of the phantoms or haemorrhages; None where none of them says anything."""

    name: str
    count: int
    network: float | None
    baseline: float | None


def by_confounder(cases: Sequence[Case], chosen: Chosen) -> dict[str, list[Group]]:
    """Sensitivity of positives and specificity of negatives that hold each hard negative, or none."""
    names = sorted({name for case in cases for name in case.confounders})
    found: dict[str, list[Group]] = {"sensitivity": [], "specificity": []}
    for row, right in (("sensitivity", True), ("specificity", False)):
        for name in (*names, "none"):
            some = [case for case in cases if case.positive == right
                    and (name in case.confounders or (name == "none" and not case.confounders))]  # fmt: skip
            hits = [(case.probability > chosen.probability) == right for case in some]
            plain = [(case.bright_ml[chosen.hu_of_presence] > chosen.bright_ml) == right for case in some]
            found[row].append(Group(name, len(some), _share(hits), _share(plain)))
    return found


def by_lesion(cases: Sequence[Case], chosen: Chosen) -> dict[str, list[Group]]:
    """Boxes that lead to the haemorrhage, and Dice in its true box, by kind and by volume."""
    rows = []
    for case in cases:
        hit, of_plain = ({m for m in metrics.matches(image, _LOOSE) if m is not None}
                         for image in (_above(case.found, chosen.score), case.bright[chosen.hu_of_boxes]))  # fmt: skip
        for k, truth in enumerate(case.truth):
            volume = "below 2 ml" if truth.volume_ml < 2 else "2 to 10 ml" if truth.volume_ml < 10 else "above 10 ml"
            outlines = case.outlines[chosen.outline][k], case.bright_outlines[chosen.hu_of_outlines_in_boxes][k]
            rows.append((truth.kind, volume, k in hit, k in of_plain, outlines[0].dice, outlines[1].dice))
    names = (*sorted({row[0] for row in rows}), "below 2 ml", "2 to 10 ml", "above 10 ml")
    found: dict[str, list[Group]] = {"found": [], "dice": []}
    for name in names:
        some = [row for row in rows if name in row[:2]]
        found["found"].append(
            Group(name, len(some), _share([row[2] for row in some]), _share([row[3] for row in some]))
        )
        found["dice"].append(Group(name, len(some), _share([row[4] for row in some]), _share([row[5] for row in some])))
    return found


def _share(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None
