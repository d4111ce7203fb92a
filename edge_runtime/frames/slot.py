"""The slot of a source: shared memory with the newest frame. The writer never waits, a reader never sees half of one.

The memory is a memfd with a few buffers and lives as long as any process has it open. Which buffer is the newest is one
byte. A buffer is written under an exclusive lock and read under a shared one: locks of the open file description
(fcntl(2)), which the kernel releases when a process dies, however it dies. What nobody reads is overwritten.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import threading
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from edge_runtime.domain import Array

BUFFERS = 8
"""The newest, the one being written, and what readers hold: frames in flight, and the one that is drawn."""

_PAGE_BYTES = 4096
_EMPTY = 255
_HEADER = struct.Struct("<QddIIII")
_HEADER_BYTES = 64
_FLOCK = struct.Struct("hhqqi4x")


@dataclass(frozen=True)
class FrameHeader:
    """What is known of a frame. `sequence` counts from 1, and never down, over every restart of the source's process.

    `captured_at` is CLOCK_MONOTONIC seconds, the same in all processes of a computer; `captured_unix` is UTC.
    """

    sequence: int
    captured_at: float
    captured_unix: float
    rows: int
    columns: int
    channels: int = 3  # RGB; 1 for bytes of any other kind, with rows = 1

    def __post_init__(self) -> None:
        if min(self.sequence, self.rows, self.columns, self.channels) < 1:
            raise ValueError(f"a frame has a sequence number and extents from 1, got {self}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, columns, channels)."""
        return (self.rows, self.columns, self.channels)


@dataclass(frozen=True, eq=False)
class SlotEnds:
    """The descriptors of a slot, to be inherited: its memory, and an eventfd that says that something new is there."""

    memory: int
    news: int

    def close(self) -> None:
        """Close both."""
        os.close(self.memory)
        os.close(self.news)


def create_slot(name: str, frame_bytes: int) -> SlotEnds:
    """A new, empty slot for frames of up to `frame_bytes`. Memory is taken when it is written for the first time."""
    memory = os.memfd_create(name, os.MFD_CLOEXEC)
    stride = _stride(frame_bytes)
    os.ftruncate(memory, _PAGE_BYTES + BUFFERS * stride)
    os.pwrite(memory, bytes([_EMPTY]), 0)
    return SlotEnds(memory, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))


class _Slot:
    def __init__(self, ends: SlotEnds) -> None:
        # A description of our own: locks belong to it. The inherited one is shared with the other processes.
        self._fd = os.open(f"/proc/self/fd/{ends.memory}", os.O_RDWR | os.O_CLOEXEC)
        self._news = os.dup(ends.news)
        self._map = mmap.mmap(self._fd, 0)
        self._stride = (len(self._map) - _PAGE_BYTES) // BUFFERS

    @property
    def frame_bytes(self) -> int:
        """The most that a frame may have."""
        return self._stride - _HEADER_BYTES

    def close(self) -> None:
        """Let go of the memory; what was taken from it must not be used any more."""
        os.close(self._fd)
        os.close(self._news)

    def _start(self, buffer: int) -> int:
        return _PAGE_BYTES + buffer * self._stride

    def _lock(self, buffer: int, kind: int) -> bool:
        request = _FLOCK.pack(kind, os.SEEK_SET, self._start(buffer), 1, 0)
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, request)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def _header(self, buffer: int) -> FrameHeader | None:
        fields = _HEADER.unpack_from(self._map, self._start(buffer))
        return None if fields[0] == 0 else FrameHeader(*fields[:6])

    def _pixels(self, buffer: int, header: FrameHeader) -> Array:
        start = self._start(buffer) + _HEADER_BYTES
        count = header.rows * header.columns * header.channels
        return np.frombuffer(self._map, np.uint8, count, start).reshape(header.shape)


