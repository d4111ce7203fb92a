"""Where results of live frames come in. What lies there is taken at once; nothing is gathered anywhere."""

from __future__ import annotations

import os
import select
import socket

from edge_runtime.frames.frame_result import FrameResult, decode

_LARGEST_MESSAGE_BYTES = 8_000_000
_MOST_AT_ONCE = 256


class Inbox:
    """The reading end of the way from infer. `descriptor`: SEQPACKET, shared with other processes, not closed here."""

    def __init__(self, descriptor: int) -> None:
        self._end = socket.socket(fileno=os.dup(descriptor))
        self._buffer = memoryview(bytearray(_LARGEST_MESSAGE_BYTES))

    def take(self, wait_seconds: float) -> list[FrameResult]:
        """All results that are there, in their order; an empty list when none came within the time."""
        if not select.select([self._end], [], [], wait_seconds)[0]:
            return []
        found: list[FrameResult] = []
        while len(found) < _MOST_AT_ONCE:
            try:
                count = self._end.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if count == 0:  # nobody has the other end any more
                break
            found.append(decode(bytes(self._buffer[:count])))
        return found

    def close(self) -> None:
        """Close our own descriptor."""
        self._end.close()
