"""The kinds of things a run measures beside its figures: latencies, stages, time lines, deadlines, budgets, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Literal

from benchmarks import statistics
from benchmarks.statistics import Interval

MINIMUM_SIZES = 3
"""Of a curve, and samples of each, below which nothing is said of its growth."""
_FLAT = 0.05
"""An exponent up to this is no growth: 15 % more over sixteen times the size."""


class Accelerator(str, Enum):
    """What ran the networks. Figures of the two are never put side by side."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass
class Latencies:
    """Raw latencies of single queries in ms, by round. `mode`: how the load was made (benchmarks.load)."""

    mode: str
    device: Accelerator
    rounds: list[list[float]] = field(default_factory=list)
    warm_up: int = 0
    unanswered: int = 0
    rates: list[float] = field(default_factory=list)  # queries a second that were asked for, of open loops

    def document(self) -> dict[str, Any]:
        """For the result: raw, and the summary over all rounds."""
        samples = [one for each in self.rounds for one in each]
        told: dict[str, Any] = {
            "mode": self.mode, "device": self.device.value, "unit": "ms", "warm_up": self.warm_up,
            "unanswered": self.unanswered, "count": len(samples),
        }  # fmt: skip
        if self.rates:
            told["rate"] = statistics.median(self.rates)
        if samples:
            summary = statistics.summary(samples)
            told["summary"] = {n: {"value": q.value, "interval": _pair(q.interval)} for n, q in summary.items()}
        return {**told, "rounds": self.rounds}


@dataclass(frozen=True)
class Span:
    """A part of what happened to one image; seconds from its arrival on."""

    lane: str
    name: str
    begin_seconds: float
    end_seconds: float

    def __post_init__(self) -> None:
        if not self.begin_seconds <= self.end_seconds:
            raise ValueError(f"span {self.name} begins at {self.begin_seconds} and ends at {self.end_seconds}")

    def document(self) -> dict[str, Any]:
        """For the result."""
        begin, end = (round(1000 * one, 4) for one in (self.begin_seconds, self.end_seconds))
        return {"lane": self.lane, "name": self.name, "begin_ms": begin, "end_ms": end}


@dataclass
class Deadline:
    """How many results came after their deadline. `of`: where it stands; budget None: it stands nowhere."""

    of: str
    budget_seconds: float | None
    counted: int = 0
    missed: int = 0

    def document(self) -> dict[str, Any]:
        """For the result."""
        budget = None if self.budget_seconds is None else round(1000 * self.budget_seconds, 4)
        return {"budget_ms": budget, "of": self.of, "counted": self.counted, "missed": self.missed}


@dataclass(frozen=True)
class Budget:
    """What the site's configuration allows, and what was found. `of`: where it stands in the configuration."""

    name: str
    of: str
    bound: float | None
    at_least: bool
    unit: str
    found: float | None
    interval: tuple[float, float] | None
    samples: int
    verdict: Literal["pass", "fail", "no budget", "too few samples"]
    why: str = ""

    def __post_init__(self) -> None:
        if self.verdict == "pass" and (self.bound is None or self.found is None):
            raise ValueError(f"budget {self.name} cannot be passed without a bound and something found")

    def document(self) -> dict[str, Any]:
        """For the result."""
        return asdict(self)


@dataclass
class Curve:
    """The cost of one unit of work by the size of the whole."""

    axis: str
    unit: str
    points: dict[float, list[float]] = field(default_factory=dict)

    def growth(self) -> tuple[float, Interval] | None:
        """The exponent over the larger half of the sizes, where fixed costs no longer hide it; None: too few points."""
        if len(self.points) < MINIMUM_SIZES or min(map(len, self.points.values())) < MINIMUM_SIZES:
            return None
        sizes = sorted(self.points)
        larger = sizes[-max(MINIMUM_SIZES, (len(sizes) + 1) // 2) :]
        return statistics.growth_exponent({size: self.points[size] for size in larger})

    def document(self) -> dict[str, Any]:
        """For the result: raw samples by size, exponent of the growth, and what to call it."""
        points = [
            {"size": size, "samples": samples, "median": statistics.median(samples),
             "interval_95": _pair(statistics.median_interval(samples))}
            for size, samples in sorted(self.points.items())
        ]  # fmt: skip
        found = self.growth()
        told = {"axis": self.axis, "unit": self.unit, "points": points}
        if found is None:
            return {**told, "exponent": None, "interval_95": None, "growth": "too few points"}
        exponent, interval = found
        growth = "superlinear" if interval.low > _FLAT else "sublinear" if interval.high < -_FLAT else "linear"
        return {**told, "exponent": exponent, "interval_95": _pair(interval), "growth": growth}


def stages_document(stages: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """For the result: raw times of stages in ms, with median and p99."""
    return {
        stage: {"unit": "ms", "p50": statistics.median(samples), "p99": statistics.percentile(samples, 99),
                "samples": list(samples)}
        for stage, samples in stages.items() if samples
    }  # fmt: skip


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