class SlotWriter(_Slot):
    """The end of the one process that writes. After a restart it goes on after the newest number in the memory."""

    def __init__(self, ends: SlotEnds) -> None:
        super().__init__(ends)
        headers = [self._header(buffer) for buffer in range(BUFFERS)]
        self.sequence = max((header.sequence for header in headers if header is not None), default=0)

    def publish(self, pixels: Array, captured_at: float, captured_unix: float) -> FrameHeader | None:
        """Make this the newest frame. uint8 (rows, columns, channels), C-contiguous.

        None where readers hold every other buffer: the frame is dropped, as any is that nobody has time for.

        Raises:
            ValueError: the frame is larger than the slot.
        """
        rows, columns, channels = pixels.shape
        if pixels.nbytes > self.frame_bytes or pixels.dtype != np.uint8:
            raise ValueError(f"a frame of {pixels.dtype} {pixels.shape} does not fit into {self.frame_bytes} bytes")
        buffer = self._take_free()
        if buffer is None:
            return None
        self.sequence += 1
        header = FrameHeader(self.sequence, captured_at, captured_unix, rows, columns, channels)
        _HEADER.pack_into(self._map, self._start(buffer), header.sequence, captured_at, captured_unix, *header.shape, 0)
        np.copyto(self._pixels(buffer, header), pixels)
        self._lock(buffer, fcntl.F_UNLCK)
        self._map[0] = buffer
        os.eventfd_write(self._news, 1)
        return header

    def _take_free(self) -> int | None:
        newest = self._map[0]
        free = (b for b in range(BUFFERS) if b != newest)
        oldest_first = sorted(free, key=lambda b: _HEADER.unpack_from(self._map, self._start(b))[0])
        return next((b for b in oldest_first if self._lock(b, fcntl.F_WRLCK)), None)


class SlotReader(_Slot):
    """An end that reads. Frames are borrowed: their memory stays as it is until they are given back."""

    def __init__(self, ends: SlotEnds) -> None:
        super().__init__(ends)
        self._guard = threading.Lock()  # frames are given back by whichever thread is done with them
        self._held: dict[int, int] = {}

    @property
    def news(self) -> int:
        """An eventfd that is readable when something was published since `hear` was called last, by any reader."""
        return self._news

    def hear(self) -> None:
        """Take note of the news."""
        try:
            os.eventfd_read(self._news)
        except BlockingIOError:
            return

    def newest(self, after: int = 0) -> Lease | None:
        """Borrow the newest frame if its sequence number is beyond `after`."""
        while (buffer := self._map[0]) != _EMPTY:
            lease = self._borrow(buffer)
            if lease is not None and lease.header.sequence > after:
                return lease
            if lease is not None:
                lease.release()
                return None
        return None  # a buffer that cannot be locked is being overwritten: another is the newest by now

    def of(self, buffer: int, sequence: int) -> Lease | None:
        """Borrow the frame with this number from its buffer; None where something else is there by now."""
        lease = self._borrow(buffer)
        if lease is None or lease.header.sequence == sequence:
            return lease
        lease.release()
        return None

    def _borrow(self, buffer: int) -> Lease | None:
        with self._guard:
            if not self._held.get(buffer) and not self._lock(buffer, fcntl.F_RDLCK):
                return None
            self._held[buffer] = self._held.get(buffer, 0) + 1
        header = self._header(buffer)
        if header is None:
            self._give_back(buffer)
            return None
        pixels = self._pixels(buffer, header)
        pixels.setflags(write=False)
        return Lease(self, buffer, header, pixels)

    def _give_back(self, buffer: int) -> None:
        with self._guard:
            self._held[buffer] -= 1
            if self._held[buffer] == 0:
                self._lock(buffer, fcntl.F_UNLCK)


class Lease:
    """A borrowed frame. pixels: uint8 (rows, columns, channels), read-only, the slot's memory itself."""

    def __init__(self, reader: SlotReader, buffer: int, header: FrameHeader, pixels: Array) -> None:
        self.buffer = buffer
        self.header = header
        self.pixels = pixels
        self._reader: SlotReader | None = reader

    def release(self) -> None:
        """Give it back; a second call does nothing. `pixels` must not be used after it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader._give_back(self.buffer)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.release()


def _stride(frame_bytes: int) -> int:
    return -(-(frame_bytes + _HEADER_BYTES) // _PAGE_BYTES) * _PAGE_BYTES
