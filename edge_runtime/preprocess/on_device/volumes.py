"""Volumes: the voxels go to the device once, are sampled there once, and windows are cut into the network's input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge_runtime.device.base import Buffer, Event, Stream
from edge_runtime.domain import Array, Image, Volume
from edge_runtime.engines.card import Card
from edge_runtime.engines.recipe import (
    Colour,
    Crop,
    Normalize,
    Operation,
    Orient,
    Resample,
    Resize,
    Scale,
    Standardize,
    Tile,
    Window,
)
from edge_runtime.engines.sampling import resize_nearest
from edge_runtime.engines.views import Place, Placement, Prepared, Region
from edge_runtime.engines.views import Tile as View
from edge_runtime.errors import InferenceFailed
from edge_runtime.kernels import Kernels
from edge_runtime.preprocess import tiling
from edge_runtime.preprocess.on_device.grid import WINDOW, Grid, Sampling
from edge_runtime.preprocess.on_device.steps import fold
from edge_runtime.preprocess.prepare import cut_for, oriented_volume, quantiles, resampled

_SUMS = 4096  # partial sums of a whole grid


def volume_preparation(card: Card, kernels: Kernels) -> VolumePreparation | str:
    """The card's recipe on the device; a str says why it is done on the host."""
    parts = _split(card)
    return parts if isinstance(parts, str) else VolumePreparation(card, kernels)


def _split(card: Card) -> tuple[list[Operation], list[Operation]] | str:
    """The steps that sample and those that change values, or why the kernels cannot do the card's recipe."""
    if card.input.kind != "volume":
        return "its input is a frame"
    operations: list[Operation] = [s.operation for s in card.preprocess if not isinstance(s.operation, (Orient, Tile))]
    if operations and isinstance(operations[0], Crop):
        operations = operations[1:]
    if any(isinstance(operation, Crop) for operation in operations):
        return "a step on values comes before crop"
    sampling = list(itertools.takewhile(lambda operation: isinstance(operation, (Resize, Resample)), operations))
    changes = operations[len(sampling) :]
    nearest = all(isinstance(operation, Resize) and operation.method != "linear" for operation in sampling)
    plain: list[Operation] = []
    for number, operation in enumerate(changes):
        if isinstance(operation, Colour) or (isinstance(operation, Normalize) and len(operation.mean) != 1):
            return "colours are of frames"
        if isinstance(operation, Window) and operation.quantiles is not None:
            if operation.over == "here" and not (nearest and number == 0):
                return "a window by quantiles needs the whole image first"
            plain.append(Window(range=(0.0, 1.0)))
        else:
            plain += _standardizing(0.0, 1.0, operation) if isinstance(operation, Standardize) else [operation]
    folded = fold(plain)
    return folded if isinstance(folded, str) else (sampling, changes)


def _standardizing(mean: float, deviation: float, operation: Standardize) -> list[Operation]:
    """The steps that bring values with this mean and deviation to those wanted."""
    return [Normalize((mean,), (1.0,)), Scale(operation.deviation / deviation, operation.mean)]


@dataclass(frozen=True, eq=False)
class _Work:
    """What becomes the grid: the cut of a volume, sampled. `changes` are of its values."""

    voxels: Array
    view: Array  # of the voxels, turned and cut
    samplings: tuple[Sampling, ...]
    changes: tuple[Operation, ...]
    fill: float
    window: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return self.samplings[-1].shape if self.samplings else self.view.shape


