"""What a plain method reaches: inside the skull, blood is what is brighter than a threshold; its parts are lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.domain import Array, Volume
from edge_runtime.postprocess.components import bounding_slices

THRESHOLDS_HU = (50.0, 55.0, 60.0, 65.0, 70.0, 80.0, 100.0)
_BONE_HU = 250.0
_HIGHEST_HU = 110.0  # brighter is calcium or metal
_FROM_SKULL_MM = 2.0
_BLUR_MM = 1.2
_SMALLEST_ML = 0.1


@dataclass(frozen=True, eq=False)
class Parts:
    """Bright parts inside the skull, the largest first. `labels`: int32 on the image, part k is k + 1."""

    labels: Array
    volumes_ml: tuple[float, ...]
    boxes: tuple[tuple[float, ...], ...]  # start and stop

    def largest(self) -> Array:
        """The largest part, bool; empty where there is none."""
        mask: Array = self.labels == 1
        return mask


def inside_skull(image: Volume) -> Array:
    """Slice by slice what bone encloses, two millimetres away from it; bool."""
    ndimage = _ndimage()
    pixel = image.geometry.spacing_mm[1]
    bone = image.voxels > _BONE_HU
    steps = max(1, round(_FROM_SKULL_MM / pixel))
    inside = np.zeros_like(bone)
    for index, plane in enumerate(bone):
        if plane.any():
            closed = ndimage.binary_closing(plane, iterations=2)
            enclosed = ndimage.binary_fill_holes(closed) & ~closed
            inside[index] = ndimage.binary_erosion(enclosed, iterations=steps)
    return inside


def smoothed(image: Volume) -> Array:
    """The image with less noise: blurred within its planes."""
    deviation = _BLUR_MM / image.geometry.spacing_mm[1]
    blurred: Array = _ndimage().gaussian_filter(image.voxels, (0.0, deviation, deviation), truncate=2.5)
    return blurred


def bright_parts(hounsfield: Array, inside: Array, threshold_hu: float, image: Volume) -> Parts:
    """Parts between the threshold and 110 HU, opened by one pixel, of at least 0.1 ml."""
    ndimage = _ndimage()
    whole = np.zeros(image.voxels.shape, dtype=np.int32)
    head = bounding_slices(inside)
    if head is None:
        return Parts(whole, (), ())
    mask = inside[head] & (hounsfield[head] > threshold_hu) & (hounsfield[head] < _HIGHEST_HU)
    opened = ndimage.binary_opening(mask, np.ones((1, 3, 3), dtype=np.bool_))
    labels, count = ndimage.label(opened, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)[1:]
    voxel_ml = image.geometry.voxel_ml
    order = [k for k in np.argsort(-sizes, kind="stable") if sizes[k] * voxel_ml >= _SMALLEST_ML]
    renumbered = np.zeros(count + 1, dtype=np.int32)
    renumbered[[k + 1 for k in order]] = np.arange(len(order)) + 1
    whole[head] = renumbered[labels]
    places = ndimage.find_objects(labels)
    ends = [[float(h.start + getattr(s, end)) for h, s in zip(head, places[k], strict=True)]
            for k in order for end in ("start", "stop")]  # fmt: skip
    boxes = tuple((*start, *stop) for start, stop in zip(ends[::2], ends[1::2], strict=True))
    return Parts(whole, tuple(float(sizes[k] * voxel_ml) for k in order), boxes)


def _ndimage() -> Any:
    from scipy import ndimage

    return ndimage
