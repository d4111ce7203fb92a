"""How good a network is on labelled samples, by the daemon's own preprocessing, runner and decoding."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.measure import metrics
from converters.measure.metrics import Detected
from converters.measure.scoring import Score, score_classification, score_detection, score_segmentation, wanted
from converters.progress import Progress
from converters.samples import SampleSet
from converters.samples.prepared import PreparedPlace, PreparedSample, prepare_samples
from converters.samples.sample import check_measurable
from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.runner import EngineRunner
from edge_runtime.engines.views import LabelAnswer, Region, Tile
from edge_runtime.errors import EngineRejected, InferenceFailed
from edge_runtime.postprocess import compile_decoder

__all__ = ["Evaluation", "Evaluator", "Score"]

FLOOR = 0.02
"""Boxes with a higher score are on the curve of precision and recall, far below the scores that a daemon reports."""

MOST_REGIONS = 1000

Answers = list[tuple[LabelAnswer, ...]]
"""By place (the image, or each of its frames), then by label."""


@dataclass(frozen=True)
class Evaluation:
    """`scores` in the order of the card's gate. `failed`: samples of which the network gave no answer (NaN)."""

    scores: tuple[Score, ...]
    samples: int
    seconds: float
    failed: tuple[str, ...] = ()


class Evaluator:
    """Measures networks on one hold-out set, whose images are read once, here; prepared inputs lie in `scratch`.

    AUC, sensitivity and specificity go by the highest probability of a sample's windows and frames, as in the daemon;
    boxes by their scores, down to FLOOR; masks at the card's threshold. Dice is that of the sample's region, where it
    has one.
    A sample without an answer counts as wrong: the probability of the opposite, no box, a Dice of 0.

    Raises:
        ConfigurationError: a sample cannot be used, and is named; or the set lacks what the metrics need.
    """

    def __init__(self, card: Card, holdout: SampleSet, scratch: Path, progress: Progress) -> None:
        self._card = card
        self._progress = progress
        limits = dataclasses.replace(card.decode, maximum_regions=MOST_REGIONS)
        self._decode = compile_decoder(dataclasses.replace(card, decode=limits))
        scored = card.task == "detection" and card.decode.layout != "mask"
        self._threshold = FLOOR if scored else None
        counted = progress.steps("preparing the hold-out set", holdout, len(holdout))
        self._samples = tuple(prepare_samples(card, counted, scratch))
        check_measurable(card, holdout.name, [_present(card, sample) for sample in self._samples])

    def evaluate(self, network: bytes) -> Evaluation:
        """Measure an ONNX network.

        Raises:
            EngineRejected: it is no network of this card.
        """
        samples = self._samples
        began = time.monotonic()
        backend, device = open_on_cpu()
        try:
            session = backend.load(network, device)
            tensors = {tensor.name: tensor.shape for tensor in (*session.inputs, *session.outputs)}
            for tensor in (self._card.input, self._card.output):
                if tensors.get(tensor.name) != tensor.shape:
                    raise EngineRejected(f"the network has {tensors}, card {self._card.name} says {tensor}")
            runner = EngineRunner(self._card, session, device)
            try:
                counted = self._progress.steps("measuring on the hold-out set", samples, len(samples))
                scores, failed = _MEASURES[self._card.task](self._card, self._answers(runner, counted))
            finally:
                runner.close()
        finally:
            device.close()
        return Evaluation(scores, len(samples), time.monotonic() - began, failed)

    def _answers(
        self, runner: EngineRunner, samples: Iterator[PreparedSample]
    ) -> Iterator[tuple[PreparedSample, Answers | None]]:
        """What the network says of each sample; None where that is no answer."""
        for sample in samples:
            try:
                yield sample, [self._answer(runner, place) for place in sample.places]
            except InferenceFailed:
                yield sample, None

    def _answer(self, runner: EngineRunner, place: PreparedPlace) -> tuple[LabelAnswer, ...]:
        def runs() -> Iterator[tuple[Array, Tile | None]]:
            for prepared, tile in place.inputs():
                yield runner.run(prepared), tile

        return self._decode(runs(), place.placement, self._threshold)


Answered = Iterator[tuple[PreparedSample, Answers | None]]
Measured = tuple[tuple[Score, ...], tuple[str, ...]]


def _present(card: Card, sample: PreparedSample) -> frozenset[str]:
    if card.task == "classification":
        return sample.positive
    return frozenset(box.label for box in sample.boxes) if card.task == "detection" else frozenset(sample.masks)


def _classification(card: Card, answered: Answered) -> Measured:
    probability, positive, failed = [], [], []
    for sample, answers in answered:
        truth = [label.name in sample.positive for label in card.labels]
        positive.append(truth)
        if answers is None:
            failed.append(sample.name)
            probability.append([float(not there) for there in truth])
        else:
            probability.append([max(a[k].probability or 0.0 for a in answers) for k in range(len(truth))])
    rows = np.array(probability), np.array(positive)
    thresholds = [label.threshold for label in card.labels]
    return tuple(score_classification(asked, *rows, thresholds) for asked in wanted(card)), tuple(failed)


def _detection(card: Card, answered: Answered) -> Measured:
    images: list[list[Detected]] = [[] for _ in card.labels]
    failed = []
    for sample, answers in answered:
        if answers is None:
            failed.append(sample.name)
        for k, label in enumerate(card.labels):
            said = [a[k] for a in answers or ()]
            boxes = tuple(_corners(region) for each in said for region in each.regions)
            scores = tuple(s for each in said for s in each.scores or (1.0,) * len(each.regions))
            truth = tuple(_corners(box.region) for box in sample.boxes if box.label == label.name)
            images[k].append(Detected(boxes, scores, truth))
    return tuple(score_detection(asked, images) for asked in wanted(card)), tuple(failed)


def _segmentation(card: Card, answered: Answered) -> Measured:
    rows, failed = [], []
    for sample, answers in answered:
        if answers is None:
            failed.append(sample.name)
            rows.append([0.0] * len(card.labels))
            continue
        rows.append([metrics.dice(_mask(sample, [a[k] for a in answers]), sample.mask(label.name))
                     for k, label in enumerate(card.labels)])  # fmt: skip
    return tuple(score_segmentation(asked, np.array(rows)) for asked in wanted(card)), tuple(failed)


_MEASURES: dict[str, Callable[[Card, Answered], Measured]] = {
    "classification": _classification,
    "detection": _detection,
    "segmentation": _segmentation,
}


def _corners(region: Region) -> tuple[float, ...]:
    return (*region.start, *region.stop)


def _mask(sample: PreparedSample, answers: list[LabelAnswer]) -> Array:
    """The answers' masks together, in the part of the grid that is looked at."""
    joined = np.zeros(sample.grid, dtype=np.bool_)
    for answer in answers:
        assert answer.voxels is not None
        if answer.frame is None:
            joined |= answer.voxels
        else:
            joined[answer.frame] |= answer.voxels
    return joined[sample.looked_at]
