"""What waits for a slow destination: a few of each source, and of those the newest."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """A queue that never grows beyond `depth` items a source: what is put into a full one takes the oldest's place.

    So no source takes the room of another. Items come out in the order in which they were put in. Thread-safe.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: dict[str, deque[tuple[int, Item]]] = {}
        self._number = 0
        self._changed = threading.Condition()
        self._closed = False

    def put(self, source: str, item: Item) -> bool:
        """Never waits. True when an older item of the source had to go, or this one, since the queue is closed."""
        with self._changed:
            if self._closed:
                return True
            waiting = self._waiting.setdefault(source, deque())
            full = len(waiting) >= self._depth
            if full:
                waiting.popleft()
            self._number += 1
            waiting.append((self._number, item))
            self._changed.notify()
            return full

    def take(self, wait_seconds: float) -> Item | None:
        """The item that has waited longest; None when there was none within that time, or at once when closed."""
        with self._changed:
            if not self._first() and not self._closed:
                self._changed.wait(wait_seconds)
            source = self._first()
            return self._waiting[source].popleft()[1] if source else None

    def close(self) -> None:
        """Nothing more is put in; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> int:
        """Throw away what waits; how many items that were."""
        with self._changed:
            count = sum(len(waiting) for waiting in self._waiting.values())
            self._waiting.clear()
            return count

    @property
    def done(self) -> bool:
        """Closed, and nothing waits any more."""
        with self._changed:
            return self._closed and not self._first()

    def _first(self) -> str:
        ready = {source: waiting[0][0] for source, waiting in self._waiting.items() if waiting}
        return min(ready, key=ready.__getitem__) if ready else ""
