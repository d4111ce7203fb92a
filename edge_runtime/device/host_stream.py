"""Streams, events and graphs of the host. A stream is a worker thread with a queue, or whoever appends the work."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_runtime.device.base import Event, Stream
from edge_runtime.errors import CaptureFailed, EngineError

log = logging.getLogger("edge_runtime.device")


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

    def __init__(self, pieces: Sequence[Callable[[], None]], events: Sequence[HostEvent]) -> None:
        self._pieces, self._events = tuple(pieces), tuple(events)
        self._closed = False

    def launch(self, stream: Stream) -> None:
        """Append all of it to a stream."""
        if self._closed:
            raise EngineError("this graph is closed")
        for event in self._events:
            event._arm()
        host_stream(stream)._put_all(self._pieces)

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


def host_stream(stream: Stream) -> HostStream:
    """The stream, if it is one of the host."""
    if not isinstance(stream, HostStream):
        raise EngineError("this stream belongs to another device")
    return stream
