"""Compares two results of one scenario: is B faster than A by more than the noise?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import SCHEMA_VERSION
from benchmarks.statistics import MINIMUM_TO_COMPARE, Interval, median, ratio_interval

SAME_MACHINE = ("cpu_model", "cores", "memory_bytes", "machine")
WORTH_KNOWING = ("python", "kernel", "packages", "dcmtk", "git_commit", "configuration_sha256", "engines")


class NotComparable(Exception):
    """The two results say nothing of each other; the message says why."""


class NotAResult(Exception):
    """A file is not what `edge-bench run` writes."""


@dataclass(frozen=True)
class Difference:
    """One figure of both runs. `ratio` is median(B) / median(A)."""

    name: str
    unit: str
    median_a: float
    median_b: float
    ratio: float
    interval: Interval
    verdict: str


def read_result(path: Path) -> dict[str, Any]:
    """Read what `edge-bench run` wrote.

    Raises:
        NotAResult: the file cannot be read, or is something else.
    """
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NotAResult(f"{path} cannot be read as a result: {error}") from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION or "figures" not in document:
        raise NotAResult(f"{path} is no result of edge-bench run with schema version {SCHEMA_VERSION}")
    return document


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """The figures that both results have.

    Raises:
        NotComparable: other scenarios, other machines, a reduced run, or a run that did not end.
    """
    reasons = _reasons(a, b)
    if reasons:
        raise NotComparable("the two results cannot be compared: " + "; ".join(reasons))
    names = [n for n in a["figures"] if n in b["figures"] and a["figures"][n]["samples"] and b["figures"][n]["samples"]]
    return [_difference(name, a["figures"][name], b["figures"][name]) for name in names]


def changes(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """What else differs between the runs, and what disturbed them."""
    found = [f"{which}: {problem}" for which, one in (("A", a), ("B", b)) for problem in one["problems"]]
    for key in WORTH_KNOWING:
        first, second = a["provenance"].get(key), b["provenance"].get(key)
        if first != second:
            found.append(f"{key} differs: {_brief(first, second)} in A, {_brief(second, first)} in B")
    return found


def _reasons(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    found = []
    differing = [
        k for k in {*a["scenario"], *b["scenario"]} - {"rounds"} if a["scenario"].get(k) != b["scenario"].get(k)
    ]
    if differing:
        found.append(f"their scenarios differ in {', '.join(sorted(differing))}")
    for key in SAME_MACHINE:
        first, second = a["provenance"].get(key), b["provenance"].get(key)
        if first != second:
            found.append(f"they come from different machines ({key}: {first} and {second})")
    for which, one in (("A", a), ("B", b)):
        if one["state"] != "complete":
            found.append(f"{which} is {one['state']}")
        if one["reduced"]:
            found.append(f"{which} is a reduced run")
    return found


def _difference(name: str, a: dict[str, Any], b: dict[str, Any]) -> Difference:
    of_a, of_b = a["samples"], b["samples"]
    interval = ratio_interval(of_b, of_a)
    ratio = median(of_b) / median(of_a)
    if min(len(of_a), len(of_b)) < MINIMUM_TO_COMPARE:
        verdict = (
            f"too few samples for a verdict: {len(of_a)} and {len(of_b)}, at least {MINIMUM_TO_COMPARE} are needed"
        )
    elif interval.low <= 1 <= interval.high:
        verdict = "no difference beyond the noise"
    else:
        verdict = "B is better" if (ratio > 1) == (a["better"] == "higher") else "B is worse"
    return Difference(name, a["unit"], median(of_a), median(of_b), ratio, interval, verdict)


def _brief(value: Any, other: Any) -> Any:
    """Of two mappings only what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {key: item for key, item in value.items() if other.get(key) != item}
    return value
