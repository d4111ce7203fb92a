"""One stage: an engine with its preparation and its decoding, and what its answers say as findings and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_runtime.domain import Answer, Array, Code, EngineIdentity, Finding, Frames, Image, Mask, Measurement, Volume
from edge_runtime.engines.card import Card, Label
from edge_runtime.engines.golden import Golden
from edge_runtime.engines.views import LabelAnswer, Placement, Prepared, Region
from edge_runtime.errors import InferenceFailed

VOLUME = Code("118565006", "SCT", "Volume")
MILLILITRE = Code("ml", "UCUM", "milliliter")

Trace = Callable[[str, Array], None]


class Runner(Protocol):
    """Runs a network: input to output, of the card's shapes. The output's memory is used again by the next run."""

    @property
    def engine_seconds(self) -> float:
        """Time of the last run, the network alone."""

    def run(self, prepared: Array) -> Array:
        """One run."""

    def close(self) -> None:
        """Free it; a second call does nothing."""


@dataclass(frozen=True)
class Condition:
    """`when`: the answer that an earlier stage must have given for a label."""

    stage: str
    label: str
    answer: Answer

    @staticmethod
    def parse(text: str) -> Condition:
        """Read STAGE.LABEL.positive or STAGE.LABEL.negative."""
        stage, label, answer = text.rsplit(".", 2)
        return Condition(stage, label, Answer(answer))


@dataclass(frozen=True, eq=False)
class Stage:
    """A stage as configured, with its engine loaded. `expected_seconds` is what a run took when it was built."""

    name: str
    card: Card
    identity: EngineIdentity
    runner: Runner
    prepare: Callable[[Image, Region | None, float], Iterator[Prepared]]
    decode: Callable[[Array, Placement, float | None], tuple[LabelAnswer, ...]]
    golden: Golden
    when: Condition | None = None
    within: str | None = None
    margin: float = 0.1
    optional: bool = False
    threshold: float | None = None
    expected_seconds: float = 0.0

    def threshold_of(self, label: Label) -> float:
        """The threshold that counts: the configured one, else the card's."""
        return label.threshold if self.threshold is None else self.threshold


@dataclass(frozen=True, eq=False)
class StageResult:
    """What a stage says of one image. `regions` are what a later stage may run within."""

    findings: tuple[Finding, ...]
    masks: tuple[Mask, ...]
    regions: tuple[Region, ...]
    runs: int
    engine_seconds: float


def run_stage(
    stage: Stage, image: Image, regions: Sequence[Region | None], first_mask: int, trace: Trace | None
) -> StageResult:
    """Run the stage once in each region (None: the whole image) and put the answers together.

    Raises:
        InferenceFailed: the image does not fit the recipe, the library failed, or the output is none.
    """
    answers: list[tuple[LabelAnswer, ...]] = []
    seconds = 0.0
    counts = []
    for region in regions:
        before = len(answers)
        for prepared in stage.prepare(image, region, stage.margin):
            tag = f"{stage.name}-{len(answers) + 1}"
            output = stage.runner.run(prepared.array)
            seconds += stage.runner.engine_seconds
            if trace is not None:
                trace(f"{tag}-input", prepared.array)
                trace(f"{tag}-output", output.copy())
            answers.append(stage.decode(output, prepared.placement, stage.threshold))
        counts.append(len(answers) - before)
    findings: list[Finding] = []
    masks: list[Mask] = []
    found: list[Region] = []
    for index, label in enumerate(stage.card.labels):
        by_region = _split([each[index] for each in answers], counts)
        made, mask, places = _conclude(stage, label, image, by_region, first_mask + len(masks))
        findings.extend(made)
        masks.extend(mask)
        found.extend(places)
    if trace is not None:
        for mask_ in masks:
            trace(f"{stage.name}-mask-{mask_.number}", mask_.voxels)
    return StageResult(tuple(findings), tuple(masks), tuple(found), len(answers), seconds)


Grid = tuple[int, int, int]
_Concluded = tuple[list[Finding], list[Mask], list[Region]]


def _conclude(stage: Stage, label: Label, image: Image, by_region: list[list[LabelAnswer]], number: int) -> _Concluded:
    """What all the runs say of one label: findings, masks numbered from `number`, regions."""
    if stage.card.task == "classification":
        return _classified(stage, label, by_region)
    if stage.card.task == "detection":
        return _detected(stage, label, by_region, _grid(image))
    return _segmented(stage, label, image, by_region, number)


