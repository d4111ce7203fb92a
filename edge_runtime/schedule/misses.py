"""Why a frame had no result in time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SLOWER = 1.5
"""A stage is slow where it took more than so many times its estimate."""


@dataclass(frozen=True)
class Timeline:
    """Where the time of a frame went, in seconds.

    From its capture until it was taken; waiting for the accelerator; and for each stage that ran, what it took and
    what it was expected to take.
    """

    before_taken_seconds: float
    waited_seconds: float
    stages: Sequence[tuple[float, float]] = ()


def cause_of(timeline: Timeline, deadline_seconds: float) -> str:
    """The cause of a miss, one of `metrics.MISS_CAUSES`.

    decision: it was given up while there was time left. Else whatever cost most beyond what was expected: capture
    (it was old when it was taken), waiting (for the accelerator), stage (one took longer than expected, or they do
    not fit into the deadline at all), contention (most of several took longer: something else has the computer).
    """
    took = sum(seconds for seconds, _ in timeline.stages)
    if timeline.before_taken_seconds + timeline.waited_seconds + took <= deadline_seconds:
        return "decision"
    if sum(expected for _, expected in timeline.stages) > deadline_seconds:
        return "stage"
    excess = sum(max(0.0, seconds - expected) for seconds, expected in timeline.stages)
    if excess < max(timeline.before_taken_seconds, timeline.waited_seconds):
        return "capture" if timeline.before_taken_seconds >= timeline.waited_seconds else "waiting"
    slow = sum(seconds > _SLOWER * expected for seconds, expected in timeline.stages)
    return "contention" if slow > 1 and 2 * slow > len(timeline.stages) else "stage"
