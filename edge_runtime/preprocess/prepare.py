"""Carry out a card's recipe: from a volume, or the frames of one, to the network's input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from edge_runtime.domain import Array, Frames, Image, Volume
from edge_runtime.engines.card import Card
from edge_runtime.engines.recipe import (
    Colour,
    Crop,
    Letterbox,
    Normalize,
    Orient,
    Resample,
    Resize,
    Scale,
    Standardize,
    Tile,
    Window,
)
from edge_runtime.engines.sampling import letterbox, resample_linear, resize_linear, resize_nearest
from edge_runtime.engines.views import Place, Placement, Prepared, Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.preprocess import placing, tiling

Prepare = Callable[[Image, Region | None, float], Iterator[Place]]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_MOST_VOXELS = 200_000_000
"""Of a resampled image: more is a wrong spacing."""


@dataclass(frozen=True, eq=False)
class _Work:
    """A recipe under way: the whole source, where the array lies, the array so far. `own`: it may be written to.

    `spacing_mm` is that of the array's axes of space, where it is known and still holds.
    """

    source: Array
    placement: Placement
    array: Array
    own: bool
    spacing_mm: tuple[float, ...] | None


def compile_recipe(card: Card) -> Prepare:
    """The function that makes the card's inputs: (image, region or None, margin) -> the volume, or each frame.

    It raises `InferenceFailed` where the image cannot be what the recipe asks for.
    """
    return partial(_prepare, card)


def _prepare(card: Card, image: Image, region: Region | None, margin: float) -> Iterator[Place]:
    if card.input.kind == "volume":
        volume, placement, spacing = oriented_volume(card, image)
        work = _Work(volume.voxels, placement, placement.orient(volume.voxels), False, spacing)
        turned = isinstance(card.preprocess[0].operation, Orient)
        yield _run(card, work, region, margin, skip=1 if turned else 0)
        return
    planes = image.pixels if isinstance(image, Frames) else image.voxels
    in_plane = image.spacing_mm if isinstance(image, Frames) else image.geometry.spacing_mm[1:]
    frames = range(len(planes)) if region is None else range(int(region.start[0]), int(np.ceil(region.stop[0])))
    for index in frames:
        placement = placing.whole(planes.shape[1:3], index)
        work = _Work(planes[index], placement, planes[index], False, in_plane)
        yield _run(card, work, region, margin, skip=0)


def oriented_volume(card: Card, image: Image) -> tuple[Volume, Placement, tuple[float, ...]]:
    """The image as a volume, the whole of it turned as the recipe says, and the spacing of its axes in mm.

    Raises:
        InferenceFailed: it is no volume.
    """
    if not isinstance(image, Volume):
        raise InferenceFailed(f"engine {card.name} takes a volume, and these frames make none")
    first = card.preprocess[0].operation
    placement = placing.oriented(image.geometry, first.axes) if isinstance(first, Orient) else None
    placement = placement or placing.whole(image.voxels.shape)
    return image, placement, tuple(image.geometry.spacing_mm[axis] for axis in placement.axes)


def _run(card: Card, work: _Work, region: Region | None, margin: float, skip: int) -> Place:
    for step in card.preprocess[skip:]:
        operation = step.operation
        if isinstance(operation, Tile):
            return _tiled(card, operation, work)
        if isinstance(operation, Crop):
            work = work if region is None else _crop(card, work, region, margin)
        elif isinstance(operation, Resample):
            work = _resample(card, operation, work)
        elif isinstance(operation, Letterbox):
            work = _letterbox(operation, work)
        else:
            array = _OPERATIONS[type(operation)](operation, work)
            spacing = None if isinstance(operation, Resize) else work.spacing_mm
            work = _Work(work.source, work.placement, array, True, spacing)
    return Place(work.placement, (Prepared(_as_input(card, work.array)),))


def _tiled(card: Card, operation: Tile, work: _Work) -> Place:
    grid = work.array.shape[: len(operation.shape)]
    windows = tiling.tiles(grid, operation.shape, operation.overlap)
    inputs = tuple(Prepared(_as_input(card, tiling.cut(work.array, tile, operation.fill)), tile) for tile in windows)
    return Place(work.placement, inputs)


def _as_input(card: Card, array: Array) -> Array:
    if card.input.shape[1] == 3 and array.ndim == 3:
        array = array.transpose(2, 0, 1)
    if array.size != np.prod(card.input.shape):
        raise InferenceFailed(f"engine {card.name}: the recipe gives {array.shape}, the input is {card.input.shape}")
    array = np.ascontiguousarray(array, dtype=np.float32).reshape(card.input.shape)
    if not np.isfinite(array.sum(dtype=np.float64)):
        raise InferenceFailed(f"engine {card.name}: the image holds numbers that are not finite, or has no contrast")
    return array


def _crop(card: Card, work: _Work, region: Region, margin: float) -> _Work:
    cut = cut_for(card, work.placement, work.spacing_mm, region, margin)
    return _Work(work.source, cut, cut.cut(cut.orient(work.source)), False, work.spacing_mm)


def cut_for(
    card: Card, placement: Placement, spacing_mm: tuple[float, ...] | None, region: Region, margin: float
) -> Placement:
    """The cut to a region; never to less than one window of the network where the image has it: it needs context."""
    resample, tile = card.operation(Resample), card.operation(Tile)
    window = (1,) * len(placement.axes)
    if isinstance(resample, Resample) and isinstance(tile, Tile) and spacing_mm is not None:
        target = zip(tile.shape, resample.spacing_mm, spacing_mm, strict=True)
        window = tuple(max(1, int(n * wanted / spacing)) for n, wanted, spacing in target)
    return placing.cut_to(placement, region, margin, window)


def _resample(card: Card, operation: Resample, work: _Work) -> _Work:
    if work.spacing_mm is None:
        raise InferenceFailed(f"engine {card.name} works at {operation.spacing_mm} mm, and the image has no spacing")
    extents = work.array.shape[: len(work.spacing_mm)]
    shape, spacing_mm = resampled(card, operation, extents, work.spacing_mm)
    return _Work(work.source, work.placement, resample_linear(work.array, shape), True, spacing_mm)


def resampled(
    card: Card, operation: Resample, extents: tuple[int, ...], spacing_mm: tuple[float, ...]
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Shape and spacing in mm of an image of these extents after the resampling. Raises InferenceFailed: too large."""
    axes = list(zip(extents, spacing_mm, operation.spacing_mm, strict=True))
    shape = tuple(max(1, round(n * spacing / wanted)) for n, spacing, wanted in axes)
    if math.prod(shape) > _MOST_VOXELS:
        raise InferenceFailed(
            f"engine {card.name}: at {operation.spacing_mm} mm the image is {shape} voxels: too large"
        )
    return shape, tuple(n * spacing / new for (n, spacing, _), new in zip(axes, shape, strict=True))


