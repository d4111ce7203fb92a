"""Results of a source leave in the order in which its frames were taken."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Publish = Callable[[], None]


@dataclass
class _Ticket:
    deadline_at: float
    ended: bool = False
    publish: Publish | None = None


@dataclass
class _Source:
    """Its open tickets in order: not ended, or ended and waiting for an earlier one."""

    tickets: dict[int, _Ticket] = field(default_factory=dict)
    last: int = 0
    publishing: bool = False


class Order:
    """Publishes results of each source in the order of its tickets. Thread-safe.

    A result waits until all earlier frames of its source have ended, but not for one whose deadline has passed: that
    one is overtaken, and is never published. What publishes is called without a lock held, by whichever thread comes
    by, one at a time for each source; it must own all that it needs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sources: dict[str, _Source] = {}

    def begin(self, source: str, deadline_at: float = math.inf) -> int:
        """A ticket for the next frame of the source. Nothing waits for it after `deadline_at` (monotonic seconds)."""
        with self._lock:
            known = self._sources.setdefault(source, _Source())
            known.last += 1
            known.tickets[known.last] = _Ticket(deadline_at)
            return known.last

    def end(self, source: str, ticket: int, publish: Publish | None) -> bool:
        """The frame has ended, with a result to publish in its turn, or with none.

        False where a later one has overtaken it, or it had ended before: then this is not published. An error of
        what publishes is raised, when all behind it has left too, in the thread that came by.
        """
        with self._lock:
            known = self._sources[source]
            mine = known.tickets.get(ticket)
            if mine is None or mine.ended:
                return False
            mine.ended, mine.publish = True, publish
        self._leave(known)
        return True

    def overtake(self) -> float | None:
        """Publish what waits only for frames whose deadline has passed.

        Returns the monotonic second at which there may be more to do, None where no result waits.
        """
        with self._lock:
            sources = list(self._sources.values())
        for known in sources:
            self._leave(known)
        with self._lock:
            held = [known for known in sources if _holds(known) and not known.publishing]
            return min((next(iter(known.tickets.values())).deadline_at for known in held), default=None)

    def _leave(self, known: _Source) -> None:
        while (publish := self._next(known)) is not None:
            try:
                publish()
            except BaseException:
                self._published(known)
                self._leave(known)  # what waits behind it still leaves
                raise
            self._published(known)

    def _published(self, known: _Source) -> None:
        with self._lock:
            known.publishing = False

    def _next(self, known: _Source) -> Publish | None:
        """Take the next result that may leave. None where there is none, or another thread is at it."""
        with self._lock:
            while not known.publishing and known.tickets:
                number, first = next(iter(known.tickets.items()))
                if not first.ended and not (_holds(known) and first.deadline_at <= self._clock()):
                    return None
                del known.tickets[number]
                if first.publish is not None:
                    known.publishing = True
                    return first.publish
            return None


def _holds(known: _Source) -> bool:
    """Whether a result waits for an earlier frame."""
    return any(ticket.publish is not None for ticket in known.tickets.values())
