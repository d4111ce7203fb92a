"""Resizing over a fixed extent, voxel edges aligned (the convention of PyTorch's `interpolate`)."""

from __future__ import annotations

import math

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


def letterbox(
    array: Array, box: tuple[int, ...], before: tuple[int, ...], shape: tuple[int, ...], method: str, fill: float
) -> Array:
    """A resize of the first len(shape) axes over a box that reaches beyond the array by `before` at its start.

    An element whose centre lies on the array is sampled from the array alone; every other one is `fill`. float32.
    """
    around = [(a, b - a - n) for a, b, n in zip(before, box, array.shape, strict=False)]
    whole = np.pad(array, around + [(0, 0)] * (array.ndim - len(shape)), mode="edge")
    resized = resize_linear(whole, shape) if method == "linear" else resize_nearest(whole, shape).astype(np.float32)
    for axis, (a, b, m) in enumerate(zip(before, box, shape, strict=True)):
        centres = nearest_exact_indices(b, m) if method != "linear" else (2 * np.arange(m) + 1) * b // (2 * m)
        outside = (centres < a) | (centres >= a + array.shape[axis])
        resized[(slice(None),) * axis + (outside,)] = fill
    return resized


def linear_weights(size: int, new_size: int) -> Array:
    """Weights (new_size, size), float32, of a linear resize with voxel edges aligned.

    Where it shrinks the triangle is as wide as a new voxel on each side, so that nothing between is missed (PyTorch's
    `interpolate(antialias=True)`).
    """
    scale = size / new_size
    support = max(1.0, scale)
    centres = (np.arange(new_size) + 0.5) * scale
    distance = np.abs(np.arange(size)[None, :] + 0.5 - centres[:, None]) / support
    weights = np.maximum(0.0, 1.0 - distance)
    result: Array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def resample_linear(array: Array, shape: tuple[int, ...]) -> Array:
    """Linear resize of the first len(shape) axes, antialiased where it shrinks; float32, C-contiguous, a copy."""
    resized = np.array(array, dtype=np.float32, order="C")
    for axis in sorted(range(len(shape)), key=lambda k: shape[k] / array.shape[k]):
        if shape[axis] != array.shape[axis]:
            resized = _weigh(resized, axis, linear_weights(array.shape[axis], shape[axis]))
    return resized


def _weigh(array: Array, axis: int, weights: Array) -> Array:
    """Weights (new, old) times one axis of a C-contiguous array, as products of matrices where they lie."""
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    if not after:
        flat: Array = array.reshape(-1, array.shape[axis]) @ weights.T
        return flat.reshape(*before, len(weights))
    parts = array.reshape(math.prod(before), array.shape[axis], math.prod(after))
    weighed = np.empty((len(parts), len(weights), parts.shape[2]), dtype=np.float32)
    for part, out in zip(parts, weighed, strict=True):
        np.dot(weights, part, out=out)
    return weighed.reshape(*before, len(weights), *after)
