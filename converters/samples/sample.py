"""One sample: an image with what is true of it. It is known by its pixels, not by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.domain import Array, Image, Volume
from edge_runtime.engines.card import Card
from edge_runtime.engines.views import Region
from edge_runtime.errors import ConfigurationError
from edge_runtime.preprocess import placing

MEASURED_BY = {"classification": "positive", "detection": "boxes", "segmentation": "masks"}


@dataclass(frozen=True)
class TrueBox:
    """A thing that is there: its label, and where, in (slice, row, column) indices of the source."""

    label: str
    region: Region


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of an image; None where the sample says nothing of it.

    Labels that `positive`, `boxes` or `masks` leaves out are not there. masks: bool, of the image's (slices, rows,
    columns) or (frames, rows, columns).
    """

    positive: frozenset[str] | None = None
    boxes: tuple[TrueBox, ...] | None = None
    masks: Mapping[str, Array] | None = None

    def identity(self) -> str:
        """A text that is another one wherever something else is true."""
        positive = None if self.positive is None else sorted(self.positive)
        boxes = None if self.boxes is None else sorted(repr(box) for box in self.boxes)
        masks = sorted(
            (name, hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()) for name, mask in (self.masks or {}).items()
        )
        return repr((positive, boxes, masks))


@dataclass(frozen=True, eq=False)
class Sample:
    """An image. `region` is where a recipe with `crop: region` is to look, any margin included; None: everywhere."""

    name: str
    sha256: str
    image: Image
    truth: Truth | None = None
    region: Region | None = None

    @staticmethod
    def of(name: str, image: Image, truth: Truth | None = None, region: Region | None = None) -> Sample:
        """A sample with the identity of its image."""
        return Sample(name, content_sha256(image), image, truth, region)


def grid_of(image: Image) -> tuple[int, int, int]:
    """(slices or frames, rows, columns)."""
    shape = image.voxels.shape if isinstance(image, Volume) else image.pixels.shape
    return (shape[0], shape[1], shape[2])


def content_sha256(image: Image) -> str:
    """SHA-256 (hex) of the pixels: the same for a copy under another name or in another format.

    Of a volume its voxels, turned to Superior, Posterior, Left, and its spacing to 0.01 mm; of frames their pixels,
    grey where the colours are all the same.
    """
    if isinstance(image, Volume):
        placement = placing.oriented(image.geometry, "SPL")
        planes = placement.orient(image.voxels)
        spacing = [round(100 * image.geometry.spacing_mm[axis]) for axis in placement.axes]
    else:
        planes, spacing = image.pixels, []
        if planes.ndim == 4 and (planes == planes[..., :1]).all():
            planes = planes[..., 0].astype(np.float32)
    digest = hashlib.sha256(repr((planes.shape, planes.dtype.str, spacing)).encode())
    for plane in planes:
        digest.update((plane + planes.dtype.type(0)).tobytes())  # -0.0 becomes 0.0
    return digest.hexdigest()


def check_sample(card: Card, sample: Sample, labelled: bool) -> None:
    """Refuse a sample whose truth does not fit the card or the image, or lacks what the card's task is measured by.

    Raises:
        ConfigurationError: naming the sample.
    """
    if labelled and (sample.truth is None or getattr(sample.truth, MEASURED_BY[card.task]) is None):
        raise ConfigurationError(
            f"{sample.name}: nothing says what is true of it; to measure a {card.task} give `{MEASURED_BY[card.task]}` "
            "(an empty list where there is nothing)"
        )
    grid = grid_of(sample.image)
    if sample.region is not None:
        _check_region(sample, sample.region, grid)
    if sample.truth is None:
        return
    boxes, masks = sample.truth.boxes or (), sample.truth.masks or {}
    for label in (*(sample.truth.positive or ()), *(box.label for box in boxes), *masks):
        if card.label(label) is None:
            known = ", ".join(known.name for known in card.labels)
            raise ConfigurationError(f"{sample.name}: card {card.name} has no label {label!r}; it has: {known}")
    for box in boxes:
        _check_region(sample, box.region, grid)
    for label, mask in masks.items():
        if mask.shape != grid or mask.dtype != np.bool_:
            found = f"{mask.dtype} {mask.shape}"
            raise ConfigurationError(f"{sample.name}: the mask of {label} is {found}, the image is {grid}")


def check_measurable(card: Card, name: str, present: Sequence[frozenset[str]]) -> None:
    """Refuse a hold-out set on which the task's metrics say nothing. `present`: the labels that each sample has.

    Raises:
        ConfigurationError: a label is in no sample or, of a classification, in all of them.
    """
    for label in card.labels:
        count = sum(label.name in labels for labels in present)
        if not count:
            raise ConfigurationError(f"{name}: {label.name} is in none of the {len(present)} samples; add some with it")
        if count == len(present) and card.task == "classification":
            raise ConfigurationError(
                f"{name}: {label.name} is in all {count} samples; AUC and sensitivity need negatives too: add some"
            )


def _check_region(sample: Sample, region: Region, grid: tuple[int, int, int]) -> None:
    if any(a < 0 or b > n for a, b, n in zip(region.start, region.stop, grid, strict=True)):
        raise ConfigurationError(
            f"{sample.name}: the box {region.start} to {region.stop} reaches beyond the image, which is {grid}"
        )
