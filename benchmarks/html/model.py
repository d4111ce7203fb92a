"""A result document (benchmarks.record, schema versions 1 and 2) as values of known types, or a refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measured import Budget
from benchmarks.result_file import NotAResult
from benchmarks.statistics import Interval, Target
from converters.text_table import printable

STATES = ("complete", "interrupted", "failed")
VERDICTS = ("pass", "fail", "no budget", "too few samples")

STOPPED = "the run did not go to its end: "
"""How the verdict of `edge-bench site` begins to say so."""


@dataclass(frozen=True)
class Figure:
    """One quantity. `median` and `interval` are None where no round gave a sample."""

    name: str
    device: str
    unit: str
    samples: int
    median: float | None
    interval: Interval | None
    target: Target | None
    verdict: str | None


@dataclass(frozen=True)
class Latency:
    """Latencies of single queries. `samples` in ms, of all rounds; `told`: percentile to value and interval in ms."""

    name: str
    mode: str
    device: str
    warm_up: int
    unanswered: int
    samples: tuple[float, ...]
    told: Mapping[str, tuple[float | None, Interval | None]]

    @property
    def case(self) -> str:
        """What several systems were measured in; the name is "case/system"."""
        return self.name.rpartition("/")[0] or self.name

    @property
    def system(self) -> str:
        """Who was measured."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Stage:
    """Times of a stage in ms."""

    name: str
    p50: float
    p99: float
    count: int


@dataclass(frozen=True)
class Span:
    """A part of what happened to one image; ms from the start on."""

    lane: str
    name: str
    begin: float
    end: float


@dataclass(frozen=True)
class Deadline:
    """Results that came after their deadline. `budget` in ms; None: the configuration has none."""

    name: str
    of: str
    budget: float | None
    counted: int
    missed: int


@dataclass(frozen=True)
class Point:
    """Cost of one unit of work at a size."""

    size: float
    samples: int
    median: float
    interval: Interval


@dataclass(frozen=True)
class Curve:
    """Cost of one unit of work by size. The exponent e of cost ~ size^e is None where there are too few points."""

    name: str
    axis: str
    unit: str
    points: tuple[Point, ...]
    exponent: float | None
    interval: Interval | None
    growth: str


@dataclass(frozen=True)
class Result:
    """All that a run gave."""

    state: str
    reduced: bool
    scenario: Mapping[str, Any]
    stopped: str  # why the run did not go to its end, where the result says so apart from its problems
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    figures: tuple[Figure, ...]
    latencies: tuple[Latency, ...]
    stages: Mapping[str, tuple[Stage, ...]]
    timelines: tuple[tuple[str, tuple[Span, ...]], ...]
    deadlines: tuple[Deadline, ...]
    budgets: tuple[Budget, ...]
    curves: tuple[Curve, ...]
    checks: Mapping[str, Any]
    details: Mapping[str, Any]
    provenance: Mapping[str, Any]


