"""How long to wait before a source is opened again, and how often to say why. Pure: chance and time are arguments."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 10.0
SOUND_SECONDS = 10.0
"""A connection that gave frames for this long was a good one: the waiting begins from the first again."""

SAID_AGAIN_SECONDS = 600.0
"""The same failure is not logged more often."""


class Said:
    """What was said lately of a source's failures."""

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}

    def is_news(self, failure: str, now: float) -> bool:
        """Whether a failure is to be said now (CLOCK_MONOTONIC seconds), which is then taken to be done."""
        self._said_at = {text: at for text, at in self._said_at.items() if now - at < SAID_AGAIN_SECONDS}
        if failure in self._said_at:
            return False
        self._said_at[failure] = now
        return True


class Backoff:
    """0.5 s, doubled with each failure up to 10 s; each wait is shortened by up to a quarter by chance.

    Several sources behind one switch that was off so do not all come back in the same moment.
    """

    def __init__(
        self,
        chance: Callable[[], float] = random.random,
        first_seconds: float = FIRST_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._chance = chance
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._failures = 0

    def wait_seconds(self, sound_seconds: float) -> float:
        """Before the next attempt, after one that gave good frames for `sound_seconds`, 0 where it gave none."""
        self._failures = 1 if sound_seconds >= SOUND_SECONDS else min(self._failures + 1, 16)
        longest = min(self._first_seconds * 2.0 ** (self._failures - 1), self._longest_seconds)
        return longest * (1.0 - 0.25 * self._chance())
