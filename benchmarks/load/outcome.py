"""What came of a load: latencies, throughput, and what makes them weaker. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks import statistics
from benchmarks.load.arrivals import (
    LOADGEN_MINIMUM_OFFLINE_SAMPLES,
    LOADGEN_MINIMUM_QUERIES,
    LOADGEN_MINIMUM_SECONDS,
    Load,
    Mode,
)

LATE_SHARE = 0.1
"""Of the median latency: the p99 of the lags may be this much before the generator counts as late."""

BEHIND_SHARE, BEHIND_LATENCIES = 0.1, 10
"""Of an open loop's length, and of its shortest latency: answers later than both say that a queue grew."""


@dataclass(frozen=True)
class Answered:
    """A counted query; seconds from the start. `completed` is nan where there was no answer."""

    number: int
    scheduled: float
    issued: float
    completed: float
    samples: int


@dataclass(frozen=True)
class Loaded:
    """The outcome of a load. `seconds`: from the start to the last answer, or the last arrival where that is later."""

    load: Load
    queries: tuple[Answered, ...]
    warm_up: int
    seconds: float

    @property
    def latencies(self) -> list[float]:
        """Seconds of each answered query: from its scheduled moment in an open loop, else from its issue.

        None are told of an offline load: LoadGen judges it by its throughput alone.
        """
        if self.load.mode is Mode.OFFLINE:
            return []
        return [one.completed - one.scheduled for one in self.queries if not math.isnan(one.completed)]

    @property
    def throughput(self) -> float:
        """Samples answered, a second."""
        samples = sum(one.samples for one in self.queries if not math.isnan(one.completed))
        return samples / self.seconds if samples else 0.0

    @property
    def lags(self) -> list[float]:
        """Seconds by which each query of an open loop was issued after its moment."""
        return [one.issued - one.scheduled for one in self.queries] if self.load.mode.open_loop else []

    @property
    def unanswered(self) -> int:
        """Counted queries without an answer."""
        return sum(math.isnan(one.completed) for one in self.queries)

    def shortfalls(self) -> list[str]:
        """What makes the outcome weaker, a sentence each."""
        found, mode = [], self.load.mode.value
        if self.seconds < LOADGEN_MINIMUM_SECONDS:
            found.append(f"{mode}: shorter than LoadGen's {LOADGEN_MINIMUM_SECONDS:g} s")
        offline = self.load.mode is Mode.OFFLINE
        counted = sum(one.samples for one in self.queries) if offline else len(self.queries)
        needed = LOADGEN_MINIMUM_OFFLINE_SAMPLES if offline else LOADGEN_MINIMUM_QUERIES
        if counted < needed:
            what = "samples" if offline else "queries"
            found.append(f"{mode}: fewer than LoadGen's {needed:,} {what}")
        if self.unanswered:
            waited = f"{self.load.give_up_seconds:g} s after the last arrival"
            ended = "" if self.load.mode.open_loop else "; a closed loop ends there"
            found.append(f"{mode}: {self.unanswered} of {len(self.queries)} queries had no answer {waited}{ended}")
        if self.lags and self.latencies:
            late, median = statistics.percentile(self.lags, 99), statistics.median(self.latencies)
            if late > LATE_SHARE * median:
                told = f"p99 of its lateness {1000 * late:.3g} ms, median latency {1000 * median:.3g} ms"
                found.append(f"{mode}: the generator was late ({told}): a lower rate, or more free cores")
        last = max(one.scheduled for one in self.queries) if self.load.mode.open_loop else math.inf
        behind = self.seconds - last
        if self.latencies and behind > BEHIND_SHARE * last and behind > BEHIND_LATENCIES * min(self.latencies):
            found.append(f"{mode}: the system did not hold the rate (its last answer: {behind:.3g} s after the last "
                         "arrival): latencies say how long the load was, not how fast the system is")  # fmt: skip
        return found
