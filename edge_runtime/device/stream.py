"""Streams and events of a GPU.

What fails on the device itself is sticky in CUDA and raises `DeviceLost` from every call that follows. What fails in a
host function is kept in the stream as `base.Stream` says, with one difference: copies and kernels behind it cannot be
taken back from a CUDA stream, so they still run; host functions behind it do not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.device import host_functions
from edge_runtime.device.base import Event, Priority
from edge_runtime.device.binding import Binding
from edge_runtime.device.host_functions import Failure
from edge_runtime.device.memory import Holdings
from edge_runtime.device.watchdog import Watchdog
from edge_runtime.errors import CaptureFailed, DeviceError, DeviceLost, EngineError

log = logging.getLogger("edge_runtime.device")


class Core:
    """What the parts of one device share."""

    def __init__(self, binding: Binding, watchdog: Watchdog) -> None:
        self.binding, self.watchdog = binding, watchdog
        self.holdings = Holdings(binding)
        self.closed = False

    def enter(self) -> Binding:
        """The binding, for calls of this thread."""
        if self.closed:
            raise EngineError("this device is closed")
        self.binding.make_current()
        return self.binding


@dataclass(eq=False)
class Recording:
    """What a capture takes in. `on`: where failures go of the host functions in it, set anew by each launch."""

    streams: list[GpuStream]
    events: dict[int, GpuEvent] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    on: Failure = field(default_factory=Failure)

    def end(self) -> None:
        """Let go of what took part; the streams are as they were before."""
        for stream in self.streams:
            stream.recording = None
        for event in self.events.values():
            event.recording = None
        self.streams.clear()


class GpuEvent:
    """A point on a stream. It may be recorded again after it was reached."""

    def __init__(self, core: Core) -> None:
        self.core = core
        binding = core.enter()
        self.handle = binding.create_event()
        core.holdings.hold(self, binding.destroy_event, self.handle)
        self.recorded = False
        self.recording: Recording | None = None  # the open capture in which it was recorded
        self.on: Failure | None = None  # of the stream it was recorded on, where host functions ran
        self.error: BaseException | None = None
        self._fork: Any = None

    def synchronize(self) -> None:
        """Block until the point is reached; raises what failed before it on its stream."""
        if self.recording is not None:
            raise CaptureFailed("synchronize", "unsupported", "nothing runs while a graph is recorded")
        if not self.recorded:
            raise EngineError("this event was never recorded on a stream; call stream.record(event) first")
        binding, watchdog = self.core.enter(), self.core.watchdog
        watchdog.begin("synchronize of an event")
        try:
            binding.synchronize_event(self.handle)
        finally:
            watchdog.end()
        if self.error is not None:
            raise self.error

    def elapsed_seconds(self, since: Event) -> float:
        """Seconds from `since` to this event; both must have been reached. CUDA's resolution is about 0.5 us."""
        first = own_event(since, self.core)
        if self.recorded and first.recorded:
            try:
                return self.core.enter().milliseconds(first.handle, self.handle) / 1000
            except DeviceError as error:
                if error.code != "CUDA_ERROR_NOT_READY":
                    raise
        raise EngineError("the time between two events is known when both are reached; synchronize first")

    def fork(self) -> Any:
        """The event that orders streams within a capture; the one that tells time is a node of the graph there."""
        if self._fork is None:
            binding = self.core.enter()
            self._fork = binding.create_event()
            self.core.holdings.hold(self, binding.destroy_event, self._fork)
        return self._fork

    def note(self, failure: Failure) -> None:
        """In stream order: what has failed before this point."""
        self.error = failure.error


