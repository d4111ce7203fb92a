"""What a run has measured so far, and its JSON document. Nothing measured is lost when a run ends early."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks import statistics
from benchmarks.load.arrivals import Mode
from benchmarks.load.generator import Loaded
from benchmarks.measured import Accelerator, Budget, Curve, Deadline, Latencies, Span, stages_document
from benchmarks.statistics import Target

__all__ = ["Accelerator", "BenchFailed", "Budget", "Figure", "Record", "Span", "State", "table"]

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""The second version only added keys."""

State = Literal["complete", "interrupted", "failed"]


class BenchFailed(Exception):
    """A measurement cannot be made, or is wrong; says what, which item, what to do."""


@dataclass
class Figure:
    """Samples of one quantity, one a round. `of` names the two figures of a ratio."""

    unit: str
    higher_is_better: bool
    samples: list[float] = field(default_factory=list)
    target: Target | None = None
    of: tuple[str, str] | None = None
    device: Accelerator = Accelerator.CPU
    rates: list[float] = field(default_factory=list)  # queries a second that were asked for, of open loops

    def document(self, reduced: bool) -> dict[str, Any]:
        """The figure for the result: raw samples, median with interval, target and verdict."""
        document: dict[str, Any] = {
            "unit": self.unit, "better": "higher" if self.higher_is_better else "lower", "samples": self.samples,
            "device": self.device.value,
        }  # fmt: skip
        if self.rates:
            document["rate"] = statistics.median(self.rates)
        if self.of is not None:
            document["of"] = list(self.of)
        if self.samples:
            document["median"] = statistics.median(self.samples)
            document["interval_95"] = list(asdict(statistics.median_interval(self.samples)).values())
            document["p90"] = statistics.percentile(self.samples, 90)
        if self.target is not None:
            document["target"] = asdict(self.target)
            verdict = "none: a reduced run" if reduced else statistics.verdict(self.samples, self.target).value
            document["verdict"] = verdict
        return document


