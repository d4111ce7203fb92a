"""What a backend and the pipeline need of a device: ordered streams, events, graphs, and memory allocated once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from edge_runtime.domain import Array


class Priority(str, Enum):
    """Of two streams with work, the device goes on with that of the higher priority between two kernels."""

    HIGH = "high"
    NORMAL = "normal"


@dataclass(frozen=True)
class Facts:
    """What a device is. None: not known, or nothing of the kind."""

    name: str
    kind: str  # cpu | gpu
    compute_capability: tuple[int, int] | None = None
    integrated: bool | None = None
    memory_bytes: int | None = None
    driver_version: tuple[int, int] | None = None  # the newest CUDA that the driver runs, such as (13, 0)
    pci_bus_id: str | None = None


@dataclass(frozen=True)
class Abilities:
    """What a device's binding can."""

    graphs: bool  # `capture` works
    priorities: bool  # streams of high priority go first
    shared_memory: bool  # `view` gives arrays: nothing is copied
    kernels: bool  # `load_module` works


class Buffer(Protocol):
    """Memory of the device, allocated once, of fixed shape and element type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents in elements."""

    @property
    def dtype(self) -> str:
        """NumPy's name of the element type, such as float32."""

    @property
    def address(self) -> int:
        """Address of the first byte on the device, valid until the device is closed."""


Argument = Buffer | np.generic
"""Of a kernel: the address of a buffer, or a scalar by its value and element type."""


class Event(Protocol):
    """A point on a stream."""

    def synchronize(self) -> None:
        """Block until the point is reached; raises what failed before it on its stream."""

    def elapsed_seconds(self, since: Event) -> float:
        """Seconds from `since` to this event; both must have been reached."""


class Stream(Protocol):
    """A first-in, first-out queue of work on the device.

    After a failure the stream drops its work and every `synchronize` raises the failure, until `reset`.
    """

    @property
    def handle(self) -> int:
        """What libraries call this stream: the address of a CUstream; 0 on the host."""

    def record(self, event: Event) -> None:
        """Let `event` mark this point of the stream."""

    def wait(self, event: Event) -> None:
        """Hold the work that follows until `event` is reached; a failure before it fails this stream too."""

    def synchronize(self) -> None:
        """Block until all work is done; raises the first failure."""

    def reset(self) -> None:
        """Forget a failure, after all work is done or dropped."""

    def close(self) -> None:
        """Finish the work and give the stream back; a second call does nothing."""


class Graph(Protocol):
    """Work that was recorded once and is launched as a whole, with the same buffers each time."""

    def launch(self, stream: Stream) -> None:
        """Append all of it to a stream."""

    def close(self) -> None:
        """Free it; a second call does nothing."""


class Kernel(Protocol):
    """A function of a loaded module."""

    def launch(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], arguments: Sequence[Argument], stream: Stream
    ) -> None:
        """Append one launch of `grid` blocks of `block` threads to a stream."""


class Module(Protocol):
    """Compiled kernels on the device."""

    def kernel(self, name: str) -> Kernel:
        """The kernel of that name; raises DeviceError where there is none."""


class Device(Protocol):
    """A processor that runs networks, and its memory."""

    @property
    def name(self) -> str:
        """What to call it in logs and results."""

    @property
    def facts(self) -> Facts:
        """What it is."""

    @property
    def abilities(self) -> Abilities:
        """What it can."""

    @property
    def concurrency(self) -> int:
        """How many runs of networks gain from being on it at the same time."""

    @property
    def allocations(self) -> int:
        """How often memory was taken from the device or pinned on the host since it was opened."""

    def stream(self, priority: Priority = Priority.NORMAL, /, *, immediate: bool = False) -> Stream:
        """A new stream.

        `immediate`: whoever appends work waits for it before anything else, so that where the device is the host, the
        caller's thread does it: handing it over costs two wake-ups.
        """

    def event(self) -> Event:
        """A new event, not yet recorded."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """A new buffer with undefined content. Raises OutOfDeviceMemory."""

    def staging(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A new array in memory of the host from and to which copies need no detour (pinned); valid until `close`."""

    def pin(self, array: Array, /) -> Array | None:
        """The memory of a C-contiguous array, as one that is as good as `staging`; None where it cannot be.

        It stays pinned, and the array alive, as long as what is returned.
        """

    def view(self, buffer: Buffer) -> Array | None:
        """The buffer as an array where host and device share memory, else None. It is read after a synchronize."""

    def upload(self, array: Array, buffer: Buffer, stream: Stream) -> None:
        """Copy host to device in stream order; `array` stays untouched by the caller until then."""

    def download(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Copy device to host in stream order; `array` is filled when the stream gets there."""

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what `work` appends to `stream`, and to streams that wait for it, as a graph; nothing of it runs.

        The graph keeps what it uses alive. Raises CaptureFailed; the stream is then as it was before.
        """

    def load_module(self, image: bytes, /) -> Module:
        """Load compiled kernels (a cubin). Raises DeviceError."""

    def free_bytes(self) -> int | None:
        """Memory that is free on the device now, in bytes; None where nobody counts it."""

    def close(self) -> None:
        """Close every stream and free all memory; a second call does nothing."""
