"""The live pictures of the page: one stream of records for each viewer, who gets the newest picture and never a queue.

A record is 4 bytes little-endian length, then `J` and JSON, or `P` and what lies in the slot of pictures. The first is
{"hello": true, "now": ...}. The reader's clock at its request stands for that `now`, at the latest: so it can bound the
age of every picture from above, however long the bytes were under way.
"""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Callable, Iterator

from edge_runtime.config import Config
from edge_runtime.frames.channels import Channels
from edge_runtime.frames.slot import SlotEnds, SlotReader
from edge_runtime.page.server import Answer
from edge_runtime.page.sources import DOWN, source_states
from edge_runtime.telemetry.exposition import Exposition

VIEWERS = 16
STREAM_SECONDS = 15.0
"""The server ends a stream after this long, and the page asks anew: no connection lasts."""

HEARTBEAT_SECONDS = 0.4
_STATE_SECONDS = 0.2
_LOOK_MS = 500


class VideoStreams:
    """What `/live/SOURCE` gives. Reading the slots costs nothing while nobody looks."""

    def __init__(
        self, config: Callable[[], Config], channels: Channels | None, exposition: Callable[[], Exposition]
    ) -> None:
        self._config = config
        self._exposition = exposition
        self._lock = threading.Lock()
        self._viewers = 0
        self._states: dict[str, str] = {}
        self._states_until = 0.0
        sources = channels.sources if channels is not None else {}
        self._newest = {name: _Newest(name, ends.picture) for name, ends in sources.items()}
        self._changed_viewers(0)

    def watch(self, source: str) -> Answer | None:
        """The stream of a source; 503 when too many look already; None where there is no such source."""
        newest = self._newest.get(source)
        if newest is None or source not in {video.name for video in self._config().video}:
            return None
        if not self._changed_viewers(1):
            return Answer(503, "text/plain", b"too many viewers\n", {"Retry-After": "5"})
        return Answer(200, "application/octet-stream", _Viewer(newest, lambda: self._state(source), self._left))

    def close(self) -> None:
        """End all streams."""
        for newest in self._newest.values():
            newest.close()

    def _left(self) -> None:
        self._changed_viewers(-1)

    def _changed_viewers(self, change: int) -> bool:
        with self._lock:
            if self._viewers + change > VIEWERS:
                return False
            self._viewers += change
            self._exposition().update("http", [("edge_live_viewers", (), float(self._viewers))])
        return True

    def _state(self, source: str) -> str:
        with self._lock:
            now = time.monotonic()
            if now >= self._states_until:
                self._states = source_states(self._exposition())
                self._states_until = now + _STATE_SECONDS
            return self._states.get(source, DOWN)


def record(kind: bytes, content: bytes) -> bytes:
    """A record of the stream; `kind` is J (JSON) or P (a picture)."""
    return b"".join([(len(kind) + len(content)).to_bytes(4, "little"), kind, content])


class _Newest:
    """The newest picture of a source, read from its slot by a thread of its own while somebody looks."""

    def __init__(self, name: str, ends: SlotEnds) -> None:
        self._reader = SlotReader(ends)
        self._changed = threading.Condition()
        self._viewers = 0
        self._number, self._picture = 0, b""
        self._closed = False
        threading.Thread(target=self._read, name=f"live-{name}", daemon=True).start()

    def enter(self, change: int) -> None:
        """That many viewers more."""
        with self._changed:
            self._viewers += change
            self._changed.notify_all()

    def wait(self, after: int, seconds: float) -> tuple[int, bytes] | None:
        """The newest picture with its number as soon as that is beyond `after`; None where none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > after, max(0.0, seconds))
            return (self._number, self._picture) if self._number > after else None

    @property
    def closed(self) -> bool:
        """True when no picture will come any more."""
        return self._closed

    def close(self) -> None:
        """End the thread, and let go of all who wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _read(self) -> None:
        news = select.poll()
        news.register(self._reader.news, select.POLLIN)
        while self._somebody_looks():
            if news.poll(_LOOK_MS):
                self._reader.hear()
            lease = self._reader.newest(self._number)
            if lease is not None:
                with lease:
                    number, picture = lease.header.sequence, lease.pixels.tobytes()
                with self._changed:
                    self._number, self._picture = number, picture
                    self._changed.notify_all()
        self._reader.close()

    def _somebody_looks(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._viewers > 0)
            return not self._closed


class _Viewer:
    """The records for one viewer. Each is made when it is asked for: what happened meanwhile is skipped."""

    def __init__(self, newest: _Newest, state: Callable[[], str], left: Callable[[], None]) -> None:
        self._newest = newest
        self._state = state
        self._left: Callable[[], None] | None = left
        newest.enter(1)

    def __iter__(self) -> Iterator[bytes]:
        """The records, for `STREAM_SECONDS`."""
        began = beat_at = time.monotonic()
        yield record(b"J", json.dumps({"hello": True, "now": began}).encode())
        number = 0
        while (now := time.monotonic()) < began + STREAM_SECONDS and not self._newest.closed:
            if now >= beat_at:
                beat_at = now + HEARTBEAT_SECONDS
                yield record(b"J", json.dumps({"now": now, "state": self._state()}).encode())
            found = self._newest.wait(number, beat_at - time.monotonic())
            if found is not None:
                number, picture = found
                yield record(b"P", picture)

    def close(self) -> None:
        """The viewer is gone; a second call does nothing."""
        left, self._left = self._left, None
        if left is not None:
            self._newest.enter(-1)
            left()
