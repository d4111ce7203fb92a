"""The bare engines of a pipeline on their device, frame by frame: copy in, compute, copy out, no more."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.scenarios.engine_runs import golden_input
from edge_runtime.backends.base import Backend, Session
from edge_runtime.device.base import Device, Graph, Priority, Stream
from edge_runtime.device.mirror import Mirror
from edge_runtime.domain import Array
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.errors import CaptureFailed, EngineError

_AHEAD = 2
"""Frames on the device at once where it is saturated."""


@dataclass
class FrameTimes:
    """Of single frames, in seconds.

    wall: by the host's clock, from the first call until the last output lies in the host's memory. device: between the
    events before the first copy in and after the last copy out. host: processor time of the thread in its calls.
    """

    wall: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)
    host: list[float] = field(default_factory=list)


class BareEngines:
    """Engines with contexts and pinned memory of their own for each frame that is under way.

    `sequence` names the runs of one frame, such as a classifier, a detector, and a segmenter for each region. Each run
    is of the engine's golden input, from pinned memory of the host, and its output comes back into such memory.

    Raises:
        EngineError: the library does not take an engine, or a run failed.
    """

    def __init__(self, engines: Mapping[str, VerifiedEngine], sequence: Sequence[str], backend: Backend,
                 device: Device) -> None:  # fmt: skip
        self._device = device
        self._sessions = {name: backend.load(engine.data, device) for name, engine in engines.items()}
        inputs = {name: golden_input(engine) for name, engine in engines.items()}
        self._lanes = [_Lane(device, self._contexts(number), sequence, inputs) for number in range(_AHEAD)]
        self.not_captured = "nothing was recorded"

    def capture(self) -> str:
        """Record the frame as a graph, once for each that may be under way; why that cannot be, empty where it can."""
        self.not_captured = self._captured()
        return self.not_captured

    def _captured(self) -> str:
        if not self._device.abilities.graphs:
            return f"{self._device.name} has no graphs"
        for lane in self._lanes:
            lane.run()  # libraries settle in the first run of a shape
            lane.stream.synchronize()
            try:
                why = lane.record()
            except CaptureFailed as error:
                why = str(error)
            if why:
                return why
        return ""

    def run(self, count: int, *, graph: bool) -> FrameTimes:
        """So many frames, one after the other."""
        times, lane = FrameTimes(), self._lanes[0]
        for _ in range(count):
            busy, began = time.thread_time(), time.perf_counter()
            lane.issue(graph=graph)
            lane.stream.synchronize()
            times.wall.append(time.perf_counter() - began)
            times.host.append(time.thread_time() - busy)
            times.device.append(lane.ended.elapsed_seconds(lane.began))
        return times

    def saturate(self, seconds: float, *, graph: bool) -> float:
        """Frames a second, where the copies of one frame may overlap the networks of another."""
        waiting: deque[_Lane] = deque()
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds or count < _AHEAD:
            if len(waiting) == len(self._lanes):
                waiting.popleft().ended.synchronize()
            lane = self._lanes[count % len(self._lanes)]
            lane.issue(graph=graph)
            waiting.append(lane)
            count += 1
        for lane in waiting:
            lane.ended.synchronize()
        return count / (time.perf_counter() - began)

    def outputs(self) -> list[Array]:
        """Of the last frame of the first place: a copy of each run's output."""
        return [one.outputs[-1].host.copy() for one in self._lanes[0].runs]

    def close(self) -> None:
        """Free graphs, streams and networks."""
        for lane in self._lanes[::-1]:
            lane.close()

    def _contexts(self, lane: int) -> dict[str, Session]:
        """One a frame that is under way: the first has those that were loaded."""
        return self._sessions if lane == 0 else {name: one.another() for name, one in self._sessions.items()}


class _Lane:
    """One frame under way: a stream, and the buffers of its runs."""

    def __init__(self, device: Device, sessions: Mapping[str, Session], sequence: Sequence[str],
                 inputs: Mapping[str, Array]) -> None:  # fmt: skip
        self.stream: Stream = device.stream(Priority.HIGH)
        self.began, self.ended = device.event(), device.event()
        self.runs = [_Run(device, sessions[name], inputs[name]) for name in sequence]
        self._device, self._sessions = device, sessions
        self._graph: Graph | None = None

    def issue(self, *, graph: bool) -> None:
        """Put one frame on the stream, between the two events."""
        self.stream.record(self.began)
        if not graph:
            self.run()
        elif self._graph is None:
            raise EngineError("nothing was captured")
        else:
            self._graph.launch(self.stream)
        self.stream.record(self.ended)

    def run(self) -> None:
        for one in self.runs:
            one.enqueue(self.stream)

    def record(self) -> str:
        """Make the graph; why a library does not take part in one, empty where all do."""
        why = next((one.not_capturable for one in self._sessions.values() if one.not_capturable), "")
        if not why:
            self._graph = self._device.capture(self.stream, self.run)
        return why

    def close(self) -> None:
        if self._graph is not None:
            self._graph.close()
        self.stream.close()
        for session in self._sessions.values():
            session.close()


class _Run:
    """One engine's run within a frame."""

    def __init__(self, device: Device, session: Session, prepared: Array) -> None:
        self._session = session
        self.inputs = [Mirror(device, t.shape, t.dtype) for t in session.inputs]
        self.outputs = [Mirror(device, t.shape, t.dtype) for t in session.outputs]
        self.inputs[0].host[...] = prepared
        tensors = (*session.inputs, *session.outputs)
        mirrors = (*self.inputs, *self.outputs)
        self._bindings = {t.name: m.buffer for t, m in zip(tensors, mirrors, strict=True)}

    def enqueue(self, stream: Stream) -> None:
        for one in self.inputs:
            one.upload(stream)
        self._session.enqueue(self._bindings, stream)
        for one in self.outputs:
            one.download(stream)