def _resize(operation: Resize, work: _Work) -> Array:
    resize = resize_nearest if operation.method == "nearest-exact" else resize_linear
    return resize(work.array, operation.shape)


def _letterbox(operation: Letterbox, work: _Work) -> _Work:
    placement = placing.letterboxed(work.placement, operation.shape)
    before = tuple(a - b for a, b in zip(work.placement.start, placement.start, strict=True))
    boxed = letterbox(work.array, placement.box_shape, before, operation.shape, operation.method, operation.fill)
    return _Work(work.source, placement, boxed, True, None)


def _window(operation: Window, work: _Work) -> Array:
    if operation.range is not None:
        low, high = np.float32(operation.range[0]), np.float32(operation.range[1])
    else:
        assert operation.quantiles is not None
        over = work.array
        if operation.over == "whole":
            over = work.placement.orient(work.source)
            over = over if operation.resized is None else resize_nearest(over, operation.resized)
        low, high = quantiles(over, operation.quantiles)
    if not high > low:
        raise InferenceFailed("the image has no contrast: its lower and upper window edges are the same")
    out = _writable(work)
    out -= low
    out /= high - low
    return np.clip(out, np.float32(0), np.float32(1), out=out)


def quantiles(array: Array, at: tuple[float, ...]) -> tuple[np.float32, np.float32]:
    """Two quantiles by linear interpolation between order statistics, float32."""
    flat = np.array(array, dtype=np.float32, order="K").reshape(-1)
    ranks = [q * (flat.size - 1) for q in at]
    below = [int(rank) for rank in ranks]
    flat.partition(sorted({k for b in below for k in (b, min(b + 1, flat.size - 1))}))
    low, high = (
        np.float32(flat[b] + (flat[min(b + 1, flat.size - 1)] - flat[b]) * np.float32(rank - b))
        for b, rank in zip(below, ranks, strict=True)
    )
    return low, high


def _standardize(operation: Standardize, work: _Work) -> Array:
    out = _writable(work)
    out -= out.mean(dtype=np.float32)
    flat = out.reshape(-1)
    # Sum by blocks: a float32 dot product of everything would lose digits.
    blocks = [float(np.dot(part, part)) for part in np.array_split(flat, max(1, flat.size // 65536))]
    deviation = np.sqrt(sum(blocks) / max(1, flat.size - 1))
    if not deviation > 0:
        raise InferenceFailed("the image has no contrast: all its values are the same")
    out *= np.float32(operation.deviation / deviation)
    out += np.float32(operation.mean)
    return out


def _scale(operation: Scale, work: _Work) -> Array:
    out = _writable(work)
    out *= np.float32(operation.factor)
    out += np.float32(operation.offset)
    return out


def _normalize(operation: Normalize, work: _Work) -> Array:
    out = _writable(work)
    if out.shape[-1] != len(operation.mean) and len(operation.mean) != 1:
        raise InferenceFailed(f"normalize has {len(operation.mean)} channels, the image has {out.shape[-1]}")
    out -= np.array(operation.mean, dtype=np.float32)
    out /= np.array(operation.deviation, dtype=np.float32)
    return out


def _colour(operation: Colour, work: _Work) -> Array:
    array, spatial = work.array, len(work.placement.axes)
    if operation.to == "grey":
        return array @ _LUMA if array.ndim > spatial else array.astype(np.float32)
    return array if array.ndim > spatial else np.repeat(array[..., None], 3, axis=-1)


def _writable(work: _Work) -> Array:
    """The array so far as float32 that may be overwritten."""
    array = work.array
    return array if work.own and array.dtype == np.float32 and array.flags.writeable else array.astype(np.float32)


_OPERATIONS: dict[type, Callable[[Any, _Work], Array]] = {
    Resize: _resize,
    Window: _window,
    Standardize: _standardize,
    Scale: _scale,
    Normalize: _normalize,
    Colour: _colour,
}