def parse(document: Mapping[str, Any]) -> Result:
    """Take a result apart; text is made printable.

    Raises:
        NotAResult: something is missing, or of another type; the message says what.
    """
    clean = _clean(document)
    try:
        return _result(clean)
    except KeyError as error:
        raise NotAResult(f"this is no whole result of edge-bench run: {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise NotAResult(f"this is no sound result of edge-bench run: {error}") from error


def _result(of: Mapping[str, Any]) -> Result:
    if of["state"] not in STATES:
        raise ValueError(f"the state {of['state']!r} is none of {', '.join(STATES)}")
    if not isinstance(of["reduced"], bool):
        raise TypeError(f"'reduced' is {of['reduced']!r}, and must be true or false")
    return Result(
        state=of["state"],
        reduced=of["reduced"],
        scenario=dict(of["scenario"]),
        stopped=_stopped(of.get("acceptance", {})),
        problems=tuple(map(str, of["problems"])),
        notes=tuple(map(str, of.get("notes", ()))),
        figures=tuple(_figure(name, one) for name, one in of["figures"].items()),
        latencies=tuple(_latency(name, one) for name, one in of.get("latencies", {}).items()),
        stages={name: _stages(one) for name, one in of.get("stages", {}).items()},
        timelines=tuple((one["name"], _spans(one["spans"])) for one in of.get("timelines", ())),
        deadlines=tuple(_deadline(name, one) for name, one in of.get("deadlines", {}).items()),
        budgets=tuple(map(_budget, of.get("budgets", ()))),
        curves=tuple(_curve(name, one) for name, one in of.get("curves", {}).items()),
        checks=dict(of.get("checks", {})),
        details=dict(of.get("details", {})),
        provenance=dict(of["provenance"]),
    )


def _stopped(acceptance: Mapping[str, Any]) -> str:
    why = [str(one) for one in acceptance.get("why", ())]
    return next((one.removeprefix(STOPPED) for one in why if one.startswith(STOPPED)), "")


def _figure(name: str, of: Mapping[str, Any]) -> Figure:
    target = Target(**of["target"]) if of.get("target") else None
    median = float(of["median"]) if of["samples"] else None
    interval = _interval(of["interval_95"]) if of["samples"] else None
    device = of.get("device", "cpu")  # version 1 knew no other
    return Figure(name, device, of["unit"], len(of["samples"]), median, interval, target, of.get("verdict"))


def _latency(name: str, of: Mapping[str, Any]) -> Latency:
    samples = tuple(_finite(one) for each in of["rounds"] for one in each)
    told = {key: (_number(one["value"]), _interval(one["interval"])) for key, one in of.get("summary", {}).items()}
    return Latency(name, of["mode"], of["device"], int(of["warm_up"]), int(of["unanswered"]), samples, told)


def _stages(of: Mapping[str, Any]) -> tuple[Stage, ...]:
    return tuple(
        Stage(name, _finite(one["p50"]), _finite(one["p99"]), len(one["samples"]))
        for name, one in of.items()
        if one["samples"]
    )


def _spans(of: Sequence[Mapping[str, Any]]) -> tuple[Span, ...]:
    return tuple(Span(one["lane"], one["name"], _finite(one["begin_ms"]), _finite(one["end_ms"])) for one in of)


def _deadline(name: str, of: Mapping[str, Any]) -> Deadline:
    counted, missed = int(of["counted"]), int(of["missed"])
    if not 0 <= missed <= counted:
        raise ValueError(f"deadline {name}: {missed} of {counted} missed")
    return Deadline(name, of["of"], _number(of["budget_ms"]), counted, missed)


def _budget(of: Mapping[str, Any]) -> Budget:
    interval = _interval(of["interval"])
    pair = None if interval is None else (interval.low, interval.high)
    if of["verdict"] not in VERDICTS:
        raise ValueError(f"budget {of['name']} has the verdict {of['verdict']!r}, none of {', '.join(VERDICTS)}")
    return Budget(**{**of, "interval": pair})


def _curve(name: str, of: Mapping[str, Any]) -> Curve:
    points = tuple(map(_point, of["points"]))
    exponent, interval = _number(of["exponent"]), _interval(of["interval_95"])
    return Curve(name, of["axis"], of["unit"], points, exponent, interval, of["growth"])


def _point(of: Mapping[str, Any]) -> Point:
    interval = Interval(*map(_finite, of["interval_95"]))
    return Point(_finite(of["size"]), len(of["samples"]), _finite(of["median"]), interval)


def _finite(value: Any) -> float:
    """A number that can be drawn."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value} stands where a number is needed")
    return found


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _interval(pair: Sequence[Any] | None) -> Interval | None:
    if pair is None:
        return None
    low, high = map(float, pair)
    return Interval(low, high)


def _clean(value: Any) -> Any:
    """The same with every text on one line and without characters that cannot be shown."""
    if isinstance(value, str):
        return printable(" ".join(value.split()))
    if isinstance(value, Mapping):
        return {_clean(str(key)): _clean(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_clean(one) for one in value]
    return value