class VolumePreparation:
    """A card's recipe for volumes, called as what `compile_recipe` gives; the inputs are made on the device (`fill`).

    A fill may be done again and in any order: the grid is made anew where another image or region came between. It is
    for one thread.
    """

    def __init__(self, card: Card, kernels: Kernels) -> None:
        parts = _split(card)
        if isinstance(parts, str):
            raise ValueError(f"engine {card.name}: {parts}")
        self._card = card
        self._sampling, self._changes = parts
        self._kernels, self._device = kernels, kernels.device
        self._grid = Grid(kernels)
        self._made: _Work | None = None
        self._window: Buffer | None = None
        self._ready = self._device.event()
        self._used: dict[int, tuple[Stream, Event]] = {}

    def __call__(self, image: Image, region: Region | None, margin: float) -> Iterator[Place]:
        """The place of the image, or of a region of it. Raises InferenceFailed as the recipe on the host does."""
        volume, placement, spacing = oriented_volume(self._card, image)
        if region is not None and self._card.operation(Crop) is not None:
            placement = cut_for(self._card, placement, spacing, region, margin)
        work = self._work(volume, placement, spacing)
        if not np.isfinite(work.view.sum(dtype=np.float64)):
            raise InferenceFailed(f"engine {self._card.name}: the image holds numbers that are not finite")
        tile = self._card.operation(Tile)
        if not isinstance(tile, Tile):
            yield Place(placement, (self._prepared(work, None, (0, 0, 0)),))
            return
        windows = tiling.tiles(work.shape, tile.shape, tile.overlap)
        yield Place(placement, tuple(self._prepared(work, window, window.offset) for window in windows))

    def _prepared(self, work: _Work, tile: View | None, offset: tuple[int, ...]) -> Prepared:
        return Prepared(np.empty(0, np.float32), tile, partial(self._fill, work, offset))

    def _work(self, volume: Volume, placement: Placement, spacing: tuple[float, ...]) -> _Work:
        voxels = np.ascontiguousarray(volume.voxels)
        view = placement.cut(placement.orient(voxels))
        samplings: list[Sampling] = []
        shape = view.shape
        for operation in self._sampling:
            if isinstance(operation, Resample):
                shape, spacing = resampled(self._card, operation, shape, spacing)
                samplings.append(Sampling(shape, "antialiased"))
            elif isinstance(operation, Resize):
                shape = operation.shape
                samplings.append(Sampling(shape, operation.method))
        changes = tuple(self._resolved(change, placement, voxels, view, samplings) for change in self._changes)
        tile = self._card.operation(Tile)
        fill = tile.fill if isinstance(tile, Tile) else 0.0
        return _Work(voxels, view, tuple(samplings), changes, fill, self._card.input.shape[2:])

    def _resolved(
        self, change: Operation, placement: Placement, voxels: Array, view: Array, samplings: Sequence[Sampling]
    ) -> Operation:
        """A window by quantiles as one by range."""
        if not isinstance(change, Window) or change.quantiles is None:
            return change
        over = view
        if change.over == "whole":
            over = placement.orient(voxels)
            over = over if change.resized is None else resize_nearest(over, change.resized)
        else:
            for sampling in samplings:
                over = resize_nearest(over, sampling.shape)
        low, high = quantiles(over, change.quantiles)
        if not high > low:
            raise InferenceFailed("the image has no contrast: its lower and upper window edges are the same")
        return Window(range=(float(low), float(high)))

    def _fill(self, work: _Work, offset: tuple[int, ...], into: Buffer, stream: Stream) -> None:
        """Append the cut of one window of the work's grid into a network's input."""
        if self._made is not work:
            self._make(work)
        assert self._window is not None
        stream.wait(self._ready)
        count = math.prod(work.window)
        sizes = (*np.array(offset, np.int32), np.uint32(into.dtype == "float16"), np.uint32(count))
        grid = self._grid.values
        self._kernels.launch("volume_window", (count, 1, 1), (grid, self._window, into, *sizes), stream)
        _, used = self._used.setdefault(id(stream), (stream, self._device.event()))
        stream.record(used)

    def _make(self, work: _Work) -> None:
        """Make the grid of this work, in the place of the one before, when nothing reads that any more."""
        self._made = None
        used, self._used = self._used, {}
        for _, event in used.values():
            with suppress(InferenceFailed):  # of the image before: who ran it was told
                event.synchronize()
        grid = self._grid
        grid.sample(work.voxels, work.view, work.samplings)
        changes: list[Operation] = []
        for change in work.changes:
            changes += self._standardize(work, changes, change) if isinstance(change, Standardize) else [change]
        self._window = grid.block(_block(work, changes))
        grid.stream.record(self._ready)
        self._made = work

    def _standardize(self, work: _Work, before: Sequence[Operation], operation: Standardize) -> list[Operation]:
        count = math.prod(work.shape)
        total, squares = self._grid.sums(self._grid.block(_block(work, before)), count, _SUMS)
        variance = max(0.0, squares - total * total / count) / max(1, count - 1)
        if not variance > 1e-12 * squares / count:
            raise InferenceFailed("the image has no contrast: all its values are the same")
        return _standardizing(total / count, math.sqrt(variance), operation)


def _block(work: _Work, changes: Sequence[Operation]) -> Array:
    block = np.zeros(1, dtype=WINDOW)
    block["grid"], block["window"], block["fill"], block["steps"] = work.shape, work.window, work.fill, fold(changes)
    return block
