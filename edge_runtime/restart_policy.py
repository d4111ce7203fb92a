"""When a role that died starts again. Pure: time comes in as an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_runtime.errors import EXIT_DEVICE_LOST, EXIT_UNAVAILABLE

DEVICE_KINDS = ("infer", "studies")
"""The roles that use the accelerator."""

RESTARTS = 5
WITHIN_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
SPENT_WAIT_SECONDS = 300.0


@dataclass(frozen=True)
class Verdict:
    """Start again after `wait_seconds`. With `spent` the role counts as down until then."""

    wait_seconds: float
    spent: bool


class RestartBudget:
    """5 restarts in any 60 s, then one every 300 s until one lives for 60 s.

    Deaths that an item is blamed for are not counted against the role; they only make it wait longer each time.
    """

    def __init__(self) -> None:
        self._deaths: list[float] = []
        self._blamed: list[float] = []
        self._trial_ends_at = -math.inf

    def died(self, now: float, blamed_on_item: bool) -> Verdict:
        """The role died at `now` (monotonic seconds)."""
        if blamed_on_item:
            self._blamed = _recent(self._blamed, now)
            return Verdict(_wait_seconds(len(self._blamed)), spent=False)
        self._deaths = _recent(self._deaths, now)
        if len(self._deaths) > RESTARTS or now < self._trial_ends_at:
            self._trial_ends_at = now + SPENT_WAIT_SECONDS + WITHIN_SECONDS
            return Verdict(SPENT_WAIT_SECONDS, spent=True)
        return Verdict(_wait_seconds(len(self._deaths)), spent=False)


def ends_daemon(kind: str, code: int, was_ready: bool, worked_before: bool) -> bool:
    """Whether the daemon ends with a role that ended with `code`: a person is there and must mend something first.

    `was_ready`: the role has been ready since the daemon started; `worked_before`: also before, on this spool. What has
    worked is never a reason to receive no more; nor is a device that a later process may well be able to use.
    """
    if code <= 0 or was_ready:
        return False
    if kind == "capture":  # a camera is tried for ever, whatever it sends
        return code == EXIT_UNAVAILABLE
    if kind in DEVICE_KINDS:
        return code != EXIT_DEVICE_LOST and not (code == EXIT_UNAVAILABLE and worked_before)
    return True


def _recent(deaths: list[float], now: float) -> list[float]:
    return [*(t for t in deaths if now - t < WITHIN_SECONDS), now]


def _wait_seconds(deaths: int) -> float:
    return min(FIRST_WAIT_SECONDS * 2.0 ** min(deaths - 1, 16), LONGEST_WAIT_SECONDS)
