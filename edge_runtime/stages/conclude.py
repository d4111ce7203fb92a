"""What the answers of one label add up to: findings, masks, and the regions that a later stage may run within."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge_runtime.domain import Answer, Array, Box, Finding, Frames, Image, Mask, Measurement, Volume
from edge_runtime.engines.card import Card, Label
from edge_runtime.engines.views import LabelAnswer, Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.stages.lesions import Lesion, lesions, volume_of

Grid = tuple[int, int, int]
Answers = list[list[LabelAnswer]]
"""By region, then by frame."""


@dataclass(frozen=True)
class Speaker:
    """Who answers: a stage, with its card, for one label, at the threshold that counts."""

    stage: str
    card: Card
    label: Label
    threshold: float

    def finding(
        self,
        answer: Answer,
        probability: float | None = None,
        measurements: tuple[Measurement, ...] = (),
        box: Box | None = None,
        mask_number: int | None = None,
    ) -> Finding:
        """A finding in this speaker's name."""
        return Finding(self.stage, self.label.name, self.label.concept.code, answer, probability, self.threshold,
                       measurements, box, mask_number)  # fmt: skip

    def mask(self, number: int, name: str, voxels: Array) -> Mask:
        """A mask in this speaker's name."""
        assert self.label.category is not None
        return Mask(number, name, self.label.category.code, self.label.concept.code, self.stage, voxels)


@dataclass(frozen=True, eq=False)
class Concluded:
    """What is said of one label."""

    findings: list[Finding]
    masks: list[Mask] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)


def conclude(speaker: Speaker, image: Image, by_region: Answers, number: int) -> Concluded:
    """What all the answers for one label add up to; masks are numbered from `number`.

    Raises:
        InferenceFailed: they add up to what the card holds for impossible.
    """
    if speaker.card.task == "classification":
        return _classified(speaker, by_region)
    if speaker.card.task == "detection":
        return _detected(speaker, by_region, _grid(image))
    if speaker.card.decode.keep == "each":
        return _separated(speaker, image, by_region, number)
    return _segmented(speaker, image, by_region, number)


def _classified(speaker: Speaker, by_region: Answers) -> Concluded:
    """One finding: the highest probability of all regions and frames."""
    probability = max(a.probability for answers in by_region for a in answers if a.probability is not None)
    answer = Answer.POSITIVE if probability > speaker.threshold else Answer.NEGATIVE
    return Concluded([speaker.finding(answer, probability)])


def _detected(speaker: Speaker, by_region: Answers, shape: Grid) -> Concluded:
    """One positive finding a region that was found; one negative where none was."""
    answers = [a for places in by_region for a in places]
    regions = [region for a in answers for region in a.regions]
    scores: list[float | None] = [score for a in answers for score in a.scores]
    if not regions:
        highest = max((a.probability for a in answers if a.probability is not None), default=None)
        return Concluded([speaker.finding(Answer.NEGATIVE, highest)])
    pairs = zip(regions, scores or [None] * len(regions), strict=True)
    found = [speaker.finding(Answer.POSITIVE, score, box=region.box(shape)) for region, score in pairs]
    return Concluded(found, regions=regions)


def _segmented(speaker: Speaker, image: Image, by_region: Answers, number: int) -> Concluded:
    """One finding a region with its part of the mask, and one mask of all regions; no mask where all are empty."""
    whole = np.zeros(_grid(image), dtype=np.bool_)
    concluded = Concluded([])
    for answers in by_region:
        part = _join(answers, whole.shape)
        measured: tuple[Measurement, ...] = ()
        if isinstance(image, Volume):
            measured = (_plausible(speaker.label, volume_of(part, image.geometry)),)
        if not part.any():
            concluded.findings.append(speaker.finding(Answer.NEGATIVE, measurements=measured))
            continue
        region = _region(part)
        concluded.regions.append(region)
        whole |= part
        box = region.box(_grid(image)) if len(by_region) > 1 else None
        concluded.findings.append(speaker.finding(Answer.POSITIVE, None, measured, box, number))
    if concluded.regions:
        concluded.masks.append(speaker.mask(number, speaker.label.name, whole))
    return concluded


def _separated(speaker: Speaker, image: Image, by_region: Answers, number: int) -> Concluded:
    """Every lesion with its own finding, mask and measurements, the largest first, in whichever regions it was seen.

    A region in which no lesion lies, or nothing but specks below the card's minimum, gives a negative finding.
    """
    if not isinstance(image, Volume):
        raise InferenceFailed(f"engine {speaker.card.name} separates lesions in a volume, and these frames make none")
    grid = _grid(image)
    parts = [_join(answers, grid) for answers in by_region]
    found = lesions(np.any(parts, axis=0), image.geometry, speaker.card.decode.minimum_ml)
    if len(found) > speaker.card.decode.maximum_regions:
        raise InferenceFailed(
            f"engine {speaker.card.name}: {len(found)} lesions of {speaker.label.name}, more than the "
            f"{speaker.card.decode.maximum_regions} that decode.maximum_regions holds plausible"
        )
    empty = [
        speaker.finding(Answer.NEGATIVE, measurements=(volume_of(part, image.geometry),))
        for part in parts
        if not any((part[lesion.box.slices] & lesion.voxels).any() for lesion in found)
    ]
    findings = [_lesion(speaker, lesion, number + k) for k, lesion in enumerate(found)]
    masks = [
        speaker.mask(number + k, f"{speaker.label.name} {k + 1}", lesion.on_grid(grid))
        for k, lesion in enumerate(found)
    ]
    return Concluded(findings + empty, masks, [lesion.region for lesion in found])


def _lesion(speaker: Speaker, lesion: Lesion, number: int) -> Finding:
    measured = (_plausible(speaker.label, lesion.volume), lesion.diameter)
    return speaker.finding(Answer.POSITIVE, None, measured, lesion.box, number)


def _plausible(label: Label, volume: Measurement) -> Measurement:
    """The volume, if the card holds it for possible."""
    pair, millilitres = label.plausible_ml, volume.value
    if pair is not None and millilitres > 0 and not pair[0] <= millilitres <= pair[1]:
        raise InferenceFailed(
            f"{label.name} of {millilitres:.4g} ml is outside the plausible {pair[0]:g} to {pair[1]:g} ml"
        )
    return volume


def _join(answers: list[LabelAnswer], shape: tuple[int, ...]) -> Array:
    """The masks of one region's frames on the source grid."""
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
