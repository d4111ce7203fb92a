"""A socket with a deadline on every read, a least rate, and one fixed buffer."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable

from edge_runtime.errors import EdgeRuntimeError

BUFFER_BYTES = 262_144
END_REASONS = (
    "peer_closed",
    "peer_aborted",
    "read_deadline",
    "too_slow",
    "write_deadline",
    "idle",
    "stopping",
)


class ConnectionEnded(EdgeRuntimeError):
    """No more can be read or written. `reason` is one of `END_REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Wire:
    """Buffered reading from a peer that may be slow, silent or hostile. Used by one thread.

    Time counts only while we wait for the peer, never while we write to disk. A wait ends at the latest after
    `read_deadline_seconds`; all waits of one message (`start_message`) together may last as long again plus the
    time that its bytes take at `minimum_bytes_per_second`.
    """

    def __init__(
        self,
        connection: socket.socket,
        read_deadline_seconds: float,
        minimum_bytes_per_second: int,
        wake: int,
        expired: Callable[[], bool],
    ) -> None:
        """`wake` is a descriptor that becomes readable when the server stops; `expired` says that nobody may finish."""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._read_deadline_seconds = read_deadline_seconds
        self._minimum_bytes_per_second = minimum_bytes_per_second
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        self._readable_or_wake = select.poll()
        self._readable_or_wake.register(connection, select.POLLIN)
        self._readable_or_wake.register(wake, select.POLLIN)
        self._wake = wake
        self._expired = expired
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._message_bytes = 0
        self._message_waited_seconds = 0.0

    def start_message(self) -> None:
        """Begin a new account of bytes and waiting."""
        self._message_bytes = self._end - self._start
        self._message_waited_seconds = 0.0

    def await_message(self, idle_seconds: float) -> bool:
        """Wait for the next byte of a message. False when the server stops first.

        Raises:
            ConnectionEnded: `idle_seconds` passed.
        """
        buffered = self._start < self._end
        if not buffered:
            self._acknowledge()
        events = dict(self._readable_or_wake.poll(0 if buffered else idle_seconds * 1000))
        if self._wake in events:
            return False
        if not (events or buffered):
            raise ConnectionEnded("idle")
        return True

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes. The caller has checked `count` against a limit.

        Raises:
            ConnectionEnded: the peer closed, or was too slow.
        """
        parts = []
        while count:
            part = self.chunk(count)
            parts.append(bytes(part))
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunk(self, limit: int) -> memoryview:
        """1 to `limit` bytes, as many as are there; valid until the next call.

        Raises:
            ConnectionEnded: the peer closed, or was too slow.
        """
        if self._start == self._end:
            self._fill()
        start = self._start
        self._start = min(self._end, start + limit)
        return self._view[start : self._start]

    def _fill(self) -> None:
        while True:
            try:
                count = self._connection.recv_into(self._buffer)
            except BlockingIOError:
                self._wait()
                continue
            except OSError as error:
                raise ConnectionEnded("peer_closed") from error
            if self._expired():
                raise ConnectionEnded("stopping")
            if count == 0:
                raise ConnectionEnded("peer_closed")
            self._start, self._end = 0, count
            self._message_bytes += count
            return

    def _acknowledge(self) -> None:
        """Send the acknowledgement that Linux would delay: a stock sender holds its last small segment until then."""
        with contextlib.suppress(OSError):  # the peer is gone; reading tells
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _wait(self) -> None:
        allowed = self._read_deadline_seconds - self._message_waited_seconds
        if self._minimum_bytes_per_second:
            allowed += self._message_bytes / self._minimum_bytes_per_second
            if allowed <= 0:
                raise ConnectionEnded("too_slow")
            seconds = min(self._read_deadline_seconds, allowed)
        else:
            seconds = self._read_deadline_seconds
        before = time.monotonic()
        self._acknowledge()
        if not self._readable.poll(seconds * 1000):
            raise ConnectionEnded("read_deadline" if seconds == self._read_deadline_seconds else "too_slow")
        self._message_waited_seconds += time.monotonic() - before

    def send(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            ConnectionEnded: the peer closed, or does not read.
        """
        left = memoryview(data)
        writable = select.poll()
        writable.register(self._connection, select.POLLOUT)
        give_up_at = time.monotonic() + self._read_deadline_seconds
        while left:
            try:
                left = left[self._connection.send(left) :]
            except BlockingIOError as error:
                seconds = give_up_at - time.monotonic()
                if seconds <= 0 or not writable.poll(seconds * 1000):
                    raise ConnectionEnded("write_deadline") from error
            except OSError as error:
                raise ConnectionEnded("peer_closed") from error

    def finish_sending(self, linger_seconds: float) -> None:
        """Stop sending, then let the peer read our last words and close first for a while. Does not close."""
        give_up_at = time.monotonic() + linger_seconds
        with contextlib.suppress(OSError):  # the peer is gone: nobody is left to read them
            self._connection.shutdown(socket.SHUT_WR)
            while (seconds := give_up_at - time.monotonic()) > 0 and self._readable.poll(seconds * 1000):
                if self._connection.recv_into(self._buffer) == 0:
                    return
