"""Issues the queries of a load to a system, and says when each was scheduled, issued and complete.

An open loop's latency counts from the moment for which a query was *scheduled*: a system that stalls shows it in every
query that was to come meanwhile (no coordinated omission, Tene 2013).
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from benchmarks.load.arrivals import Load, moments
from benchmarks.load.outcome import Answered, Loaded

__all__ = ["Answered", "Called", "Loaded", "Query", "System", "run_load"]

_AHEAD_SECONDS = 0.01  # before an open loop's first moment
_SPIN_SECONDS = 0.0002  # a sleep ends this much early; the rest is waited for awake
_CLOSE_SECONDS = 5.0


class Query:
    """Samples that belong together; `number` and `samples` run through all queries of a load, warm-up first.

    `with query:` completes it, or lets it fail with what was raised.
    """

    def __init__(
        self, number: int, samples: tuple[int, ...], answered: Callable[[int, BaseException | None], None]
    ) -> None:
        self.number, self.samples = number, samples
        self._answered = answered

    def complete(self) -> None:
        """All samples are done; from any thread.

        Raises:
            RuntimeError: the query was complete before.
        """
        self._answered(self.number, None)

    def fail(self, error: BaseException) -> None:
        """The query cannot be answered: `run_load` ends and raises the error; from any thread."""
        self._answered(self.number, error)

    def __enter__(self) -> Query:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self._answered(self.number, error)
        return True


class System(Protocol):
    """What is measured."""

    def issue(self, query: Query) -> None:
        """Begin with a query; may return before it is complete."""


class Called:
    """A system from a function of sample numbers; a context manager.

    Without workers it is called in the generator's thread, which is right for closed loops. `workers` threads take
    the queries of an open loop from a first-in-first-out queue.
    """

    def __init__(self, call: Callable[[tuple[int, ...]], None], workers: int = 0) -> None:
        self._call = call
        self._queue: queue.SimpleQueue[Query | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Called:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def issue(self, query: Query) -> None:
        """See `System`."""
        if self._threads:
            self._queue.put(query)
        else:
            self._answer(query)

    def close(self) -> None:
        """End the workers; queries that wait are left unanswered.

        Raises:
            TimeoutError: a call has not returned.
        """
        self._closing.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)
        busy = sum(thread.is_alive() for thread in self._threads)
        if busy:
            raise TimeoutError(f"{busy} of {len(self._threads)} workers have not returned from their call")

    def _work(self) -> None:
        while (query := self._queue.get()) is not None and not self._closing.is_set():
            self._answer(query)

    def _answer(self, query: Query) -> None:
        with query:
            self._call(query.samples)


def run_load(
    load: Load,
    system: System,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Loaded:
    """Issue the load.

    Raises:
        TimeoutError: a warm-up query had no answer.
        BaseException: what the system raises, in whichever thread.
    """
    run = _Run(load, system, clock)
    for _ in range(load.warm_up_queries):
        run.issue()
        if not run.wait():
            raise TimeoutError(f"a warm-up query had no answer after {load.give_up_seconds:g} s")
    if load.mode.open_loop:
        start = clock() + _AHEAD_SECONDS
        for moment in moments(load):
            _sleep_until(start + moment, clock, sleep)
            run.issue(start + moment)
        run.wait()
    else:
        start = clock()
        while run.issue() and run.wait() and not run.enough(start):
            pass
    return run.loaded(start)


def _sleep_until(moment: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    while (left := moment - clock()) > 0:
        sleep(max(0.0, left - _SPIN_SECONDS))


class _Run:
    """Queries issued and answered; moments are the clock's."""

    def __init__(self, load: Load, system: System, clock: Callable[[], float]) -> None:
        self._load, self._system, self._clock = load, system, clock
        self._changed = threading.Condition()
        self._issued: list[tuple[float, float]] = []  # scheduled, issued
        self._completed: dict[int, float] = {}
        self._error: BaseException | None = None

    def issue(self, scheduled: float | None = None) -> bool:
        """Issue the next query; its moment is now where it has none."""
        number, size = len(self._issued), self._load.samples_per_query
        query = Query(number, tuple(range(number * size, (number + 1) * size)), self._answered)
        now = self._clock()
        self._issued.append((now if scheduled is None else scheduled, now))
        self._system.issue(query)
        if self._error is not None:
            raise self._error
        return True

    def wait(self) -> bool:
        """Wait until all that was issued is answered; whether it is."""
        with self._changed:
            done = self._changed.wait_for(self._settled, self._load.give_up_seconds)
        if self._error is not None:
            raise self._error
        return done

    def enough(self, start: float) -> bool:
        """Whether a closed loop has reached both minima."""
        counted = len(self._issued) - self._load.warm_up_queries
        return self._load.enough(counted, self._completed[len(self._issued) - 1] - start)

    def loaded(self, start: float) -> Loaded:
        """The outcome; moments from `start`. What comes later is no longer part of it."""
        with self._changed:
            completed = dict(self._completed)
        counted = tuple(
            Answered(number, scheduled - start, issued - start, completed.get(number, math.nan) - start,
                     self._load.samples_per_query)
            for number, (scheduled, issued) in enumerate(self._issued)
            if number >= self._load.warm_up_queries
        )  # fmt: skip
        ends = [moment for one in counted for moment in (one.issued, one.completed) if not math.isnan(moment)]
        return Loaded(self._load, counted, self._load.warm_up_queries, max(ends))

    def _settled(self) -> bool:
        return self._error is not None or len(self._completed) == len(self._issued)

    def _answered(self, number: int, error: BaseException | None) -> None:
        now = self._clock()
        with self._changed:
            if error is not None:
                self._error = self._error or error
            elif number in self._completed:
                self._error = self._error or RuntimeError(f"query {number} is complete twice")
                self._changed.notify_all()
                raise self._error
            else:
                self._completed[number] = now
            if self._settled():
                self._changed.notify_all()