@dataclass
class Record:
    """The figures of one run, what was checked, and what a reader must know."""

    scenario: dict[str, Any]
    reduced: bool
    device: Accelerator = Accelerator.CPU  # of what is added without one
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)  # hashes of configuration and engines
    latencies: dict[str, Latencies] = field(default_factory=dict)
    stages: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # ms
    timelines: list[dict[str, Any]] = field(default_factory=list)
    deadlines: dict[str, Deadline] = field(default_factory=dict)
    budgets: list[Budget] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        higher_is_better: bool,
        target: Target | None = None,
        device: Accelerator | None = None,
        rate: float | None = None,
    ) -> None:
        """Add the sample of a round. `rate`: queries a second that were asked for, where it is of an open loop.

        Raises:
            BenchFailed: it is no finite number.
        """
        if not math.isfinite(value):
            raise BenchFailed(f"{name}: {value} {unit} was measured")
        figure = self.figures.setdefault(
            name, Figure(unit, higher_is_better, target=target, device=device or self.device)
        )
        figure.samples.append(value)
        figure.rates += [] if rate is None else [rate]

    def add_ratio(
        self, name: str, of: tuple[str, str], *, higher_is_better: bool, target: Target | None = None
    ) -> None:
        """Set the ratio of two figures, round by round; call it again after each round.

        Raises:
            BenchFailed: they ran on different kinds of devices, or the second is 0 in a round.
        """
        top, bottom = (self.figures[one] for one in of)
        if top.device is not bottom.device:
            raise BenchFailed(f"{name}: {of[0]} ran on the {top.device.value}, {of[1]} on the {bottom.device.value}")
        if 0 in bottom.samples:
            raise BenchFailed(f"{name}: {of[1]} was 0 {bottom.unit} in a round, so there is no ratio")
        samples = statistics.paired_ratios(top.samples, bottom.samples)
        self.figures[name] = Figure("ratio", higher_is_better, samples, target, of, top.device)

    def on_a_gpu(self) -> None:
        """What is added from here on is of the GPU, and there the engines run."""
        self.device = Accelerator.GPU
        for engine in self.inputs.get("engines", {}).values():
            engine["device"] = Accelerator.GPU.value

    def forget(self, why: str) -> None:
        """Keep no figure and no time: all parts ran, and nothing was measured."""
        self.checks["figures that were not kept"] = sorted(self.figures)
        for one in (self.figures, self.latencies, self.stages, self.timelines, self.deadlines, self.curves):
            one.clear()
        self.problem(why)

    def problem(self, text: str) -> None:
        """Add what a reader must know, once."""
        if text not in self.problems:
            self.problems.append(text)

    def add_latencies(
        self,
        name: str,
        mode: Mode,
        seconds: Sequence[float],
        *,
        device: Accelerator | None = None,
        warm_up: int = 0,
        unanswered: int = 0,
        rate: float | None = None,
    ) -> None:
        """Add the raw latencies of a round, in seconds. `rate`: queries a second that were asked for.

        Raises:
            BenchFailed: the name already has latencies of another mode or device: the two say different things.
        """
        on = device or self.device
        kept = self.latencies.setdefault(name, Latencies(mode.value, on))
        if (kept.mode, kept.device) != (mode.value, on):
            raise BenchFailed(f"latencies {name} are of {kept.mode} on the {kept.device.value}; {mode.value} was added")
        kept.rounds.append([round(1000 * one, 4) for one in seconds])
        kept.warm_up += warm_up
        kept.unanswered += unanswered
        kept.rates += [] if rate is None else [rate]

    def add_loaded(self, name: str, loaded: Loaded, *, device: Accelerator | None = None) -> None:
        """Add what a load gave, as a round; where it falls short of LoadGen's minima, that is a problem."""
        self.add_latencies(
            name, loaded.load.mode, loaded.latencies, device=device, warm_up=loaded.warm_up,
            unanswered=loaded.unanswered, rate=loaded.load.rate,
        )  # fmt: skip
        for shortfall in loaded.shortfalls():
            self.problem(f"{name}: {shortfall}")

    def add_stages(self, name: str, stages: Mapping[str, Sequence[float]]) -> None:
        """Add times of stages, in seconds, in the order in which they run."""
        kept = self.stages.setdefault(name, {})
        for stage, seconds in stages.items():
            kept.setdefault(stage, []).extend(round(1000 * one, 4) for one in seconds)

    def add_timeline(self, name: str, spans: Sequence[Span]) -> None:
        """Add what happened to one image."""
        self.timelines.append({"name": name, "spans": [span.document() for span in spans]})

    def add_deadline(self, name: str, budget_seconds: float | None, counted: int, missed: int, of: str) -> None:
        """Add how many of some results came after their deadline."""
        kept = self.deadlines.setdefault(name, Deadline(of, budget_seconds))
        kept.counted += counted
        kept.missed += missed

    def add_budget(self, budget: Budget) -> None:
        """Add a bound of the site's configuration with what was found."""
        self.budgets.append(budget)

    def add_point(self, curve: str, axis: str, size: float, cost: float, unit: str) -> None:
        """Add a sample of the cost of one unit of work at a size.

        Raises:
            BenchFailed: the cost is not positive.
        """
        if not cost > 0:
            raise BenchFailed(f"{curve} at {axis} {size:g}: a cost of {cost:g} {unit} was measured")
        self.curves.setdefault(curve, Curve(axis, unit)).points.setdefault(size, []).append(cost)

    def document(self, state: State, provenance: dict[str, Any]) -> dict[str, Any]:
        """The whole result."""
        figures = {name: figure.document(self.reduced) for name, figure in self.figures.items()}
        few = [name for name, figure in figures.items() if figure.get("verdict") == statistics.Verdict.TOO_FEW.value]
        problems = list(self.problems)
        if few:
            problems.append(f"fewer than {statistics.MINIMUM_ROUNDS} rounds, so no verdict: {', '.join(few)}")
        curves = {name: curve.document() for name, curve in self.curves.items()}
        problems += [f"{name} grows superlinearly: the cost of a unit goes with size^{curve['exponent']:.2f}"
                     for name, curve in curves.items() if curve["growth"] == "superlinear"]  # fmt: skip
        return {
            "schema_version": SCHEMA_VERSION,
            "state": state,
            "reduced": self.reduced,
            "scenario": self.scenario,
            "problems": problems,
            "notes": self.notes,
            "figures": figures,
            "latencies": {name: one.document() for name, one in self.latencies.items()},
            "stages": {name: stages_document(one) for name, one in self.stages.items()},
            "timelines": self.timelines,
            "deadlines": {name: one.document() for name, one in self.deadlines.items()},
            "budgets": [one.document() for one in self.budgets],
            "curves": curves,
            "checks": self.checks,
            "details": self.details,
            "provenance": {**provenance, **self.inputs},
        }


def table(document: dict[str, Any]) -> str:
    """The figures for a person; those of processor and accelerator apart."""
    figures = {name: one for name, one in document["figures"].items() if "median" in one}
    devices = sorted({one["device"] for one in figures.values()})
    tables = [_table({n: one for n, one in figures.items() if one["device"] == device}) for device in devices]
    if len(tables) > 1:
        tables = [f"on the {device.upper()}\n{text}" for device, text in zip(devices, tables, strict=True)]
    curves = [
        f"{name}: {one['unit']} by {one['axis']}: "
        + ", ".join(f"{point['size']:g}: {_short(point['median'])}" for point in one["points"])
        + f" ({one['growth']})"
        for name, one in document.get("curves", {}).items()
    ]
    return "\n\n".join([*tables, *(["\n".join(curves)] if curves else [])])


def _table(figures: Mapping[str, Any]) -> str:
    rows = [("figure", "median", "95 % interval", "unit", "target", "verdict")]
    for name, figure in figures.items():
        low, high = figure["interval_95"]
        target = figure.get("target")
        bound = "" if target is None else f"{'>=' if target['at_least'] else '<='} {target['bound']:g}"
        interval = "none (1 sample)" if len(figure["samples"]) == 1 else f"{_short(low)} .. {_short(high)}"
        unit = "" if figure["unit"] == "ratio" else figure["unit"]
        rows.append((name, _short(figure["median"]), interval, unit, bound, figure.get("verdict", "")))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)  # fmt: skip


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
