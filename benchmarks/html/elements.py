"""Parts of a page. The standard library's tree writes it, so text is always text, whatever it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from benchmarks.statistics import Interval

Content = Element | str
_GOOD, _BAD = "\u2713", "\u2717"
SYMBOLS = {
    **dict.fromkeys(("pass", "met", "linear", "sublinear"), _GOOD),
    **dict.fromkeys(("fail", "not met", "superlinear", "missed"), _BAD),
    "within noise": "\u2248",
    "too few samples": "?",
    "too few points": "?",
}
NO_SYMBOL = "\u2013"
_CLASSES = {_GOOD: "good", _BAD: "bad"}
WHOLE_WORD = 16
"""Letters of a word in a table's heading that is not broken: a longer one would make the page too wide."""


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """An element. `class_` is the class, and `data_label` the attribute `data-label`."""
    made = Element(tag, {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()})
    for one in content:
        if isinstance(one, Element):
            made.append(one)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + one
        else:
            made.text = (made.text or "") + one
    return made


def section(title: str, name: str, *content: Content) -> Element:
    """A part of the page with a heading; `name` is its id."""
    return element("section", element("h2", title), *content, id=name)


def listed(texts: Sequence[str]) -> Element:
    """Texts as a list."""
    return element("ul", *(element("li", text) for text in texts))


def folded(title: str, *content: Content) -> Element:
    """What is shown on demand."""
    return element("details", element("summary", title), *content)


def mark(verdict: str) -> Element:
    """A verdict in words with a symbol; the colour only repeats it."""
    symbol = SYMBOLS.get(verdict, NO_SYMBOL)
    return element("span", f"{symbol}\u00a0{verdict}", class_=f"mark {_CLASSES.get(symbol, 'open')}")


def table(header: Sequence[str], rows: Sequence[Sequence[Content]], caption: str) -> Element:
    """A table; on a narrow page each row becomes a card, whose cells carry the heading of their column."""
    head = element("thead", element("tr", *map(_heading, header)))
    body = element("tbody", *(_row(header, row) for row in rows))
    return element("table", element("caption", caption), head, body)


def _heading(text: str) -> Element:
    long = max(map(len, text.split()), default=0) > WHOLE_WORD
    return element("th", text, scope="col", **({"class_": "long"} if long else {}))


def _row(header: Sequence[str], cells: Sequence[Content]) -> Element:
    first, *others = cells
    made = element("tr", element("th", first, scope="row", data_label=header[0]))
    made.extend(element("td", cell, data_label=title) for title, cell in zip(header[1:], others, strict=True))
    return made


def number(value: float | None) -> str:
    """Four significant digits at most; a missing number is said to be missing."""
    if value is None:
        return "none"
    if not math.isfinite(value):
        return "not a number"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def between(interval: Interval | tuple[float, float] | None, samples: int = 0) -> str:
    """An interval for a reader. `samples`: of how many it is, where that is known; one sample has none."""
    if interval is None:
        return "none"
    low, high = (interval.low, interval.high) if isinstance(interval, Interval) else interval
    if samples == 1 and low == high:
        return "none (1 sample)"
    return f"{number(low)} .. {number(high)}"


def device_name(device: str) -> str:
    """`cpu` as CPU."""
    return device.upper()
