"""The host as a device: a stream is a worker thread with a queue, a buffer is a NumPy array.

It gives the pipeline on a CPU the same order, overlap and failures that a GPU's streams have.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from edge_runtime.device.base import Abilities, Buffer, Facts, Graph, Module, Priority, Stream
from edge_runtime.device.host_stream import HostEvent, HostGraph, HostStream, host_stream
from edge_runtime.domain import Array
from edge_runtime.errors import DeviceError, EngineError


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
        host_stream(stream).submit(lambda: np.copyto(target, array))

    def download(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Copy device to host in stream order; `array` is filled when the stream gets there."""
        source = self._memory(array, buffer)
        host_stream(stream).submit(lambda: np.copyto(array, source))

    def pin(self, _array: Array, /) -> Array | None:
        """Nothing is gained: host and device are the same."""
        return None

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what `work` appends to `stream` as a graph; nothing of it runs."""
        recorded = host_stream(stream)._record(work)
        return HostGraph(recorded.pieces, recorded.events)

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

    def _check(self) -> None:
        if self._closed:
            raise EngineError("this device is closed")
