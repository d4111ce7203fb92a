"""What became of each step, as a table and for the JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any


class Outcome(str, Enum):
    """Of a step. What did not run is never counted as passed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Verdict:
    """What a step says of itself. `why` where it did not pass; `figure` for the table."""

    outcome: Outcome
    why: str = ""
    figure: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """A step and its verdict."""

    name: str
    verdict: Verdict
    seconds: float

    def document(self) -> dict[str, Any]:
        """For the JSON file."""
        told = asdict(self.verdict)
        return {"name": self.name, "seconds": round(self.seconds, 1), **told, "outcome": self.verdict.outcome.value}


def passed(figure: str = "", details: dict[str, Any] | None = None) -> Verdict:
    """All of it holds."""
    return Verdict(Outcome.PASSED, "", figure, details or {})


def failed(why: str, figure: str = "", details: dict[str, Any] | None = None) -> Verdict:
    """Some of it does not hold."""
    return Verdict(Outcome.FAILED, why, figure, details or {})


def not_run(why: str, details: dict[str, Any] | None = None) -> Verdict:
    """Nothing is known of it."""
    return Verdict(Outcome.NOT_RUN, why, "", details or {})


def table(done: Sequence[Done]) -> str:
    """A line a step: name, outcome with its reason, seconds, figure."""
    rows = [("step", "outcome", "seconds", "figure")]
    for one in done:
        verdict = one.verdict
        outcome = verdict.outcome.value + (f": {verdict.why}" if verdict.why else "")
        rows.append((one.name, outcome, f"{one.seconds:.1f}", verdict.figure))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)  # fmt: skip


def counted(done: Sequence[Done]) -> str:
    """How many passed, failed, and did not run."""
    found = {outcome: sum(one.verdict.outcome is outcome for one in done) for outcome in Outcome}
    return ", ".join(f"{count} {outcome.value}" for outcome, count in found.items())
