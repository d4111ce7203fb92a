"""Compares two results of one scenario: is B faster than A by more than the noise?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.result_file import check_samples
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
_NO_ANSWER = "no ratio: so many queries had no answer that this percentile is one of them"

SAME_MACHINE = ("cpu_model", "cores", "memory_bytes", "machine")
SUBJECT = ("name", "config", "engine", "engines")
"""Keys of a scenario that say what is measured, not how: two results may differ in them, and it is said."""
COMPARED_PERCENTILES = (50.0, 99.0)
"""Of raw latencies."""
_SAME_RATE = 0.1
"""Open loops whose rates differ by more say nothing of each other: the faster one may just have been asked for more."""
WORTH_KNOWING = ("python", "kernel", "packages", "dcmtk", "git_commit", "configuration_sha256", "engines")


class NotComparable(Exception):
    """The two results say nothing of each other; the message says why."""


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


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """The figures that both results have.

    Raises:
        NotAResult: one of them is not what a run writes.
        NotComparable: other scenarios, other machines, a reduced run, or a run that did not end.
    """
    for one in (a, b):
        check_samples(one)
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
        if all(any(_with_unanswered(one["latencies"][name])) for one in (a, b))
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
            told = (_brief(first, second), _brief(second, first))
            if key == "engines" and all(isinstance(one, dict) for one in told):
                told = (_engines(told[0]), _engines(told[1]))
            found.append(f"{key} differs: {told[0]} in A, {told[1]} in B")
    return found


def _engines(engines: dict[str, Any]) -> str:
    """Engines in a few words each."""
    return ", ".join(
        f"{name} {one.get('precision', '')} {one.get('backend', '')} {one.get('sha256', '')[:8]}"
        for name, one in engines.items()
    )


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
    """What makes two figures of one name the same: the load, the kind of device, the unit, which way is better."""
    made = " ".join(filter(None, [one.get("mode"), "on the", one.get("device", "cpu")]))
    return f"{made} in {one['unit']}" + (f", {one['better']} is better" if "better" in one else "")


def _difference(name: str, a: dict[str, Any], b: dict[str, Any]) -> Difference:
    of_a, of_b = a["samples"], b["samples"]
    middle_a, middle_b = median(of_a), median(of_b)
    if middle_a == 0 or min(*of_a, *of_b) < 0:
        nothing = Interval(math.nan, math.nan)
        return Difference(name, a["unit"], a.get("device", "cpu"), middle_a, middle_b, math.nan, nothing, _NO_RATIO)
    with np.errstate(divide="ignore", invalid="ignore"):
        interval = ratio_interval(of_b, of_a)
    few = _other_rate(a, b) or _too_few(len(of_a), len(of_b), MINIMUM_TO_COMPARE, "samples")
    verdict = few or _verdict(middle_b / middle_a, interval, higher_is_better=a["better"] == "higher")
    return Difference(
        name, a["unit"], a.get("device", "cpu"), middle_a, middle_b, middle_b / middle_a, interval, verdict
    )


def _of_latencies(name: str, a: dict[str, Any], b: dict[str, Any], percent: float) -> Difference:
    rounds_a, rounds_b = _with_unanswered(a), _with_unanswered(b)
    value_a, value_b = (percentile([ms for each in one for ms in each], percent) for one in (rounds_a, rounds_b))
    told = f"{name}, all latencies, p{percent:g}"
    lost = _NO_ANSWER if math.inf in (value_a, value_b) else ""
    if lost or value_a == 0 or min(map(min, (*rounds_a, *rounds_b))) < 0:
        nothing = Interval(math.nan, math.nan)
        return Difference(told, a["unit"], a["device"], value_a, value_b, math.nan, nothing, lost or _NO_RATIO)
    with np.errstate(divide="ignore", invalid="ignore"):  # a bound may be nothing: then there is no verdict
        interval = block_ratio_interval(rounds_b, rounds_a, percent)
    few = _too_few(len(blocks(a["rounds"])), len(blocks(b["rounds"])), MINIMUM_BLOCKS, "blocks of latencies")
    few = _other_rate(a, b) or few
    verdict = few or _verdict(value_b / value_a, interval, higher_is_better=False)
    return Difference(told, a["unit"], a["device"], value_a, value_b, value_b / value_a, interval, verdict)


def _with_unanswered(one: dict[str, Any]) -> list[list[float]]:
    """The latencies by round; a query without an answer is slower than any, and nobody knows in which round it was."""
    filled = [each for each in one["rounds"] if each] or [[]]
    shares = np.diff(np.linspace(0, one["unanswered"], len(filled) + 1).round().astype(int))
    return [[*each, *[math.inf] * int(share)] for each, share in zip(filled, shares, strict=True)]


def _other_rate(a: dict[str, Any], b: dict[str, Any]) -> str:
    asked_a, asked_b = a.get("rate"), b.get("rate")
    if asked_a is None or asked_b is None or abs(asked_b / asked_a - 1) <= _SAME_RATE:
        return ""
    return f"no verdict: A was asked {asked_a:.4g} a second, B {asked_b:.4g}; let the scenario name one rate"


def _too_few(of_a: int, of_b: int, needed: int, what: str) -> str:
    return "" if min(of_a, of_b) >= needed else f"{_TOO_FEW} {what} for a verdict: {of_a} and {of_b}, {needed} needed"


def _verdict(ratio: float, interval: Interval, *, higher_is_better: bool) -> str:
    if not interval.low > 1 and not interval.high < 1:  # nor where a bound is not a number
        return _NONE
    return _BETTER if (ratio > 1) == higher_is_better else _WORSE


def _brief(value: Any, other: Any) -> Any:
    """Of two mappings only what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {key: item for key, item in value.items() if other.get(key) != item}
    return value
