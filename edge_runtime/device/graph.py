"""CUDA graphs of a GPU: a stream's work, captured once and launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_runtime.device import host_functions
from edge_runtime.device.base import Stream
from edge_runtime.device.stream import Core, GpuStream, Recording
from edge_runtime.errors import CaptureFailed, EngineError


class _Captured:
    """An instantiated graph and what it uses. Once it is garbage, both are given back."""

    def __init__(self, handle: Any, recording: Recording) -> None:
        self.handle, self.recording = handle, recording


class GpuGraph:
    """Work that was recorded once. It may be launched on any stream of the device."""

    def __init__(self, core: Core, captured: _Captured) -> None:
        self._core = core
        self._captured: _Captured | None = captured

    def launch(self, stream: Stream) -> None:
        """Append all of it to a stream. Launches of one graph follow each other, on whatever streams."""
        captured, on = self._captured, own_stream(stream, self._core)
        if captured is None:
            raise EngineError("this graph is closed")
        if on.recording is not None:
            raise CaptureFailed("launch", "unsupported", "a graph is not launched within the capture of another")
        binding = on.enter()
        assert binding.graphs is not None
        on.launched(captured.recording)
        binding.graphs.launch(captured.handle, on.raw)

    def close(self) -> None:
        """Free it; a second call does nothing. A launch that is under way is finished."""
        self._captured = None


def capture(core: Core, stream: GpuStream, work: Callable[[], None]) -> GpuGraph:
    """Record what `work` appends to `stream`, and to streams that wait for it.

    Raises:
        CaptureFailed: the binding has no graphs, or the work cannot be recorded. What `work` raises is raised too. The
            streams are as they were before.
    """
    binding = stream.enter()
    graphs = binding.graphs
    if graphs is None:
        raise CaptureFailed(
            "capture", "not supported", "this binding has no CUDA graphs; the package cuda-bindings has"
        )
    if stream.recording is not None:
        raise CaptureFailed("capture", "illegal state", "this stream is being recorded already")
    stream.recording = recording = Recording([stream])  # first: other threads ask no stream in a capture
    try:
        graphs.begin(stream.raw)
    except BaseException:
        recording.end()
        raise
    try:
        work()
    except BaseException:
        graphs.abandon(stream.raw)
        _let_go(recording)
        raise
    try:
        handle = graphs.end(stream.raw)
    except BaseException:
        _let_go(recording)
        raise
    recording.end()
    captured = _Captured(handle, recording)

    def give_back(graph: Any) -> None:
        graphs.destroy(graph)
        _let_go(recording)

    core.holdings.hold(captured, give_back, handle)
    return GpuGraph(core, captured)


def _let_go(recording: Recording) -> None:
    recording.end()
    for token in recording.tokens:
        host_functions.forget(token)
    recording.kept.clear()
    recording.events.clear()


def own_stream(stream: Stream, core: Core) -> GpuStream:
    """The stream, if it is of this device."""
    if not isinstance(stream, GpuStream) or stream.core is not core:
        raise EngineError("this stream belongs to another device")
    return stream
