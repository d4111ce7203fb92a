"""What passes between preparing an image and reading a network's output: where an array lies on the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_runtime.device.base import Buffer, Stream
from edge_runtime.domain import Array, Box


@dataclass(frozen=True)
class Region:
    """A box in continuous (slice, row, column) indices of the source: voxel i reaches from i to i + 1."""

    start: tuple[float, ...]
    stop: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.start) != 3 or len(self.stop) != 3:
            raise ValueError(f"a region has three axes, got {self.start} to {self.stop}")
        if any(not b > a for a, b in zip(self.start, self.stop, strict=True)):
            raise ValueError(f"a region has an extent on every axis, got {self.start} to {self.stop}")

    def box(self, shape: tuple[int, int, int]) -> Box:
        """The voxels that the region touches, within a grid of `shape`."""
        start = [min(max(0, int(np.floor(a))), n - 1) for a, n in zip(self.start, shape, strict=True)]
        low = (start[0], start[1], start[2])
        stop = [min(n, max(a + 1, int(np.ceil(b)))) for a, b, n in zip(low, self.stop, shape, strict=True)]
        return Box(low, (stop[0], stop[1], stop[2]))


@dataclass(frozen=True)
class Placement:
    """Where a prepared array lies: the source's axes permuted and flipped, cut to start..stop, then resized.

    Oriented axis k is axis `axes[k]` of the source, reversed where `flipped[k]`. The source is a volume, or the plane
    `frame` of it (two axes). The box from start to stop may reach beyond the source (a letterbox): there is nothing.
    """

    source_shape: tuple[int, ...]
    axes: tuple[int, ...]
    flipped: tuple[bool, ...]
    start: tuple[int, ...]
    stop: tuple[int, ...]
    frame: int | None = None

    @property
    def oriented_shape(self) -> tuple[int, ...]:
        """Shape of the whole source after permuting."""
        return tuple(self.source_shape[axis] for axis in self.axes)

    @property
    def box_shape(self) -> tuple[int, ...]:
        """Shape of the box from start to stop, before the resize."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    def orient(self, source: Array) -> Array:
        """The source's array permuted and flipped: a view. Axes beyond the spatial ones (colour) stay last."""
        extra = tuple(range(len(self.axes), source.ndim))
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return source.transpose(self.axes + extra)[steps]

    def cut(self, oriented: Array) -> Array:
        """The part of the oriented array that this placement covers, as far as the source reaches: a view."""
        return oriented[tuple(slice(max(0, a), b) for a, b in zip(self.start, self.stop, strict=True))]

    def restore(self, mask: Array) -> Array:
        """A mask on the box (bool, `box_shape`) as a mask on the whole source grid."""
        whole = np.zeros(self.source_shape, dtype=np.bool_)
        part = self.cut(self.orient(whole))
        first = [max(0, -a) for a in self.start]
        part[...] = mask[tuple(slice(a, a + n) for a, n in zip(first, part.shape, strict=True))]
        return whole

    def region(self, start: tuple[float, ...], stop: tuple[float, ...], shape: tuple[int, ...]) -> Region | None:
        """A box in indices of the prepared array, whose spatial extent is `shape`, as a region of the source.

        None where nothing of it lies on the source.
        """
        low, high = [0.0] * len(self.axes), [0.0] * len(self.axes)
        for k, axis in enumerate(self.axes):
            scale = (self.stop[k] - self.start[k]) / shape[k]
            a, b = self.start[k] + start[k] * scale, self.start[k] + stop[k] * scale
            extent = self.source_shape[axis]
            a, b = (extent - b, extent - a) if self.flipped[k] else (a, b)
            low[axis], high[axis] = max(0.0, a), min(float(extent), b)
            if not high[axis] > low[axis]:
                return None
        if self.frame is not None:
            low, high = [float(self.frame), *low], [float(self.frame + 1), *high]
        return Region(tuple(low), tuple(high))


@dataclass(frozen=True)
class Tile:
    """One window of a grid. `offset`: the grid's index of the window's first voxel, negative where it is padded."""

    grid: tuple[int, ...]
    offset: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def of_grid(self) -> tuple[slice, ...]:
        """The part of the grid that the window sees."""
        return tuple(slice(max(0, o), min(n, o + t)) for n, o, t in self._axes())

    @property
    def of_window(self) -> tuple[slice, ...]:
        """The same part, in indices of the window."""
        return tuple(slice(max(0, -o), min(t, n - o)) for n, o, t in self._axes())

    def _axes(self) -> zip[tuple[int, int, int]]:
        return zip(self.grid, self.offset, self.shape, strict=True)


Fill = Callable[[Buffer, Stream], None]
"""Appends to a stream of the device what writes a network's input into its buffer."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network's input, float32 and contiguous, of the card's shape; which window of its place, where it is one.

    With `fill` the input is made on the device, and `array` is empty.
    """

    array: Array
    tile: Tile | None = None
    fill: Fill | None = None

    @property
    def given(self) -> Array | Fill:
        """What a runner takes."""
        return self.array if self.fill is None else self.fill


@dataclass(frozen=True, eq=False)
class Place:
    """The whole image, a region of it, or a frame; with its inputs: one, or one for each window."""

    placement: Placement
    inputs: tuple[Prepared, ...]


@dataclass(frozen=True, eq=False)
class LabelAnswer:
    """What is said of one label in one place: a probability, or a mask on the source grid, or regions of the source.

    voxels: bool, the volume's shape, or (rows, columns) where `frame` names the plane. `scores` has one probability
    for each of `regions`, where the network gives it; `probability` is then the highest, found or not.
    """

    label: str
    probability: float | None = None
    voxels: Array | None = None
    frame: int | None = None
    regions: tuple[Region, ...] = ()
    scores: tuple[float, ...] = ()
