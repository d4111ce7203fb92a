"""What a run has measured so far, and its JSON document. Nothing measured is lost when a run ends early."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks import statistics
from benchmarks.statistics import Target

SCHEMA_VERSION = 1

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

    def document(self, reduced: bool) -> dict[str, Any]:
        """The figure for the result: raw samples, median with interval, target and verdict."""
        document: dict[str, Any] = {
            "unit": self.unit, "better": "higher" if self.higher_is_better else "lower", "samples": self.samples,
        }  # fmt: skip
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
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)  # hashes of configuration and engines

    def add(self, name: str, value: float, unit: str, *, higher_is_better: bool, target: Target | None = None) -> None:
        """Add the sample of a round."""
        figure = self.figures.setdefault(name, Figure(unit, higher_is_better, target=target))
        figure.samples.append(value)

    def add_ratio(
        self, name: str, of: tuple[str, str], *, higher_is_better: bool, target: Target | None = None
    ) -> None:
        """Set the ratio of two figures, round by round; call it again after each round."""
        numerators, denominators = (self.figures[one].samples for one in of)
        samples = statistics.paired_ratios(numerators, denominators)
        self.figures[name] = Figure("ratio", higher_is_better, samples, target, of)

    def document(self, state: State, provenance: dict[str, Any]) -> dict[str, Any]:
        """The whole result."""
        figures = {name: figure.document(self.reduced) for name, figure in self.figures.items()}
        few = [name for name, figure in figures.items() if figure.get("verdict") == statistics.Verdict.TOO_FEW.value]
        problems = list(self.problems)
        if few:
            problems.append(f"fewer than {statistics.MINIMUM_ROUNDS} rounds, so no verdict: {', '.join(few)}")
        return {
            "schema_version": SCHEMA_VERSION,
            "state": state,
            "reduced": self.reduced,
            "scenario": self.scenario,
            "problems": problems,
            "notes": self.notes,
            "figures": figures,
            "checks": self.checks,
            "details": self.details,
            "provenance": {**provenance, **self.inputs},
        }


def table(document: dict[str, Any]) -> str:
    """The figures for a person."""
    rows = [("figure", "median", "95 % interval", "unit", "target", "verdict")]
    for name, figure in document["figures"].items():
        if "median" not in figure:
            continue
        low, high = figure["interval_95"]
        target = figure.get("target")
        bound = "" if target is None else f"{'>=' if target['at_least'] else '<='} {target['bound']:g}"
        interval = f"{_short(low)} .. {_short(high)}"
        unit = "" if figure["unit"] == "ratio" else figure["unit"]
        rows.append((name, _short(figure["median"]), interval, unit, bound, figure.get("verdict", "")))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)  # fmt: skip


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
