"""Compares two results of one scenario: is B faster than A by more than the noise?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import READABLE_VERSIONS
from benchmarks.statistics import (
    CONFIDENCE,
    MINIMUM_BLOCKS,
    MINIMUM_TO_COMPARE,
    Interval,
    block_ratio_interval,
    blocks,
    median,
    percentile,
    ratio_interval,
)

_BETTER, _WORSE, _NONE = "B is better", "B is worse", "no difference beyond the noise"
_TOO_FEW, _NO_RATIO = "too few", "no ratio: a value is 0 or negative"

SAME_MACHINE = ("cpu_model", "cores", "memory_bytes", "machine")
SUBJECT = ("name", "config", "engines")
"""Keys of a scenario that say what is measured, not how: two results may differ in them, and it is said."""
COMPARED_PERCENTILES = (50.0, 99.0)
"""Of raw latencies."""
WORTH_KNOWING = ("python", "kernel", "packages", "dcmtk", "git_commit", "configuration_sha256", "engines")


class NotComparable(Exception):
    """The two results say nothing of each other; the message says why."""


class NotAResult(Exception):
    """A file is not what `edge-bench run` writes."""


@dataclass(frozen=True)
class Difference:
    """One figure of both runs, or a percentile of their raw latencies. `ratio` is that of B by that of A."""

    name: str
    unit: str
    device: str
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
    known = isinstance(document, dict) and document.get("schema_version") in READABLE_VERSIONS
    if not known or "figures" not in document:
        raise NotAResult(f"{path} is no result of edge-bench run with schema version {READABLE_VERSIONS}")
    assert isinstance(document, dict)
    return document


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """The figures that both results have.

    Raises:
        NotComparable: other scenarios, other machines, a reduced run, or a run that did not end.
    """
    reasons = _reasons(a, b)
    if reasons:
        raise NotComparable("the two results cannot be compared: " + "; ".join(reasons))
    figures = [
        _difference(name, a["figures"][name], b["figures"][name])
        for name in _common(a["figures"], b["figures"])
        if a["figures"][name]["samples"] and b["figures"][name]["samples"]
    ]
    latencies = [
        _of_latencies(name, a["latencies"][name], b["latencies"][name], percent)
        for name in _common(a.get("latencies", {}), b.get("latencies", {}))
        for percent in COMPARED_PERCENTILES
        if a["latencies"][name]["count"] and b["latencies"][name]["count"]
    ]
    return figures + latencies


def by_chance(found: Sequence[Difference]) -> float:
    """How many of the verdicts chance alone would give if nothing differed."""
    return (1 - CONFIDENCE) * sum(one.verdict in (_BETTER, _WORSE) or one.verdict == _NONE for one in found)


def _common(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return [name for name in a if name in b]


def changes(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """What else differs between the runs, and what disturbed them."""
    found = [f"{which}: {problem}" for which, one in (("A", a), ("B", b)) for problem in one["problems"]]
    for key in SUBJECT:
        first, second = a["scenario"].get(key), b["scenario"].get(key)
        if first != second:
            found.append(f"what is compared differs in {key}: {first} in A, {second} in B")
    for key in WORTH_KNOWING:
        first, second = a["provenance"].get(key), b["provenance"].get(key)
        if first != second:
            found.append(f"{key} differs: {_brief(first, second)} in A, {_brief(second, first)} in B")
    return found


def _reasons(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    found = []
    differing = [
        k
        for k in {*a["scenario"], *b["scenario"]} - {"rounds", *SUBJECT}
        if a["scenario"].get(k) != b["scenario"].get(k)
    ]
    if differing:
        found.append(f"their scenarios differ in {', '.join(sorted(differing))}")
    for key in SAME_MACHINE:
        first, second = a["provenance"].get(key), b["provenance"].get(key)
        if first != second:
            found.append(f"they come from different machines ({key}: {first} and {second})")
    for kind in ("figures", "latencies"):
        for name in _common(a.get(kind, {}), b.get(kind, {})):
            first, second = (_made(one[kind][name]) for one in (a, b))
            if first != second:
                found.append(f"{name} is of {first} in A and of {second} in B")
    for which, one in (("A", a), ("B", b)):
        if one["state"] != "complete":
            found.append(f"{which} is {one['state']}")
        if one["reduced"]:
            found.append(f"{which} is a reduced run")
    return found


def _made(one: dict[str, Any]) -> str:
    """How a figure came to be: of another load or another kind of device it is another figure."""
    return " ".join(filter(None, [one.get("mode", ""), "on the", one.get("device", "cpu")]))


def _difference(name: str, a: dict[str, Any], b: dict[str, Any]) -> Difference:
    of_a, of_b = a["samples"], b["samples"]
    middle_a, middle_b = median(of_a), median(of_b)
    if middle_a == 0 or min(*of_a, *of_b) < 0:
        nothing = Interval(math.nan, math.nan)
        return Difference(name, a["unit"], a.get("device", "cpu"), middle_a, middle_b, math.nan, nothing, _NO_RATIO)
    interval = ratio_interval(of_b, of_a)
    few = _too_few(len(of_a), len(of_b), MINIMUM_TO_COMPARE, "samples")
    verdict = few or _verdict(middle_b / middle_a, interval, higher_is_better=a["better"] == "higher")
    return Difference(
        name, a["unit"], a.get("device", "cpu"), middle_a, middle_b, middle_b / middle_a, interval, verdict
    )


def _of_latencies(name: str, a: dict[str, Any], b: dict[str, Any], percent: float) -> Difference:
    value_a, value_b = (percentile([ms for each in one["rounds"] for ms in each], percent) for one in (a, b))
    interval = block_ratio_interval(b["rounds"], a["rounds"], percent)
    few = _too_few(len(blocks(a["rounds"])), len(blocks(b["rounds"])), MINIMUM_BLOCKS, "blocks of latencies")
    verdict = few or _verdict(value_b / value_a, interval, higher_is_better=False)
    told = f"{name}, all latencies, p{percent:g}"
    return Difference(told, a["unit"], a["device"], value_a, value_b, value_b / value_a, interval, verdict)


def _too_few(of_a: int, of_b: int, needed: int, what: str) -> str:
    return "" if min(of_a, of_b) >= needed else f"{_TOO_FEW} {what} for a verdict: {of_a} and {of_b}, {needed} needed"


def _verdict(ratio: float, interval: Interval, *, higher_is_better: bool) -> str:
    if interval.low <= 1 <= interval.high:
        return _NONE
    return _BETTER if (ratio > 1) == higher_is_better else _WORSE


def _brief(value: Any, other: Any) -> Any:
    """Of two mappings only what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {key: item for key, item in value.items() if other.get(key) != item}
    return value
