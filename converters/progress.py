"""What a long command says while it works: what is being done, how far it is and about how long it still takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

EVERY_SECONDS = 2.0
"""Between two lines about one step; a step that takes less says nothing of how far it is."""


class Progress:
    """Says one line at a time through `say`. `seconds` collects what each named step took, for the report."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say
        self._clock = clock

    def say(self, text: str) -> None:
        """Say one line."""
        self._say(text)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what is being done, and add the time it takes, failed or not, to `seconds`."""
        self._say(what)
        began = self._clock()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + self._clock() - began

    def steps(self, what: str, items: Iterable[T], count: int | None) -> Iterator[T]:
        """The items as they are; now and then a line says how many are done. `count`: how many there are, if known."""
        began = said_at = self._clock()
        for done, item in enumerate(items):
            now = self._clock()
            if done and now - said_at >= EVERY_SECONDS:
                said_at = now
                self._say(f"{what}: {how_far(done, count, now - began)}")
            yield item


def how_far(done: int, count: int | None, seconds: float) -> str:
    """Such as `12 of 60, about 40 s left`, after `seconds` of work."""
    left = seconds_left(done, count, seconds)
    if count is None or left is None:
        return f"{done} done"
    return f"{done} of {count}, about {duration(left)} left"


def seconds_left(done: int, count: int | None, seconds: float) -> float | None:
    """What the rest takes at the pace so far; None where that cannot be known (yet), or there are more than `count`."""
    if count is None or done < 1 or done > count:
        return None
    return seconds / done * (count - done)


def duration(seconds: float) -> str:
    """As a person says it: `8 s`, `40 s`, `3 min`, `1 h 20 min`; rounded up, by 5 s or about as much as it is long."""
    if seconds <= 10:
        return f"{math.ceil(seconds)} s"
    if seconds <= 55:
        return f"{5 * math.ceil(seconds / 5)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    minutes = 10 * math.ceil(minutes / 10)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h" + (f" {rest} min" if rest else "")
