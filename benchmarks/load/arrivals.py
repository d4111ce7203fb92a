"""How queries arrive: the scenarios of MLPerf Inference (Reddi et al. 2020, section 4), and cameras. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import count

import numpy as np

LOADGEN_MINIMUM_SECONDS = 60.0
LOADGEN_MINIMUM_QUERIES = 1024
LOADGEN_MINIMUM_OFFLINE_SAMPLES = 24_576


class Mode(str, Enum):
    """Who decides when the next query comes: the answer before it (closed loop), or the clock (open loop)."""

    SINGLE_STREAM = "single-stream"
    MULTI_STREAM = "multi-stream"
    SERVER = "server"
    OFFLINE = "offline"
    FIXED_RATE = "fixed-rate"

    @property
    def open_loop(self) -> bool:
        """Whether a query comes at its moment, whatever became of those before."""
        return self in (Mode.SERVER, Mode.FIXED_RATE)


QUOTED_PERCENTILE: dict[Mode, float | None] = {
    Mode.SINGLE_STREAM: 90, Mode.MULTI_STREAM: 99, Mode.SERVER: 99, Mode.OFFLINE: None, Mode.FIXED_RATE: 99,
}  # fmt: skip
"""The latency by which LoadGen judges a mode; offline is judged by its throughput."""


@dataclass(frozen=True)
class Load:
    """What is issued, and how long.

    Both minima must be reached: `queries`, and `seconds` (LoadGen's min_query_count and min_duration). An offline load
    is one query of `samples_per_query` samples. `rate` is in queries a second; a fixed-rate load has as many of each of
    its `streams`, whose moments are spread evenly: query n is of stream n % streams. Warm-up queries are issued one
    after the other before the counted ones, and are never counted. What has no answer `give_up_seconds` after the last
    arrival is unanswered.

    Raises:
        ValueError: a value does not fit; names the key.
    """

    mode: Mode
    queries: int = 0
    seconds: float = 0.0
    warm_up_queries: int = 0
    rate: float | None = None
    samples_per_query: int = 1
    streams: int = 1
    seed: int = 20260101
    give_up_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("queries", "seconds", "warm_up_queries"):
            _require(0 <= getattr(self, name) < math.inf, f"{name}: must not be negative, and finite")
        _require(0 < self.give_up_seconds < math.inf, "give_up_seconds: must be positive and finite")
        _require(min(self.samples_per_query, self.streams) >= 1, "samples_per_query, streams: must be at least 1")
        if self.mode.open_loop:
            _require(self.rate is not None, f"rate: {self.mode.value} needs one")
            _require(self.rate is None or 0 < self.rate < math.inf, "rate: must be positive and finite")
        else:
            _require(self.rate is None, f"rate: {self.mode.value} has none: the system sets the pace")
        many = self.mode in (Mode.MULTI_STREAM, Mode.OFFLINE)
        _require(many or self.samples_per_query == 1, f"samples_per_query: {self.mode.value} has one")
        _require(self.mode is Mode.FIXED_RATE or self.streams == 1, f"streams: {self.mode.value} has none")
        if self.mode is Mode.OFFLINE:
            _require(self.queries <= 1 and not self.seconds, "queries, seconds: offline is one query; set its samples")
        else:
            _require(self.queries > 0 or self.seconds > 0, "queries, seconds: at least one must be positive")

    def enough(self, queries: int, seconds: float) -> bool:
        """Whether so many counted queries, the last of them so late, reach both minima."""
        return queries >= max(1, self.queries) and seconds >= self.seconds


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Moments of a Poisson process, seconds: the first is 0, as LoadGen has it; the gaps are exponential."""
    generator, moment = np.random.default_rng(seed), 0.0
    while True:
        yield moment
        moment += generator.exponential(1 / rate)


def fixed_rate(rate: float, streams: int = 1) -> Iterator[float]:
    """Moments of cameras with `rate` frames a second each, seconds from 0: the nth is of stream n % streams."""
    return (number / (rate * streams) for number in count())


def moments(load: Load) -> Iterator[float]:
    """The moments of an open loop's counted queries, seconds; with the last, both minima are reached, as in LoadGen."""
    assert load.rate is not None
    server = load.mode is Mode.SERVER
    arrivals = poisson(load.rate, load.seed) if server else fixed_rate(load.rate, load.streams)
    for number, moment in enumerate(arrivals, start=1):
        yield moment
        if load.enough(number, moment):
            return


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
