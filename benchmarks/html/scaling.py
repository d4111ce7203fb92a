"""Cost of one unit of work over the size of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from benchmarks.html import plots
from benchmarks.html.elements import Content, between, element, folded, mark, number, section, table
from benchmarks.html.model import Curve, Result

_WORDS = {
    "superlinear": "a unit of work costs more, the larger the whole is",
    "linear": "a unit of work costs the same at every size",
    "sublinear": "a unit of work costs less, the larger the whole is",
    "too few points": "nothing can be said: at least three sizes with three samples each are needed",
}


ROOM = 1.1
"""Height of the axis over the highest point."""


def scaling(result: Result) -> list[Element]:
    """A part with one plot for each case; nothing where no curve was measured."""
    groups: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in result.curves:
        groups.setdefault((curve.name.rpartition("/")[0] or curve.name, curve.axis, curve.unit), []).append(curve)
    if not groups:
        return []
    parts = [part for (case, _, _), curves in groups.items() for part in _case(case, curves)]
    text = (
        "Cost of one unit of work over the size. The exponent e is that of cost ~ size^e over the larger half of the "
    )
    text += "sizes: 0 where a unit always costs the same."
    return [section("Scaling", "scaling", element("p", text, class_="dim"), *parts)]


def _case(case: str, curves: Sequence[Curve]) -> list[Content]:
    first = curves[0]
    label = f"Cost of one unit of {case} over {first.axis}: " + ", ".join(f"{c.name} {c.growth}" for c in curves)
    rows = [_growth(curve) for curve in curves]
    points: list[list[Content]] = [
        [
            curve.name,
            number(point.size),
            number(point.median),
            between(point.interval, point.samples),
            str(point.samples),
        ]
        for curve in curves
        for point in curve.points
    ]
    made: list[Content] = [element("h3", case if len(curves) > 1 else first.name)]
    if any(curve.points for curve in curves):
        caption = "Bars: 95 % intervals of the medians."
        made.append(plots.figure(label, lambda figure: _draw(figure, curves), 3.2, caption))
    made.append(table(["curve", "exponent", "95 % interval", "growth"], rows, f"Growth of {case}."))
    header = ["curve", first.axis, f"median ({first.unit})", "95 % interval", "samples"]
    made.append(folded("The same in numbers", table(header, points, f"Points of {case}.")))
    return made


def _growth(curve: Curve) -> list[Content]:
    words = _WORDS.get(curve.growth, "")
    told = element("span", mark(curve.growth), element("span", words, class_="detail"))
    exponent = "none" if curve.exponent is None else f"{curve.exponent:.2f}"
    interval = "none" if curve.interval is None else f"{curve.interval.low:.2f} .. {curve.interval.high:.2f}"
    return [curve.name, exponent, interval, told]


def _draw(made: Any, curves: Sequence[Curve]) -> None:
    axes = made.subplots()
    for order, curve in enumerate(curves):
        points = sorted(curve.points, key=lambda point: point.size)
        medians = [point.median for point in points]
        below = [max(point.median - point.interval.low, 0.0) for point in points]
        above = [max(point.interval.high - point.median, 0.0) for point in points]
        word = "SUPERLINEAR" if curve.growth == "superlinear" else curve.growth
        label = f"{plots.named(curve.name, 40)}: {word}"
        look = plots.series(order)
        axes.errorbar([point.size for point in points], medians, [below, above], marker="o", markersize=4, capsize=3,
                      label=label, **look)  # fmt: skip
    highest = max(max(point.median, point.interval.high) for curve in curves for point in curve.points)
    axes.set_ylim(0, ROOM * highest or 1)  # the topmost mark is whole, also where all are alike
    axes.set(xlabel=plots.named(curves[0].axis), ylabel=plots.named(curves[0].unit, 30))
    sizes = sorted({point.size for curve in curves for point in curve.points})
    if sizes[0] > 0:
        plots.logarithmic(axes.xaxis)
        if len(sizes) <= 12:
            axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axes.set_xticks([], minor=True)
    plots.legend(axes)
