"""Where the time goes: one image through the stages, all stages, deadlines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

from benchmarks.html import plots
from benchmarks.html.acceptance import missed_share
from benchmarks.html.elements import Content, between, element, folded, mark, number, section, table
from benchmarks.html.model import Deadline, Result, Span, Stage

_HATCHES = ("", "//", "xx", "..")
TIMELINES, SPANS, LEGEND = 6, 120, 24
"""Time lines, parts of each, and names beside it: shown at most; all are in the result."""


def timing(result: Result) -> list[Element]:
    """Time lines, stages, deadlines: a part for each that was measured."""
    made = []
    if result.timelines:
        made.append(_timelines(result.timelines))
    if result.stages:
        parts = [part for name, stages in result.stages.items() if stages for part in _waterfall(name, stages)]
        made.append(section("Stages", "stages", *parts))
    if result.deadlines:
        made.append(_deadlines(result.deadlines))
    return made


def _timelines(timelines: Sequence[tuple[str, tuple[Span, ...]]]) -> Element:
    parts: list[Content] = []
    for name, spans in timelines[:TIMELINES]:
        parts.append(element("h3", name))
        shown = sorted(spans, key=lambda span: span.begin)[:SPANS]
        if not shown:
            parts.append(element("p", "no span was recorded"))
            continue
        lanes = list(dict.fromkeys(span.lane for span in shown))
        label = f"Time line of {name}: {len(shown)} parts in {', '.join(lanes)}"
        parts.append(plots.figure(label, partial(_gantt, spans=shown, lanes=lanes), _height(shown, lanes)))
        rows = [[span.lane, span.name, *map(number, (span.begin, span.end, span.end - span.begin))] for span in shown]
        header = ["lane", "part", "begins (ms)", "ends (ms)", "takes (ms)"]
        parts.append(folded("The same in numbers", table(header, rows, f"Time line of {name}.")))
        if len(spans) > SPANS:
            parts.append(element("p", f"{len(spans) - SPANS} later parts are in the result's JSON file."))
    if len(timelines) > TIMELINES:
        parts.append(element("p", f"{len(timelines) - TIMELINES} more time lines are in the result's JSON file."))
    return section("Time line through the stages", "timelines", *parts)


def _height(spans: Sequence[Span], lanes: Sequence[str]) -> float:
    """Inches, with room for a legend."""
    names = len({span.name for span in spans})
    return max(1.1 + 0.42 * len(lanes), 0.4 + 0.19 * names if names <= LEGEND else 0.0)


def _gantt(made: Any, spans: Sequence[Span], lanes: Sequence[str]) -> None:
    """Bars in lanes; names stand in the bars where all have room, else in a legend."""
    axes = made.subplots()
    names = list(dict.fromkeys(span.name for span in spans))
    whole = max(max(span.end for span in spans) - min(span.begin for span in spans), 1e-9)
    roomy = all(span.end - span.begin > 0.014 * whole * min(len(span.name), 24) for span in spans)
    told: set[str] = set()
    for span in spans:
        row, width, order = lanes.index(span.lane), span.end - span.begin, names.index(span.name)
        label = None if span.name in told else plots.named(span.name, 40)
        told.add(span.name)
        axes.barh(row, max(width, whole / 500), left=span.begin, height=0.62, edgecolor=plots.INK, linewidth=0.5,
                  color=plots.COLORS[order % len(plots.COLORS)], hatch=_HATCHES[order // len(plots.COLORS) % 4],
                  label=label)  # fmt: skip
        if roomy:
            axes.text(span.begin + width / 2, row, plots.named(span.name, 24), ha="center", va="center", fontsize=7.5)
    if not roomy and len(names) <= LEGEND:
        plots.legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _rows(axes, lanes)
    axes.set_xlabel("ms from the start")


def _waterfall(name: str, stages: Sequence[Stage]) -> list[Content]:
    """Each stage begins where the medians of those before it end."""
    label = f"Stages of {name}: {', '.join(stage.name for stage in stages)}"
    caption = "Bar: the median, after the medians of the stages before. Line: to the stage's p99."
    rows: list[list[Content]] = [
        [stage.name, number(stage.p50), number(stage.p99), f"{stage.count:,}"] for stage in stages
    ]
    rows.append(["sum of the medians", number(sum(stage.p50 for stage in stages)), "does not add up", ""])
    return [
        element("h3", name),
        plots.figure(label, lambda made: _bars(made, stages), 1.0 + 0.36 * len(stages), caption),
        table(["stage", "p50 (ms)", "p99 (ms)", "samples"], rows, f"Stages of {name}, in their order."),
    ]


def _bars(made: Any, stages: Sequence[Stage]) -> None:
    axes = made.subplots()
    begin = most = 0.0
    for row, stage in enumerate(stages):
        axes.barh(row, stage.p50, left=begin, height=0.55, color=plots.COLORS[0])
        end = begin + max(stage.p50, stage.p99)
        axes.hlines(row, begin + stage.p50, end, color=plots.COLORS[1], linewidth=2)
        axes.plot(end, row, "|", color=plots.COLORS[1], markersize=9)
        text = f"{number(stage.p50)} / {number(stage.p99)}"
        axes.annotate(text, (end, row), (5, 0), textcoords="offset points", va="center", fontsize=8)
        begin, most = begin + stage.p50, max(most, end)
    _rows(axes, [stage.name for stage in stages])
    axes.set_xlim(0, 1.2 * most or 1)
    axes.set_xlabel("ms (p50 / p99)")


def _rows(axes: Any, names: Sequence[str]) -> None:
    """One name a row, the first at the top."""
    axes.set_yticks(range(len(names)), [plots.named(name, 28) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def _deadlines(deadlines: Sequence[Deadline]) -> Element:
    rows = [_deadline(one) for one in deadlines]
    header = ["what", "deadline", "counted", "missed", "share missed", "95 % interval", ""]
    return section("Deadline misses", "deadlines", table(header, rows, "Results that came after their deadline."))


def _deadline(one: Deadline) -> list[Content]:
    budget = "none in the configuration" if one.budget is None else f"{number(one.budget)} ms"
    place = element("span", budget, element("span", one.of, class_="detail"))
    if one.budget is None or not one.counted:
        share, interval, word = "not known", "none", "no budget" if one.budget is None else "nothing counted"
    else:
        low, high = missed_share(one)
        share, interval = f"{100 * one.missed / one.counted:.3g} %", f"{between((100 * low, 100 * high))} %"
        word = "missed" if one.missed else "none missed"
    return [one.name, place, f"{one.counted:,}", f"{one.missed:,}", share, interval, mark(word)]
