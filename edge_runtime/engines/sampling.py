"""Resizing over a fixed extent, voxel edges aligned (the convention of PyTorch's `interpolate`)."""

from __future__ import annotations

import numpy as np

from edge_runtime.domain import Array


def nearest_exact_indices(size: int, new_size: int) -> Array:
    """For each new index, the old index whose voxel holds its centre: floor((i + 0.5) * size / new_size)."""
    positions = (np.arange(new_size, dtype=np.float32) + np.float32(0.5)) * np.float32(size / new_size)
    return np.minimum(positions.astype(np.intp), size - 1)


def resize_nearest(array: Array, shape: tuple[int, ...]) -> Array:
    """Nearest-exact resize of the first len(shape) axes; C-contiguous, a copy."""
    # Cutting first and repeating last keeps the intermediate arrays small.
    order = sorted(range(len(shape)), key=lambda axis: shape[axis] / array.shape[axis])
    resized = array
    for axis in order:
        if shape[axis] != array.shape[axis]:
            resized = np.take(resized, nearest_exact_indices(array.shape[axis], shape[axis]), axis=axis)
    return np.array(array, order="C") if resized is array else np.ascontiguousarray(resized)


def resize_linear(array: Array, shape: tuple[int, ...]) -> Array:
    """Linear resize of the first len(shape) axes; float32."""
    from scipy import ndimage

    factors = [new / old for new, old in zip(shape, array.shape, strict=False)] + [1.0] * (array.ndim - len(shape))
    values = np.asarray(array, dtype=np.float32)
    resized: Array = ndimage.zoom(values, factors, order=1, mode="nearest", grid_mode=True)
    return resized
