"""Phantoms that calibrate INT8 and that the gate measures on: of seeds that serve no other purpose.

They are made with a coarser matrix and about half of the slices, for a build is to wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator

from converters.reference.phantom import NEGATIVE, POSITIVE, Lesion, Phantom, make_phantom
from converters.reference.samples import MARGIN
from converters.samples import Sample, TrueBox, Truth, content_sha256
from edge_runtime.engines.views import Region

LABEL = "hemorrhage"
CALIBRATION_SEED, HOLDOUT_SEED = 400_000, 500_000
_MATRIX, _SLICES = 160, 30
_PERIOD, _POSITIVE = 5, 3  # three of five have a haemorrhage, as in the other splits


def calibration(count: int) -> Iterator[Sample]:
    """Whole heads, for the classifier and the detector."""
    for seed in range(CALIBRATION_SEED, CALIBRATION_SEED + count):
        yield _whole(_phantom(seed))


def calibration_regions(count: int) -> Iterator[Sample]:
    """The regions of haemorrhages, for the segmenter."""
    return _regions(CALIBRATION_SEED, count)


def holdout(count: int) -> Iterator[Sample]:
    """Whole heads with everything that is true of them, for the classifier and the detector."""
    for seed in range(HOLDOUT_SEED, HOLDOUT_SEED + count):
        yield _whole(_phantom(seed))


def holdout_regions(count: int) -> Iterator[Sample]:
    """The regions of haemorrhages with their masks, for the segmenter; those of one head follow each other."""
    return _regions(HOLDOUT_SEED, count)


def _phantom(seed: int) -> Phantom:
    kind = POSITIVE if seed % _PERIOD < _POSITIVE else NEGATIVE
    return make_phantom(seed, kind, matrix=_MATRIX, slices=_SLICES)


def _whole(phantom: Phantom) -> Sample:
    boxes = tuple(TrueBox(LABEL, _region(lesion, 0.0, phantom)) for lesion in phantom.lesions)
    truth = Truth(frozenset({LABEL} if boxes else ()), boxes, {LABEL: phantom.truth})
    return Sample.of(f"phantom {phantom.seed}", phantom.image, truth)


def _regions(seed: int, count: int) -> Iterator[Sample]:
    given = 0
    while given < count:
        if seed % _PERIOD < _POSITIVE:
            phantom = _phantom(seed)
            sha256, truth = content_sha256(phantom.image), Truth(masks={LABEL: phantom.truth})
            for number, lesion in enumerate(phantom.lesions[: count - given]):
                region = _region(lesion, MARGIN, phantom)
                yield Sample(f"phantom {seed}, haemorrhage {number + 1}", sha256, phantom.image, truth, region)
            given += len(phantom.lesions)
        seed += 1


def _region(lesion: Lesion, margin: float, phantom: Phantom) -> Region:
    box = lesion.box.grown(margin, phantom.image.geometry.shape)
    return Region(tuple(map(float, box.start)), tuple(map(float, box.stop)))
