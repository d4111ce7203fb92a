"""Where a network's input lies on the source: orientation, and the cut around a region with its margin."""

from __future__ import annotations

import itertools
import math

import numpy as np

from edge_runtime.domain import Geometry
from edge_runtime.engines.views import Placement, Region

# LPS axis of each letter, and whether the letter points along it or against it.
_LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


def whole(shape: tuple[int, ...], frame: int | None = None) -> Placement:
    """The source as it is."""
    axes = tuple(range(len(shape)))
    return Placement(shape, axes, (False,) * len(shape), (0,) * len(shape), shape, frame)


def oriented(geometry: Geometry, letters: str) -> Placement:
    """The source turned to the closest axes that `letters` name (`RAS`: index 0 to the patient's right, and so on)."""
    directions = np.asarray(geometry.directions)
    wanted = [_LETTERS[letter] for letter in letters]
    along = np.array([[sign * directions[axis, lps] for axis in range(3)] for lps, sign in wanted])
    axes = max(itertools.permutations(range(3)), key=lambda p: sum(abs(along[k, axis]) for k, axis in enumerate(p)))
    flipped = tuple(bool(along[k, axis] < 0) for k, axis in enumerate(axes))
    shape = tuple(geometry.shape[axis] for axis in axes)
    return Placement(geometry.shape, axes, flipped, (0, 0, 0), shape)


def cut_to(placement: Placement, region: Region, margin: float, at_least: tuple[int, ...] | None = None) -> Placement:
    """The placement cut to `region` with `margin` times its extent added on each side, rounded to voxels.

    Centre and extent are rounded to whole voxels (half to even) before the edges are taken, in float32; the cut is
    never less than the voxels that the region touches, nor than `at_least` voxels on each oriented axis where the
    image has them.
    """
    wanted = at_least or (1,) * len(placement.axes)
    start, stop = [], []
    first = 0 if placement.frame is None else 1
    for axis, flip, least in zip(placement.axes, placement.flipped, wanted, strict=True):
        extent = placement.source_shape[axis]
        low, high = region.start[axis + first], region.stop[axis + first]
        if flip:
            low, high = extent - high, extent - low
        centre = np.round(np.float32((low + high) / 2))
        size = np.round((np.float32(1) + np.float32(2) * np.float32(margin)) * np.float32(high - low))
        a = min(int(centre - size / 2), math.floor(low))
        b = max(int(centre + size / 2), math.ceil(high))
        a, b = _grow(a, b, min(least, extent), extent)
        start.append(min(max(0, a), extent - 1))
        stop.append(max(start[-1] + 1, min(extent, b)))
    return Placement(
        placement.source_shape, placement.axes, placement.flipped, tuple(start), tuple(stop), placement.frame
    )


def letterboxed(placement: Placement, shape: tuple[int, ...]) -> Placement:
    """The placement grown evenly to the proportions of `shape`, in whole voxels, beyond the source where need be."""
    extents = placement.box_shape
    scale = max(n / m for n, m in zip(extents, shape, strict=True))
    box = [max(n, round(m * scale)) for n, m in zip(extents, shape, strict=True)]
    start = tuple(a - (b - n) // 2 for a, b, n in zip(placement.start, box, extents, strict=True))
    stop = tuple(a + b for a, b in zip(start, box, strict=True))
    return Placement(placement.source_shape, placement.axes, placement.flipped, start, stop, placement.frame)


def _grow(start: int, stop: int, least: int, extent: int) -> tuple[int, int]:
    """The interval grown about its middle to `least`, and moved into 0..extent; as it is where it is large enough."""
    if stop - start >= least:
        return start, stop
    start -= (least - (stop - start)) // 2
    start = min(max(0, start), extent - least)
    return start, start + least
