"""From the cases of the evaluation to thresholds (on validation patients) and figures (on test patients). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from converters.measure import metrics
from converters.measure.metrics import Detected
from converters.reference.endoscopy import baseline
from converters.reference.endoscopy.cases import Case
from converters.reference.endoscopy.samples import DETECTOR, INFORMATIVE, SEGMENTER, SMALL_DETECTOR
from edge_runtime.domain import Array
from edge_runtime.engines.card import Metric

DETECTION_LEVELS = tuple(round(0.1 + 0.05 * k, 2) for k in range(15))
OUTLINE_LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7)
_LOOSE, _STRICT = 0.1, 0.5  # IoU: a box that leads to the place, and one that fits it
_DIGITS = 4


@dataclass(frozen=True)
class Chosen:
    """Thresholds from validation patients: of the networks, and of the plain methods."""

    probability: float
    score: float
    small_score: float
    outline: float
    redness: float
    sharpness: float
    box_level: float
    colour_level: float


def choose(cases: Sequence[Case]) -> Chosen:
    """The best of each: Youden's index, F1 of boxes, mean Dice; AUC and average precision of the plain methods."""
    truth = [case.informative for case in cases]
    sharp = [case for case in cases if case.informative]
    red = _best(baseline.REDNESS_LEVELS, lambda level: metrics.auc(plain_scores(cases, level), truth))
    return Chosen(
        probability=round(min(0.95, max(0.05, metrics.youden([case.probability for case in cases], truth))), 2),
        score=_best(DETECTION_LEVELS, lambda level: _f1([c.found[DETECTOR] for c in sharp], level)),
        small_score=_best(DETECTION_LEVELS, lambda level: _f1([c.found[SMALL_DETECTOR] for c in sharp], level)),
        outline=_best(OUTLINE_LEVELS, lambda level: _mean([d for c in sharp for d in c.outlines[level]])),
        redness=red,
        sharpness=round(metrics.youden(plain_scores(cases, red), truth), 5),
        box_level=_best(baseline.BOX_LEVELS, lambda k: metrics.average_precision([c.blobs[k] for c in sharp], _LOOSE)),
        colour_level=_best(baseline.COLOUR_LEVELS, lambda level: _mean([d for c in sharp for d in c.grown[level]])),
    )


def plain_scores(cases: Sequence[Case], redness: float) -> list[float]:
    """The plain method for informative frames: the sharpness of those that are red enough, else nothing."""
    return [case.sharpness if case.redness > redness else 0.0 for case in cases]


def _best(levels: Sequence[float], value: Callable[[float], float]) -> float:
    return max(levels, key=value)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _above(found: Detected, level: float) -> Detected:
    kept = [k for k, score in enumerate(found.scores) if score > level]
    return Detected(tuple(found.boxes[k] for k in kept), tuple(found.scores[k] for k in kept), found.truth)


def _f1(images: Sequence[Detected], level: float) -> float:
    above = [_above(image, level) for image in images]
    hits = sum(match is not None for image in above for match in metrics.matches(image, _LOOSE))
    return 2 * hits / max(1, sum(len(image.scores) + len(image.truth) for image in above))


def figures(cases: Sequence[Case], chosen: Chosen) -> dict[str, list[Metric]]:
    """The figures of each engine, the plain method's beside them."""
    sharp = [case for case in cases if case.informative]
    return {
        INFORMATIVE: _informative(cases, chosen),
        DETECTOR: _boxes(sharp, DETECTOR, chosen.score, chosen),
        SMALL_DETECTOR: _boxes(sharp, SMALL_DETECTOR, chosen.small_score, chosen),
        SEGMENTER: _outlined(sharp, chosen),
    }


def _metric(name: str, value: float, interval: tuple[float, float] | None, plain: float | None = None) -> Metric:
    low, high = interval or (None, None)
    rounded = [None if v is None else round(float(v), _DIGITS) for v in (value, low, high, plain)]
    assert rounded[0] is not None
    return Metric(name, rounded[0], rounded[1], rounded[2], rounded[3])


def _over_patients(cases: Sequence[Case], statistic: Callable[[Array], float]) -> tuple[float, float]:
    """A bootstrap that draws patients, with all of their frames; `statistic` is given indices of cases."""
    patients = np.array([case.patient for case in cases])
    of_patient = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    return metrics.bootstrap(lambda drawn: statistic(np.concatenate([of_patient[k] for k in drawn])), len(of_patient))


