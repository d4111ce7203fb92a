"""The way of a picture on the device: up once, then preparation, network and decoding of each stage, answers down.

The host waits once for all the stages that it asks for together. Where the device can, what they are made of is
recorded as one graph at the second picture of a shape, and launched as a whole from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_runtime.device.base import Buffer, Device, Event, Graph, Stream
from edge_runtime.device.mirror import Mirror
from edge_runtime.domain import Array
from edge_runtime.engines.runner import Turn, one_at_a_time
from edge_runtime.errors import DeviceError, DeviceLost, InferenceFailed, OutOfDeviceMemory
from edge_runtime.stages.on_device import Answered, Asked, DeviceRun, OnDevice

log = logging.getLogger("edge_runtime.stages")

_MOST_SHAPES = 6
"""Of pictures, for which memory is held: it is never given back."""

_MOST_PINNED, _MOST_GRAPHS = 64, 256

Key = tuple[int | None, tuple[tuple[str, int], ...]]
"""What is asked of a picture: from where it is uploaded (0: the path's own memory; None: it is there), and the runs."""


@dataclass(eq=False)
class _Fit:
    """Memory for pictures of one shape and element type, and the graphs of what was asked of them."""

    pixels: Mirror
    ended: Event
    runs: dict[tuple[str, int], DeviceRun] = field(default_factory=dict)
    graphs: dict[Key, Graph | None] = field(default_factory=dict)
    seen: set[Key] = field(default_factory=set)


class FramePath:
    """Pictures of one lane, one at a time: its own stream, memory and graphs."""

    def __init__(
        self,
        device: Device,
        stream: Stream,
        turn: Turn | None = None,
        *,
        graphs: bool = True,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`graphs`: record them where the device can. `told` hears how each went: captured or fallback."""
        self._device, self._stream, self._told = device, stream, told
        self._turn: Turn = turn or one_at_a_time()
        self._capturing = graphs and device.abilities.graphs
        self._fits: dict[tuple[tuple[int, ...], str], _Fit | None] = {}
        self._scratch: dict[str, list[Buffer]] = {}
        self._pinned: dict[int, Array] = {}
        self.waited_seconds = 0.0  # of the last run: for its turn

    def takes(self, picture: Array) -> bool:
        """Whether there is memory for pictures of this shape and element type; taken for a new one."""
        key = (picture.shape, picture.dtype.name)
        if key not in self._fits:
            self._fits[key] = self._fitted(picture)
        return self._fits[key] is not None

    def pin(self, picture: Array) -> None:
        """Upload pictures from where this one lies, without a copy: its memory stays, and will hold others."""
        address = _address(picture)
        if address not in self._pinned and len(self._pinned) < _MOST_PINNED:
            pinned = self._device.pin(picture)
            if pinned is not None:
                self._pinned[address] = pinned

    def run(self, picture: Array, asked: Sequence[Asked], *, fresh: bool) -> list[Answered]:
        """Run stages on a picture (rows, columns[, 3]) that `takes` says yes to.

        `fresh`: it is another picture than the last run's.

        Raises:
            EngineError: the device failed.
            OutOfDeviceMemory: for what was asked; `takes` says no to such pictures from now on.
            InferenceFailed: a library failed on this picture; nobody knows on which stage.
        """
        fit = self._fits[picture.shape, picture.dtype.name]
        assert fit is not None
        source = self._source(fit, picture) if fresh else None
        placed = self._placed(fit, picture, asked)
        runs = [one for one in placed if isinstance(one, DeviceRun)]
        with self._turn() as self.waited_seconds:
            try:
                self._launch(fit, runs, source)
                fit.ended.synchronize()
            except InferenceFailed:
                self._stream.reset()  # what was appended before it ends before anything is written anew
                raise
        return [one.answered() if isinstance(one, DeviceRun) else Answered(one) for one in placed]

    def tensors(self, work: OnDevice) -> tuple[Array, Array]:
        """The network's input and output of the last run of a stage, copies."""
        found = []
        for buffer in (work.input, work.output):
            array = np.zeros(buffer.shape, buffer.dtype)
            self._device.download(buffer, array, self._stream)
            found.append(array)
        self._stream.synchronize()
        return found[0], found[1]

    def close(self) -> None:
        """Free the graphs; a second call does nothing."""
        for fit in self._fits.values():
            for graph in () if fit is None else fit.graphs.values():
                if graph is not None:
                    graph.close()
        self._fits.clear()

    def _fitted(self, picture: Array) -> _Fit | None:
        reason = ""
        if len(self._fits) >= _MOST_SHAPES:
            reason = f"memory is held for {_MOST_SHAPES} other shapes of pictures already"
        else:
            try:
                return _Fit(Mirror(self._device, picture.shape, picture.dtype.name), self._device.event())
            except OutOfDeviceMemory as error:
                reason = str(error)
        event = {"shape": picture.shape, "dtype": picture.dtype.name, "reason": reason}
        log.warning("pictures of this shape are prepared and read by the host", extra={"event": event})
        return None

    def _source(self, fit: _Fit, picture: Array) -> Array:
        """Where the picture is uploaded from."""
        pinned = self._pinned.get(_address(picture))
        if pinned is not None and _layout(pinned) == _layout(picture) and not fit.pixels.shared:
            return pinned
        np.copyto(fit.pixels.host, picture)
        return fit.pixels.host

    def _placed(self, fit: _Fit, picture: Array, asked: Sequence[Asked]) -> list[DeviceRun | InferenceFailed]:
        placed: list[DeviceRun | InferenceFailed] = []
        counts: dict[str, int] = {}
        for each in asked:
            name = each.work.name
            number = counts[name] = counts.get(name, -1) + 1
            run = fit.runs.get((name, number))
            try:
                if run is None:
                    run = DeviceRun(self._device, each.work, number, picture.shape[:2], self._scratch_of(each.work))
                    fit.runs[name, number] = run
                run.place(each, picture.shape, picture.dtype.name)
                placed.append(run)
            except InferenceFailed as error:
                placed.append(error)
            except OutOfDeviceMemory:
                self._fits[picture.shape, picture.dtype.name] = None  # from now on the host does it
                raise
        return placed

    def _scratch_of(self, work: OnDevice) -> list[Buffer]:
        if work.name not in self._scratch:
            self._scratch[work.name] = [self._device.empty(*tensor) for tensor in work.decoding.scratch_tensors()]
        return self._scratch[work.name]

    def _launch(self, fit: _Fit, runs: Sequence[DeviceRun], source: Array | None) -> None:
        key = (None if source is None else _address(source), tuple(run.key for run in runs))
        if key in fit.seen and key not in fit.graphs and len(fit.graphs) < _MOST_GRAPHS:
            fit.graphs[key] = self._captured(fit, runs, source)
        graph = fit.graphs.get(key)
        if graph is not None:
            graph.launch(self._stream)
        else:
            self._append(fit, runs, source)
            fit.seen.add(key)
        self._stream.record(fit.ended)

    def _append(self, fit: _Fit, runs: Sequence[DeviceRun], source: Array | None) -> None:
        if source is not None and not fit.pixels.shared:
            self._device.upload(source, fit.pixels.buffer, self._stream)
        for run in runs:
            run.append(fit.pixels.buffer, self._stream)

    def _captured(self, fit: _Fit, runs: Sequence[DeviceRun], source: Array | None) -> Graph | None:
        if not self._capturing:
            return None
        reason = next((why for run in runs if (why := run.work.runner.session.not_capturable)), "")
        if not reason:
            try:
                graph = self._device.capture(self._stream, lambda: self._append(fit, runs, source))
            except DeviceLost:
                raise
            except (DeviceError, InferenceFailed) as error:  # what fails for good says so again
                reason = str(error)
            else:
                self._told("captured")
                return graph
        event = {"stages": [run.work.name for run in runs], "reason": reason}
        log.warning("no graph: the work is appended piece by piece", extra={"event": event})
        self._told("fallback")
        return None


def _layout(array: Array) -> tuple[object, ...]:
    return array.shape, array.strides, array.dtype


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