def _split(answers: list[LabelAnswer], counts: list[int]) -> list[list[LabelAnswer]]:
    """The answers of each region."""
    ends = np.cumsum(counts).tolist()
    return [answers[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _classified(stage: Stage, label: Label, by_region: list[list[LabelAnswer]]) -> _Concluded:
    """One finding: the highest probability of all regions and frames."""
    probability = max(a.probability for answers in by_region for a in answers if a.probability is not None)
    threshold = stage.threshold_of(label)
    answer = Answer.POSITIVE if probability > threshold else Answer.NEGATIVE
    finding = Finding(stage.name, label.name, label.concept.code, answer, probability=probability, threshold=threshold)
    return [finding], [], []


def _detected(stage: Stage, label: Label, by_region: list[list[LabelAnswer]], shape: Grid) -> _Concluded:
    """One positive finding a region that was found; one negative where none was."""
    regions = [region for answers in by_region for a in answers for region in a.regions]
    threshold, code = stage.threshold_of(label), label.concept.code
    if not regions:
        return [Finding(stage.name, label.name, code, Answer.NEGATIVE, threshold=threshold)], [], []
    findings = [
        Finding(stage.name, label.name, code, Answer.POSITIVE, threshold=threshold, box=region.box(shape))
        for region in regions
    ]
    return findings, [], regions


def _segmented(stage: Stage, label: Label, image: Image, by_region: list[list[LabelAnswer]], number: int) -> _Concluded:
    """One finding a region with its part of the mask, and one mask of all regions; no mask where all are empty."""
    assert label.category is not None
    whole = np.zeros(_grid(image), dtype=np.bool_)
    findings, regions = [], []
    threshold, code = stage.threshold_of(label), label.concept.code
    for answers in by_region:
        part = _join(answers, whole.shape)
        count = int(np.count_nonzero(part))
        region = _region(part) if count else None
        measured: tuple[Measurement, ...] = ()
        if isinstance(image, Volume):
            measured = (Measurement(VOLUME, _plausible(label, count * image.geometry.voxel_ml), MILLILITRE),)
        if region is None:
            findings.append(
                Finding(stage.name, label.name, code, Answer.NEGATIVE, threshold=threshold, measurements=measured)
            )
            continue
        regions.append(region)
        whole |= part
        box = region.box(whole.shape) if len(by_region) > 1 else None
        findings.append(
            Finding(stage.name, label.name, code, Answer.POSITIVE, threshold=threshold, measurements=measured, box=box,
                    mask_number=number)
        )  # fmt: skip
    if not regions:
        return findings, [], []
    mask = Mask(number, label.name, label.category.code, code, stage.name, whole)
    return findings, [mask], regions


def _plausible(label: Label, volume_ml: float) -> float:
    """The volume, if the card holds it for possible."""
    pair = label.plausible_ml
    if pair is not None and volume_ml > 0 and not pair[0] <= volume_ml <= pair[1]:
        raise InferenceFailed(
            f"{label.name} of {volume_ml:.4g} ml is outside the plausible {pair[0]:g} to {pair[1]:g} ml"
        )
    return volume_ml


def _join(answers: list[LabelAnswer], shape: tuple[int, ...]) -> Array:
    """The masks of one region's runs on the source grid."""
    if len(answers) == 1 and answers[0].frame is None and answers[0].voxels is not None:
        return answers[0].voxels
    joined = np.zeros(shape, dtype=np.bool_)
    for answer in answers:
        assert answer.voxels is not None
        if answer.frame is None:
            joined |= answer.voxels
        else:
            joined[answer.frame] |= answer.voxels
    return joined


def _region(mask: Array) -> Region:
    """The box that a mask, which is not empty, fills."""
    start, stop = [], []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        start.append(float(hit[0]))
        stop.append(float(hit[-1]) + 1)
    return Region(tuple(start), tuple(stop))


def _grid(image: Image) -> Grid:
    """(slices or frames, rows, columns)."""
    shape = image.pixels.shape if isinstance(image, Frames) else image.voxels.shape
    return (shape[0], shape[1], shape[2])