def _informative(cases: Sequence[Case], chosen: Chosen) -> list[Metric]:
    truth = np.array([case.informative for case in cases])
    networks = np.array([case.probability for case in cases])
    plain = np.array(plain_scores(cases, chosen.redness))
    interval = _over_patients(cases, lambda k: metrics.auc(networks[k], truth[k]))
    rows = [_metric("auc", metrics.auc(networks, truth), interval, metrics.auc(plain, truth))]
    for name, group, right in (("sensitivity", truth, True), ("specificity", ~truth, False)):
        hits, count = int(np.count_nonzero(((networks > chosen.probability) == right)[group])), int(group.sum())
        of_plain = float(((plain > chosen.sharpness) == right)[group].mean())
        rows.append(_metric(name, hits / count, metrics.wilson(hits, count), of_plain))
    return rows


def _boxes(cases: Sequence[Case], name: str, score: float, chosen: Chosen) -> list[Metric]:
    networks, plain = [case.found[name] for case in cases], [case.blobs[chosen.box_level] for case in cases]
    ranked = metrics.Ranked.of(networks, _STRICT)
    interval = _over_patients(cases, lambda k: ranked.average_precision(np.bincount(k, minlength=len(cases))))
    rows = [_metric("map_50", ranked.average_precision(), interval, metrics.average_precision(plain, _STRICT))]
    above = [_above(image, score) for image in networks]
    total = sum(len(image.truth) for image in above)
    for figure, least in (("polyp_sensitivity", _LOOSE), ("polyp_sensitivity_50", _STRICT)):
        hits, of_plain = (sum(m is not None for image in images for m in metrics.matches(image, least))
                          for images in (above, plain))  # fmt: skip
        rows.append(_metric(figure, hits / total, metrics.wilson(hits, total), of_plain / total))
    wrong = [_mean([sum(m is None for m in metrics.matches(i, _LOOSE)) for i in images]) for images in (above, plain)]
    rows.append(_metric("false_boxes_per_frame", wrong[0], None, wrong[1]))
    return rows


def _outlined(cases: Sequence[Case], chosen: Chosen) -> list[Metric]:
    """In true boxes; and in the whole frame after the detector."""
    with_polyps = [case for case in cases if case.polyp_shares]
    by_case = [case.outlines[chosen.outline] for case in with_polyps]
    found, plain = [d for each in by_case for d in each], [d for c in with_polyps for d in c.grown[chosen.colour_level]]
    interval = _over_patients(with_polyps, lambda drawn: _mean([d for k in drawn for d in by_case[k]]))
    after = np.array([case.pipeline_dice or 0.0 for case in with_polyps])
    return [
        _metric("dice_mean", _mean(found), interval, _mean(plain)),
        _metric("dice_worst", min(found), None, min(plain)),
        _metric("dice_after_detector", float(after.mean()),
                _over_patients(with_polyps, lambda drawn: float(after[drawn].mean()))),
    ]  # fmt: skip


@dataclass(frozen=True)
class Group:
    """The figures of some of the frames or polyps; None where none of them says anything."""

    name: str
    count: int
    network: float | None
    baseline: float | None


def by_kind(cases: Sequence[Case], chosen: Chosen) -> list[Group]:
    """How many frames of each kind are told rightly to be informative or not."""
    plain = plain_scores(cases, chosen.redness)
    found = []
    for kind in sorted({case.kind for case in cases}):
        some = [(case, score) for case, score in zip(cases, plain, strict=True) if case.kind == kind]
        right = [(case.probability > chosen.probability) == case.informative for case, _ in some]
        of_plain = [(score > chosen.sharpness) == case.informative for case, score in some]
        found.append(Group(kind, len(some), round(_mean(right), 3), round(_mean(of_plain), 3)))
    return found


def by_size(cases: Sequence[Case], chosen: Chosen) -> dict[str, list[Group]]:
    """Polyps that a box leads to, and Dice in true boxes, by the share of the picture that they fill."""
    rows = []
    for case in (case for case in cases if case.informative):
        images = _above(case.found[DETECTOR], chosen.score), case.blobs[chosen.box_level]
        hit, of_plain = ({m for m in metrics.matches(image, _LOOSE) if m is not None} for image in images)
        for k, share in enumerate(case.polyp_shares):
            size = "below 0.5 %" if share < 0.005 else "0.5 to 2 %" if share < 0.02 else "above 2 %"
            rows.append((size, k in hit, k in of_plain, case.outlines[chosen.outline][k],
                         case.grown[chosen.colour_level][k]))  # fmt: skip
    found: dict[str, list[Group]] = {"found": [], "dice": []}
    for name in ("below 0.5 %", "0.5 to 2 %", "above 2 %"):
        some = [row for row in rows if row[0] == name]
        for key, network, plain in (("found", 1, 2), ("dice", 3, 4)):
            pair = [round(_mean([float(row[at]) for row in some]), 3) if some else None for at in (network, plain)]
            found[key].append(Group(name, len(some), *pair))
    return found
