"""Whose turn it is on the accelerator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum

from edge_runtime.errors import EngineError
from edge_runtime.telemetry.metrics import Metrics

_LOOK_AGAIN_SECONDS = 0.05


_WAITING = "edge_schedule_waiting"
_RUNNING = "edge_schedule_running"


class RunClass(str, Enum):
    """Live frames go before studies; a promoted study is past its deadline and gets one run after each live run."""

    LIVE = "live"
    STUDY = "study"
    PROMOTED = "promoted"


@dataclass(frozen=True)
class Wish:
    """A run that wants the accelerator. It is expected to take `seconds`; `deadline_at` is in monotonic seconds."""

    engine: str
    run_class: RunClass
    deadline_at: float
    seconds: float


def next_wish(
    waiting: Sequence[Wish], running: Sequence[Wish], capacity: int, live_since_promoted: int, between: int = 0
) -> int | None:
    """The index of the wish that runs next, None where none can. Pure.

    An engine runs one at a time, and `capacity` run at once. Live before study; within a class the earliest deadline
    first, and of equals the one that has waited longest. `live_since_promoted` counts the live runs since the last
    promoted one: a promoted run goes before live ones if there was any. `between` live frames are between two runs:
    they will be back at once, and a place is kept for each.
    """
    if len(running) >= capacity:
        return None
    busy = {wish.engine for wish in running}
    first: dict[RunClass, int] = {}
    for index, wish in enumerate(waiting):
        best = first.get(wish.run_class)
        if wish.engine not in busy and (best is None or wish.deadline_at < waiting[best].deadline_at):
            first[wish.run_class] = index
    order = [RunClass.LIVE]
    if len(running) + between < capacity:
        order += [RunClass.PROMOTED, RunClass.STUDY]
    if live_since_promoted > 0:
        order.insert(0, RunClass.PROMOTED)
    return next((first[each] for each in order if each in first), None)


class _Waiter:
    """A thread that waits for a turn, or has one."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.granted = False
        self.wake = threading.Event()


class Arbiter:
    """Gives turns to threads, by `next_wish`. A study that waits past its deadline is promoted while it waits.

    A thread that has a turn must not ask for another.
    """

    def __init__(self, capacity: int, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        if capacity < 1:
            raise ValueError(f"at least one run at a time, got {capacity}")
        self._capacity = capacity
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[_Waiter] = []
        self._running: list[_Waiter] = []
        self._live_since_promoted = 0
        self._frames: list[float] = []
        self._closed = False

    @contextmanager
    def frame(self, deadline_at: float) -> Iterator[None]:
        """Around all the runs of a live frame: until its deadline no study slips in between two of them."""
        with self._lock:
            self._frames.append(deadline_at)
        try:
            yield
        finally:
            with self._lock:
                self._frames.remove(deadline_at)
                self._grant()

    @contextmanager
    def turn(self, wish: Wish) -> Iterator[float]:
        """Wait for a turn and hold it within the block. Yields the seconds waited.

        Raises:
            EngineError: the arbiter was closed before it was this one's turn.
        """
        waiter, began = _Waiter(wish), self._clock()
        try:
            with self._lock:
                self._enter(waiter)
            self._wait(waiter)
            if not waiter.granted:
                raise EngineError(f"engine {wish.engine}: no turn on the accelerator, it is being shut down")
            waited = self._clock() - began
            self._metrics.observe("edge_schedule_wait_seconds", waited, **{"class": waiter.wish.run_class.value})
            yield waited
        finally:
            with self._lock:
                self._leave(waiter)

    def close(self) -> None:
        """Wake all that wait with an EngineError, and refuse all that come. Those that run end on their own."""
        with self._lock:
            self._closed = True
            for waiter in self._waiting:
                waiter.wake.set()

    def _enter(self, waiter: _Waiter) -> None:
        if self._closed:
            waiter.wake.set()
            return
        self._waiting.append(waiter)
        self._grant()
        if not waiter.granted:
            self._report(_WAITING, waiter.wish.run_class)

    def _wait(self, waiter: _Waiter) -> None:
        """A study looks again from time to time: deadlines pass without anybody coming or going."""
        again_seconds = None if waiter.wish.run_class is RunClass.LIVE else _LOOK_AGAIN_SECONDS
        while not waiter.wake.wait(again_seconds):
            with self._lock:
                self._grant()

    def _leave(self, waiter: _Waiter) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            self._report(_WAITING, waiter.wish.run_class)
        elif waiter in self._running:
            self._running.remove(waiter)
            self._report(_RUNNING, waiter.wish.run_class)
        self._grant()

    def _grant(self) -> None:
        self._promote()
        while self._waiting and not self._closed:
            running = [waiter.wish for waiter in self._running]
            wishes = [waiter.wish for waiter in self._waiting]
            index = next_wish(wishes, running, self._capacity, self._live_since_promoted, self._between())
            if index is None:
                return
            self._start(self._waiting.pop(index))

    def _between(self) -> int:
        """Live frames that are between two runs and may still be in time."""
        now = self._clock() if self._frames else 0.0
        under_way = sum(deadline_at > now for deadline_at in self._frames)
        seen = sum(waiter.wish.run_class is RunClass.LIVE for waiter in (*self._waiting, *self._running))
        return max(0, under_way - seen)

    def _start(self, waiter: _Waiter) -> None:
        run_class = waiter.wish.run_class
        if run_class is RunClass.LIVE:
            self._live_since_promoted += 1
        elif run_class is RunClass.PROMOTED:
            self._live_since_promoted = 0
        self._running.append(waiter)
        waiter.granted = True
        waiter.wake.set()
        self._report(_WAITING, run_class)
        self._report(_RUNNING, run_class)

    def _promote(self) -> None:
        late = [waiter for waiter in self._waiting if waiter.wish.run_class is RunClass.STUDY]
        now = self._clock() if late else 0.0
        for waiter in late:
            if waiter.wish.deadline_at <= now:
                waiter.wish = replace(waiter.wish, run_class=RunClass.PROMOTED)
                self._report(_WAITING, RunClass.STUDY)
                self._report(_WAITING, RunClass.PROMOTED)

    def _report(self, gauge: str, run_class: RunClass) -> None:
        those = self._waiting if gauge == _WAITING else self._running
        count = sum(waiter.wish.run_class is run_class for waiter in those)
        self._metrics.set(gauge, count, **{"class": run_class.value})
