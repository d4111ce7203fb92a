"""Sliding windows over a grid."""

from __future__ import annotations

import itertools
import math

import numpy as np

from edge_runtime.domain import Array
from edge_runtime.engines.views import Tile
from edge_runtime.errors import InferenceFailed

MOST_WINDOWS = 512
"""More is no study of the kind that the network knows: a wrong spacing, or a part of the body too large."""


def offsets(extent: int, window: int, overlap: float) -> list[int]:
    """Where windows begin on one axis: evenly spread, neighbours share at least `overlap` of a window.

    One window, centred (so its offset is zero or negative), where the extent is no larger than it.
    """
    if extent <= window:
        return [-((window - extent) // 2)]
    count = math.ceil((extent - window) / max(1.0, window * (1 - overlap))) + 1
    return [round(k * (extent - window) / (count - 1)) for k in range(count)]


def tiles(grid: tuple[int, ...], window: tuple[int, ...], overlap: float) -> tuple[Tile, ...]:
    """The windows that together see every voxel of the grid.

    Raises:
        InferenceFailed: they are more than `MOST_WINDOWS`.
    """
    starts = [offsets(n, t, overlap) for n, t in zip(grid, window, strict=True)]
    count = math.prod(len(axis) for axis in starts)
    if count > MOST_WINDOWS:
        raise InferenceFailed(f"the image is {grid} voxels at the network's spacing, {count} windows: too large")
    return tuple(Tile(grid, start, window) for start in itertools.product(*starts))


def cut(array: Array, tile: Tile, fill: float) -> Array:
    """The window's part of the array (grid axes first), float32, with `fill` where it reaches beyond."""
    window = np.full(tile.shape + array.shape[len(tile.shape) :], fill, dtype=np.float32)
    window[tile.of_window] = array[tile.of_grid]
    return window
