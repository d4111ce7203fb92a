"""A stage's work on the device: preparation and decoding around its engine, and one run of it on a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edge_runtime.device.base import Buffer, Device, Stream
from edge_runtime.device.mirror import Mirror
from edge_runtime.domain import Array, Image
from edge_runtime.engines.runner import EngineRunner
from edge_runtime.engines.views import LabelAnswer, Place, Placement, Region
from edge_runtime.errors import InferenceFailed

Prepare = Callable[[Image, Region | None, float], Iterator[Place]]
"""The inputs of a stage: in an image or a region of it, with a margin."""


@dataclass(frozen=True, eq=False)
class PreparedOnDevice:
    """How a stage's volumes are prepared on the device, for the runner of its engine."""

    runner: EngineRunner
    prepare: Prepare


class Preparation(Protocol):
    """From pixels to a network's input, on the device. `preprocess.on_device` has it."""

    parameters: np.dtype[Any]

    def place(
        self, shape: tuple[int, ...], dtype: str, region: Region | None, margin: float, frame: int = 0
    ) -> tuple[Placement, Array]:
        """Where the input lies, and the parameters of one run. Raises InferenceFailed."""

    def enqueue(self, pixels: Buffer, parameters: Buffer, into: Buffer, stream: Stream) -> None:
        """Append it to a stream."""


class Decoding(Protocol):
    """From a network's output to answers, on the device but for the end. `postprocess.on_device` has it."""

    parameters: np.dtype[Any]

    def result_tensors(self, frame_shape: tuple[int, int]) -> tuple[tuple[tuple[int, ...], str], ...]:
        """What comes down of a picture of so many rows and columns."""

    def scratch_tensors(self) -> tuple[tuple[tuple[int, ...], str], ...]:
        """What stays on the device."""

    def place(self, placement: Placement) -> Array:
        """The parameters of one run."""

    def enqueue(
        self, output: Buffer, parameters: Buffer, results: Sequence[Buffer], scratch: Sequence[Buffer], stream: Stream
    ) -> None:
        """Append it to a stream."""

    def read(self, results: Sequence[Array], placement: Placement) -> tuple[LabelAnswer, ...]:
        """The answers, which hold nothing of the results' memory. Raises InferenceFailed."""


@dataclass(frozen=True, eq=False)
class OnDevice:
    """How a stage works on the device: preparation and decoding around the engine of its runner."""

    name: str
    runner: EngineRunner
    preparation: Preparation
    decoding: Decoding

    @property
    def input(self) -> Buffer:
        """Of the engine."""
        return self.runner.buffers[self.runner.card.input.name]

    @property
    def output(self) -> Buffer:
        """Of the engine."""
        return self.runner.buffers[self.runner.card.output.name]


@dataclass(frozen=True, eq=False)
class Asked:
    """A stage to run on a picture, or on a region of it."""

    work: OnDevice
    region: Region | None = None
    margin: float = 0.0


@dataclass(frozen=True, eq=False)
class Answered:
    """What came of it: answers, or why there are none; seconds on the device, of all and of the network."""

    answers: tuple[LabelAnswer, ...] | InferenceFailed
    seconds: float = 0.0
    engine_seconds: float = 0.0


class DeviceRun:
    """Memory and moments of one run of a stage within a picture."""

    def __init__(
        self, device: Device, work: OnDevice, number: int, frame_shape: tuple[int, int], scratch: Sequence[Buffer]
    ) -> None:
        self.key = (work.name, number)
        self.work, self._scratch = work, scratch
        self._parameters = Mirror(device, (work.preparation.parameters.itemsize,), "uint8")
        self._decoding = Mirror(device, (work.decoding.parameters.itemsize,), "uint8")
        self._results = [Mirror(device, *tensor) for tensor in work.decoding.result_tensors(frame_shape)]
        self._began, self._prepared, self._ran, self._ended = (device.event() for _ in range(4))
        self._placement: Placement | None = None

    def place(self, asked: Asked, shape: tuple[int, ...], dtype: str) -> None:
        """Write the parameters of this picture. Raises InferenceFailed."""
        placement, block = asked.work.preparation.place(shape, dtype, asked.region, asked.margin)
        self._parameters.host[...] = block.view(np.uint8).reshape(-1)
        self._decoding.host[...] = asked.work.decoding.place(placement).view(np.uint8).reshape(-1)
        self._placement = placement

    def append(self, pixels: Buffer, stream: Stream) -> None:
        """All of it, to a stream."""
        work = self.work
        stream.record(self._began)
        for block in (self._parameters, self._decoding):
            block.upload(stream)
        work.preparation.enqueue(pixels, self._parameters.buffer, work.input, stream)
        stream.record(self._prepared)
        work.runner.session.enqueue(work.runner.buffers, stream)
        stream.record(self._ran)
        results = [mirror.buffer for mirror in self._results]
        work.decoding.enqueue(work.output, self._decoding.buffer, results, self._scratch, stream)
        for mirror in self._results:
            mirror.download(stream)
        stream.record(self._ended)

    def answered(self) -> Answered:
        """After the wait."""
        assert self._placement is not None
        answers: tuple[LabelAnswer, ...] | InferenceFailed
        try:
            answers = self.work.decoding.read([mirror.host for mirror in self._results], self._placement)
        except InferenceFailed as error:
            answers = error
        seconds = self._ended.elapsed_seconds(self._began)
        return Answered(answers, seconds, self._ran.elapsed_seconds(self._prepared))
