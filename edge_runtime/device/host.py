"""The host as a device: a stream is a worker thread with a queue, a buffer is a NumPy array.

It gives the pipeline on a CPU the same order, overlap and failures that a GPU's streams have.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_runtime.device.base import Abilities, Buffer, Event, Facts, Graph, Module, Priority, Stream
from edge_runtime.domain import Array
from edge_runtime.errors import CaptureFailed, DeviceError, EngineError

log = logging.getLogger("edge_runtime.device")


class HostBuffer:
    """A C-contiguous NumPy array of fixed shape. `array` is the memory itself."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.array: Array = np.zeros(shape, dtype=dtype)
        self.address: int = self.array.ctypes.data  # of the first byte

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents in elements."""
        return self.array.shape

    @property
    def dtype(self) -> str:
        """NumPy's name of the element type."""
        return self.array.dtype.name


class HostEvent:
    """A point on a host stream. It may be recorded again after it was reached."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._recorded = False
        self._seconds = 0.0
        self._failure: BaseException | None = None

    def synchronize(self) -> None:
        """Block until the point is reached; raises what failed before it on its stream."""
        if not self._recorded:
            raise EngineError("this event was never recorded on a stream; call stream.record(event) first")
        self._reached.wait()
        if self._failure is not None:
            raise self._failure

    def elapsed_seconds(self, since: Event) -> float:
        """Seconds from `since` to this event; both must have been reached."""
        assert isinstance(since, HostEvent)
        if not (self._reached.is_set() and since._reached.is_set()):
            raise EngineError("the time between two events is known when both are reached; synchronize first")
        return self._seconds - since._seconds

    def _arm(self) -> None:
        self._recorded = True
        self._reached.clear()

    def _reach(self, failure: BaseException | None) -> None:
        self._seconds = time.perf_counter()
        self._failure = failure
        self._reached.set()


class HostGraph:
    """Pieces of work of a stream, in their order."""

    def __init__(self, of: HostDevice, pieces: Sequence[Callable[[], None]], events: Sequence[HostEvent]) -> None:
        self._of = of
        self._pieces, self._events = tuple(pieces), tuple(events)
        self._closed = False

    def launch(self, stream: Stream) -> None:
        """Append all of it to a stream."""
        if self._closed:
            raise EngineError("this graph is closed")
        for event in self._events:
            event._arm()
        self._of._host(stream)._put_all(self._pieces)

    def close(self) -> None:
        """Free it; a second call does nothing."""
        self._closed = True


class HostStream:
    """A worker thread that does one piece of work after the other; if `immediate`, whoever appends the work does it."""

    handle = 0

    def __init__(self, name: str, immediate: bool = False) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._closed = False
        self._recording: _Recording | None = None
        self._gate = threading.RLock()
        self._thread = None if immediate else threading.Thread(target=self._work, name=name, daemon=True)
        if self._thread is not None:
            self._thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Append work. It is dropped when something before it failed."""
        self._put(lambda: None if self._failure is not None else work())

    def record(self, event: Event) -> None:
        """Let `event` mark this point of the stream."""
        assert isinstance(event, HostEvent)
        if self._recording is None:
            event._arm()
        else:
            self._recording.events.append(event)
        self._put(lambda: event._reach(self._failure))

    def wait(self, event: Event) -> None:
        """Hold the work that follows until `event` is reached; a failure before it fails this stream too."""
        if self._recording is not None:
            if event in self._recording.events:
                return  # it is before this point on the same stream
            raise CaptureFailed("wait", "isolation", "a graph cannot wait for an event that is not of it")
        self.submit(event.synchronize)

    def synchronize(self) -> None:
        """Block until all work is done; raises the first failure."""
        if self._recording is not None:
            raise CaptureFailed("synchronize", "unsupported", "nothing runs while a graph is recorded")
        self._drain()
        if self._failure is not None:
            raise self._failure

    def reset(self) -> None:
        """Forget a failure, after all work is done or dropped."""
        self._drain()
        self._failure = None

    def close(self) -> None:
        """Finish the work and end the thread; a second call does nothing."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _record(self, work: Callable[[], None]) -> _Recording:
        if self._recording is not None:
            raise CaptureFailed("capture", "illegal state", "this stream is being recorded already")
        self._recording = _Recording()
        try:
            work()
            return self._recording
        finally:
            self._recording = None

    def _put(self, work: Callable[[], None]) -> None:
        if self._recording is not None:
            self._recording.pieces.append(work)
            return
        with self._gate:
            if self._closed:
                raise EngineError("this stream is closed")
            if self._thread is not None:
                self._queue.put(work)
            else:
                self._do(work)

    def _put_all(self, pieces: Sequence[Callable[[], None]]) -> None:
        """One hand-over to the thread for all of them."""

        def run() -> None:
            for piece in pieces:
                self._do(piece)

        self._put(run)

    def _drain(self) -> None:
        done = threading.Event()
        self._put(done.set)
        done.wait()

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            self._do(work)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._failure = error
            log.warning("work on a stream failed", extra={"event": {"error": type(error).__name__}}, exc_info=True)


@dataclass
class _Recording:
    """What is appended to a stream while a graph of it is made."""

    pieces: list[Callable[[], None]] = field(default_factory=list)
    events: list[HostEvent] = field(default_factory=list)


class HostDevice:
    """The processor that this program runs on. `threads` is the budget of every network together; 0: all cores."""

    def __init__(self, threads: int = 0) -> None:
        self.name = "cpu"
        self.facts = Facts(self.name, "cpu")
        self.abilities = Abilities(graphs=True, priorities=False, shared_memory=True, kernels=False)
        self.threads = threads
        self.concurrency = max(1, (os.cpu_count() or 1) // threads) if threads else 1
        self.allocations = 0
        self._streams: list[HostStream] = []
        self._closed = False

    def stream(self, _priority: Priority = Priority.NORMAL, /, *, immediate: bool = False) -> HostStream:
        """A new stream; the operating system's scheduler knows no priority of it."""
        self._check()
        stream = HostStream(f"stream-{len(self._streams)}", immediate)
        self._streams.append(stream)
        return stream

    def event(self) -> HostEvent:
        """A new event, not yet recorded."""
        self._check()
        return HostEvent()

    def empty(self, shape: tuple[int, ...], dtype: str) -> HostBuffer:
        """A new buffer."""
        self._check()
        self.allocations += 1
        return HostBuffer(shape, dtype)

    def staging(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A new array."""
        self._check()
        self.allocations += 1
        return np.zeros(shape, dtype=dtype)

    def view(self, buffer: Buffer) -> Array | None:
        """The buffer's memory itself."""
        self._check()
        return buffer.array if isinstance(buffer, HostBuffer) else None

    def upload(self, array: Array, buffer: Buffer, stream: Stream) -> None:
        """Copy host to device in stream order; `array` stays untouched by the caller until then."""
        target = self._memory(array, buffer)
        self._host(stream).submit(lambda: np.copyto(target, array))

    def download(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Copy device to host in stream order; `array` is filled when the stream gets there."""
        source = self._memory(array, buffer)
        self._host(stream).submit(lambda: np.copyto(array, source))

    def pin(self, _array: Array, /) -> Array | None:
        """Nothing is gained: host and device are the same."""
        return None

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what `work` appends to `stream` as a graph; nothing of it runs."""
        recorded = self._host(stream)._record(work)
        return HostGraph(self, recorded.pieces, recorded.events)

    def load_module(self, _image: bytes, /) -> Module:
        """The host runs no kernels: what they do is done by NumPy there."""
        raise DeviceError("load_module", "not supported", "kernels run on a GPU")

    def free_bytes(self) -> int | None:
        """Nobody counts it."""
        return None

    def close(self) -> None:
        """Close every stream; a second call does nothing."""
        self._closed = True
        for stream in self._streams:
            stream.close()

    def _memory(self, array: Array, buffer: Buffer) -> Array:
        self._check()
        if not isinstance(buffer, HostBuffer):
            raise EngineError("this buffer belongs to another device")
        if array.shape != buffer.shape or array.dtype.name != buffer.dtype:
            raise EngineError(
                f"cannot copy between {array.dtype} {array.shape} and a buffer of {buffer.dtype} {buffer.shape}"
            )
        return buffer.array

    def _host(self, stream: Stream) -> HostStream:
        if not isinstance(stream, HostStream):
            raise EngineError("this stream belongs to another device")
        return stream

    def _check(self) -> None:
        if self._closed:
            raise EngineError("this device is closed")
