"""What a backend and the pipeline need of a device: ordered streams, events and buffers that are allocated once."""

from __future__ import annotations

from typing import Protocol

from edge_runtime.domain import Array


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
        """Address of the first byte, valid until the device is closed."""


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


class Device(Protocol):
    """A processor that runs networks, and its memory."""

    @property
    def name(self) -> str:
        """What to call it in logs and results."""

    @property
    def concurrency(self) -> int:
        """How many runs of networks gain from being on it at the same time."""

    def stream(self) -> Stream:
        """A new stream."""

    def event(self) -> Event:
        """A new event, not yet recorded."""

    def empty(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """A new buffer with undefined content."""

    def view(self, buffer: Buffer) -> Array | None:
        """The buffer as an array where host and device share memory, else None. It is read after a synchronize."""

    def upload(self, array: Array, buffer: Buffer, stream: Stream) -> None:
        """Copy host to device in stream order; `array` stays untouched by the caller until then."""

    def download(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Copy device to host in stream order; `array` is filled when the stream gets there."""

    def close(self) -> None:
        """Close every stream and free every buffer; a second call does nothing."""
