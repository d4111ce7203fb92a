"""Distributions of latencies: cumulative and as a histogram, and their summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from benchmarks.html import plots
from benchmarks.html.elements import Content, between, device_name, element, number, section, table
from benchmarks.html.model import Latency, Result
from benchmarks.load.arrivals import Mode
from benchmarks.statistics import TOLD_PERCENTILES

POINTS, BINS = 400, 60
_MARKERS = ("o", "s", "^", "D", "v")
_OPEN_LOOP = [mode.value for mode in Mode if mode.open_loop]
_MILLISECONDS = {"ms": 1.0, "s": 1000.0}


def latencies(result: Result) -> list[Element]:
    """A part for each device, in it one for each case and mode; nothing where nothing was measured."""
    made = []
    for device, of_device in groupby(sorted(result.latencies, key=lambda one: one.device), lambda one: one.device):
        groups: dict[tuple[str, str], list[Latency]] = {}
        for one in of_device:
            groups.setdefault((one.case, one.mode), []).append(one)
        name = device_name(device)
        parts = [_group(name, group, _bounds(result, group)) for group in groups.values()]
        made.append(section(f"Latency on the {name}", f"latency-{device.lower()}", *parts))
    return made


def steps(samples: Sequence[float], points: int = POINTS) -> tuple[list[float], list[float]]:
    """Values and the share of samples up to each, at no more than `points` steps: every part of the tail is kept."""
    ordered, count = np.sort(np.asarray(samples, np.float64)), len(samples)
    if count <= points:
        chosen = np.arange(count)
    else:
        body = np.linspace(0, count - 1, points // 2)
        tail = count - np.geomspace(1, count, points // 2)
        chosen = np.unique(np.concatenate([body, tail]).round().astype(int).clip(0, count - 1))
    return ordered[chosen].tolist(), ((chosen + 1) / count).tolist()


def _bounds(result: Result, group: Sequence[Latency]) -> dict[str, float]:
    """Where budgets of these latencies lie, in ms."""
    names = {one.name for one in group}
    found = {f"deadline, {one.of}": one.budget for one in result.deadlines if one.name in names and one.budget}
    for budget in result.budgets:
        if budget.name in names and budget.bound and budget.unit in _MILLISECONDS:
            found[f"budget, {budget.of}"] = budget.bound * _MILLISECONDS[budget.unit]
    return found


def _group(device: str, group: Sequence[Latency], bounds: Mapping[str, float]) -> Element:
    case, mode = group[0].case, group[0].mode
    since = "the moment at which it was to arrive" if mode in _OPEN_LOOP else "the moment at which it was issued"
    text = f"Mode: {mode}. A latency counts from {since}, until the answer was there."
    parts: list[Content] = [
        element("h3", case if mode in case else f"{case} ({mode})"),
        element("p", text, class_="dim"),
    ]
    shown = [one for one in group if one.samples and all(map(math.isfinite, one.samples))]
    if shown:
        label = f"Latencies of {case}, mode {mode}, on the {device}: {', '.join(one.system for one in shown)}"
        caption = "Above: share of queries answered within a time; marks: p50, p90, p95, p99, p99.9 where told. "
        caption += "Below: share of queries by latency."
        if bounds:
            caption += " Thick dashed line: " + "; ".join(f"{name}, {number(at)} ms" for name, at in bounds.items())
        parts.append(
            plots.figure(label, lambda made: _draw(made, shown, bounds, mode), 5.2 + 0.17 * len(shown), caption)
        )
    return element("div", *parts, _summary(device, group), class_="case")


def _draw(made: Any, group: Sequence[Latency], bounds: Mapping[str, float], mode: str) -> None:
    above, below = made.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    every = [value for one in group for value in (min(one.samples), max(one.samples))] + list(bounds.values())
    log, low, high = plots.wide(every), min(every), max(every)
    bins = min(BINS, 10 + int(max(len(one.samples) for one in group) ** 0.5))
    edges = np.geomspace(low, high, bins + 1) if log else np.linspace(low, high if high > low else low + 1, bins + 1)
    for order, one in enumerate(group):
        look = plots.series(order)
        values, shares = steps(one.samples)
        label = f"{plots.named(one.system, 40)} (n = {len(one.samples):,})"
        above.step([values[0], *values], [0.0, *(100 * share for share in shares)], where="post", label=label, **look)
        for marker, (name, percent) in zip(_MARKERS, TOLD_PERCENTILES.items(), strict=True):
            value = one.told.get(name, (None, None))[0]
            if value is not None:
                above.plot(value, percent, marker, color=look["color"], markersize=4.5)
        counts, _ = np.histogram(one.samples, edges)
        below.stairs(100 * counts / len(one.samples), edges, linewidth=1.4, **look)
    for axes in (above, below):
        for at in bounds.values():
            axes.axvline(at, color=plots.BOUND, linestyle=(0, (5, 2)), linewidth=2)
    above.set(ylim=(0, 102), ylabel="answered (%)")
    below.set(ylabel="queries (%)", xlabel=f"latency (ms), mode {mode}")
    below.set_ylim(bottom=0)
    plots.legend_above(above)
    if log:
        plots.logarithmic(below.xaxis)


def _summary(device: str, group: Sequence[Latency]) -> Element:
    """Percentiles down, systems across: no more columns than systems."""
    rows: list[list[Content]] = [
        ["queries counted", *(f"{len(one.samples):,}" for one in group)],
        ["without an answer", *(_lost(one) for one in group)],
        ["warm-up, not counted", *(f"{one.warm_up:,}" for one in group)],
    ]
    rows += [[name, *(_quantile(one, name) for one in group)] for name in (*TOLD_PERCENTILES, "max")]
    caption = f"Latency in ms on the {device}, mode {group[0].mode}, with 95 % intervals."
    return table(["", *(one.system for one in group)], rows, caption)


def _lost(one: Latency) -> Content:
    return element("span", f"{one.unanswered:,}, in no percentile", class_="mark bad") if one.unanswered else "0"


def _quantile(one: Latency, name: str) -> Content:
    if name not in one.told:
        return "no sample"
    value, interval = one.told[name]
    if value is None:
        return "withheld: fewer than 10,000 samples" if name == "p99.9" else "withheld: too few samples"
    if name == "max":
        return number(value)
    told = "too few samples for an interval" if interval is None else between(interval)
    return element("span", number(value), element("span", told, class_="detail"))