class GpuStream:
    """A stream that neither waits for the default stream nor makes it wait."""

    def __init__(self, core: Core, priority: Priority, name: str) -> None:
        self.core = core
        binding = core.enter()
        self.raw, self.handle = binding.create_stream(priority)
        self.recording: Recording | None = None
        self._failure = Failure()
        self._guarded = False  # whether a host function ever ran here, or a failure of one may have come by an event
        self._closed = False
        self._what = f"synchronize of {name}"

    def enter(self) -> Binding:
        """The binding, for calls of this thread on this stream."""
        if self._closed:
            raise EngineError("this stream is closed")
        return self.core.enter()

    def host_function(self, work: Callable[[], None]) -> None:
        """Append a Python function (cuLaunchHostFunc). It must not call the device. Dropped if one before it failed."""
        self.enter()
        recording = self.recording
        if recording is None:
            self._guarded = True
            host_functions.launch(self.handle, lambda: self._failure.guard(work))
        else:
            call = host_functions.launch(self.handle, lambda: recording.on.guard(work), once=False)
            recording.tokens.append(call)

    def record(self, event: Event) -> None:
        """Let `event` mark this point of the stream."""
        binding, point = self.enter(), own_event(event, self.core)
        recording = self.recording
        if recording is None:
            point.error = None
            if self._guarded:
                host_functions.launch(self.handle, lambda: point.note(self._failure))
            point.on = self._failure if self._guarded else None
            binding.record(point.handle, self.raw)
            point.recorded = True
            return
        assert binding.graphs is not None
        if recording.tokens:
            call = host_functions.launch(self.handle, lambda: point.note(recording.on), once=False)
            recording.tokens.append(call)
        binding.graphs.record_node(point.handle, self.raw)
        binding.record(point.fork(), self.raw)
        point.recording = recording
        recording.events[id(point)] = point

    def wait(self, event: Event) -> None:
        """Hold the work that follows until `event` is reached; a failure before it fails this stream too."""
        binding, point = self.enter(), own_event(event, self.core)
        if point.recording is not None or self.recording is not None:
            self._wait_in_capture(binding, point)
            return
        if not point.recorded:
            raise EngineError("this event was never recorded on a stream; call stream.record(event) first")
        binding.wait_for_event(self.raw, point.handle)
        if point.on is not None and point.on is not self._failure:
            self._guarded = True
            host_functions.launch(self.handle, lambda: self._inherit(point))

    def _wait_in_capture(self, binding: Binding, point: GpuEvent) -> None:
        recording = point.recording
        if recording is None or self.recording not in {None, recording}:
            raise CaptureFailed("wait", "isolation", "a graph cannot wait for an event that is not of it")
        binding.wait_for_event(self.raw, point.fork())
        if self.recording is None:
            self.recording = recording
            recording.streams.append(self)

    def _inherit(self, point: GpuEvent) -> None:
        if self._failure.error is None:
            self._failure.error = point.error

    def launched(self, recording: Recording) -> None:
        """Before a graph is launched here: its failures are this stream's, and its events count as recorded."""
        if recording.tokens:
            self._guarded = True
            host_functions.launch(self.handle, lambda: setattr(recording, "on", self._failure))
        for event in recording.events.values():
            event.recorded, event.error = True, None
            event.on = self._failure if self._guarded else None

    def synchronize(self) -> None:
        """Block until all work is done; raises the first failure."""
        if self.recording is not None:
            raise CaptureFailed("synchronize", "unsupported", "nothing runs while a graph is recorded")
        self._drain(self.enter())
        if self._failure.error is not None:
            raise self._failure.error

    def reset(self) -> None:
        """Forget a failure, after all work is done. A lost device stays lost."""
        self._drain(self.enter())
        self._failure.error = None

    def close(self) -> None:
        """Finish the work and give the stream back; a second call does nothing."""
        if self._closed:
            return
        binding = self.enter()
        self._closed = True
        try:
            self._drain(binding)
            binding.destroy_stream(self.raw)
        except DeviceLost as error:
            log.warning("a stream of a lost device was given up", extra={"event": {"error": str(error)}})

    @property
    def idle(self) -> bool:
        """Whether it has no work left; a closed one has none, one in a capture cannot be asked."""
        return self._closed or (self.recording is None and self.core.binding.idle(self.raw))

    def _drain(self, binding: Binding) -> None:
        watchdog = self.core.watchdog
        watchdog.begin(self._what)
        try:
            binding.synchronize_stream(self.raw)
        finally:
            watchdog.end()


def own_event(event: Event, core: Core) -> GpuEvent:
    """The event, if it is of this device."""
    if not isinstance(event, GpuEvent) or event.core is not core:
        raise EngineError("this event belongs to another device")
    return event
