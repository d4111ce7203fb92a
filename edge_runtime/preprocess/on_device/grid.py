"""A volume on the device, turned, cut and sampled by kernels: the grid that a network's windows are cut from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.device.base import Buffer
from edge_runtime.domain import Array
from edge_runtime.engines.sampling import linear_weights
from edge_runtime.kernels import Kernels
from edge_runtime.preprocess.on_device.steps import ELEMENTS, STEPS

VIEW = np.dtype([
    ("base", "<i8"), ("stride", "<i8", 3), ("shape", "<i4", 3), ("extent", "<i4", 3), ("scale", "<f4", 3),
    ("element", "<i4"),
])  # fmt: skip
"""VolumeView of volume.cu."""

WINDOW = np.dtype([("grid", "<i4", 3), ("window", "<i4", 3), ("fill", "<f4"), ("steps", STEPS)])
"""VolumeWindow of volume.cu."""


@dataclass(frozen=True)
class Sampling:
    """One step that samples: to `shape`, `nearest-exact`, `linear`, or linear and `antialiased`."""

    shape: tuple[int, ...]
    method: str


def taps(size: int, new_size: int, *, antialiased: bool) -> tuple[Array, Array]:
    """Of each new element the first old one, int32, and the weights of it and those that follow, float32."""
    if antialiased:
        weights = linear_weights(size, new_size)
        first = (weights > 0).argmax(axis=1)
        width = int((size - (weights[:, ::-1] > 0).argmax(axis=1) - first).max())
        first = np.minimum(first, size - width)
        return first.astype(np.int32), np.take_along_axis(weights, first[:, None] + np.arange(width), axis=1)
    place = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    width = min(2, size)
    first = np.minimum(np.floor(place), size - width)
    second = place - first
    return first.astype(np.int32), np.stack([1 - second, second], axis=1)[:, :width].astype(np.float32)


class Grid:
    """The memory of one grid at a time, and the stream that makes it. Memory that is large enough is used again."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels, self._device = kernels, kernels.device
        self.stream = self._device.stream()
        self.values = self._device.empty((1,), "float32")  # C order
        self._spare = self._device.empty((1,), "float32")
        self._voxels: tuple[Array, Buffer] | None = None
        self._held: list[tuple[Array, Buffer]] = []  # arrays on their way, and small buffers that kernels read

    def sample(self, voxels: Array, view: Array, samplings: Sequence[Sampling]) -> None:
        """Append what makes the grid of `view`, a view of `voxels`. Nothing else may read the grid before."""
        self.stream.reset()  # who asked for the grid before was told if it failed
        self._held.clear()
        source, base = self._upload(voxels), (view.ctypes.data - voxels.ctypes.data) // voxels.itemsize
        first = samplings[:1] if samplings and samplings[0].method == "nearest-exact" else ()
        shape = first[0].shape if first else view.shape
        strides = tuple(stride // voxels.itemsize for stride in view.strides)
        self._gather(source, ELEMENTS[voxels.dtype.name], base, strides, view.shape, shape)
        for sampling in samplings[len(first) :]:
            if sampling.method == "nearest-exact":
                steps = (shape[1] * shape[2], shape[2], 1)
                self._gather(self.values, ELEMENTS["float32"], 0, steps, shape, sampling.shape)
            else:
                self._resize(shape, sampling.shape, antialiased=sampling.method == "antialiased")
            shape = sampling.shape

    def block(self, array: Array) -> Buffer:
        """A small array on the device, there until the next grid."""
        memory = self._device.empty((array.nbytes,), "uint8")
        flat = np.frombuffer(array.tobytes(), np.uint8)
        self._held.append((flat, memory))
        self._device.upload(flat, memory, self.stream)
        return memory

    def sums(self, window: Buffer, count: int, threads: int) -> tuple[float, float]:
        """Sum and sum of squares of the grid's values after the steps of a block of `WINDOW`. Waits for them."""
        partial, found = self._device.empty((threads, 2), "float64"), np.zeros((threads, 2))
        arguments = (self.values, window, partial, np.uint32(count), np.uint32(threads))
        self._kernels.launch("volume_sums", (threads, 1, 1), arguments, self.stream)
        self._device.download(partial, found, self.stream)
        self.stream.synchronize()
        total, squares = found.sum(axis=0).tolist()
        return total, squares

    def _upload(self, voxels: Array) -> Buffer:
        if self._voxels is not None and self._voxels[0] is voxels:
            return self._voxels[1]
        kept = None if self._voxels is None else self._voxels[1]
        self._voxels = None
        if kept is None or kept.shape != voxels.shape or kept.dtype != voxels.dtype.name:
            kept = self._device.empty(voxels.shape, voxels.dtype.name)
        self._device.upload(voxels, kept, self.stream)
        self._voxels = (voxels, kept)
        return kept

    def _room(self, count: int) -> Buffer:
        """The buffer that does not hold the grid, for `count` values."""
        if self._spare.shape[0] < count:
            self.stream.synchronize()
            self._spare = self._device.empty((count,), "float32")
        return self._spare

    def _done(self) -> None:
        self.values, self._spare = self._spare, self.values

    def _gather(
        self,
        source: Buffer,
        element: int,
        base: int,
        strides: tuple[int, ...],
        extents: tuple[int, ...],
        shape: tuple[int, ...],
    ) -> None:
        view = np.zeros(1, dtype=VIEW)
        view["base"], view["stride"], view["shape"], view["extent"] = base, strides, shape, extents
        view["scale"], view["element"] = np.divide(extents, shape), element
        count = math.prod(shape)
        arguments = (source, self.block(view), self._room(count), np.uint32(count))
        self._kernels.launch("volume_gather", (count, 1, 1), arguments, self.stream)
        self._done()

    def _resize(self, old: tuple[int, ...], new: tuple[int, ...], *, antialiased: bool) -> None:
        shape = list(old)
        for axis in sorted(range(3), key=lambda k: new[k] / old[k]):  # what shrinks first
            if new[axis] == old[axis]:
                continue
            first, weights = taps(old[axis], new[axis], antialiased=antialiased)
            shape[axis] = new[axis]
            count = math.prod(shape)
            sizes = np.array([weights.shape[1], old[axis], new[axis], math.prod(shape[axis + 1 :]), count], np.uint32)
            tables = (self.block(first), self.block(weights))
            arguments = (self.values, *tables, self._room(count), *sizes)
            self._kernels.launch("volume_weigh", (count, 1, 1), arguments, self.stream)
            self._done()
