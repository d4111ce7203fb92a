"""Drawing: matplotlib's SVG as a part of the page. The same result gives the same bytes."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from benchmarks.html.elements import element

WIDTH = 8.0  # inches
COLORS = ("#3b82c4", "#d9822b", "#2e9e6b", "#a05cc4", "#c2486b", "#8a8a2f")
STYLES = ("-", "--", "-.", ":")
BOUND = "#d0392f"
INK = "#010203"
"""Stands for the colour of the page's text, which the browser puts in: light and dark."""
_SETTINGS = {
    "svg.hashsalt": "edge-runtime", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "axes.axisbelow": True,
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "grid.color": INK, "legend.framealpha": 0.0, "axes.facecolor": "none", "figure.facecolor": "none",
}  # fmt: skip
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def figure(label: str, draw: Callable[[Any], None], height: float, caption: str = "") -> Element:
    """A drawn figure of the page. `draw` fills matplotlib's; `label` says to all readers what is seen."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has more letters to draw it with
        made = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(made)
        stream = io.BytesIO()
        made.savefig(stream, format="svg", metadata=_NO_METADATA)
    text = stream.getvalue().decode().replace(INK, "currentColor")
    drawn = _without_namespaces(ElementTree.XML(text))
    drawn.set("role", "img")
    drawn.set("aria-label", label)
    drawn.insert(0, element("title", label))
    return element("figure", drawn, element("figcaption", f"{label}. {caption}".strip()))


def tell_apart(root: Element) -> None:
    """Give each drawing of a page identifiers of its own."""
    for order, drawn in enumerate(root.iter("svg")):
        for part in drawn.iter():
            for key, value in part.attrib.items():
                if key == "id":
                    part.set(key, f"plot{order}-{value}")
                elif value.startswith("#") and key == "href":
                    part.set(key, f"#plot{order}-{value[1:]}")
                elif "url(#" in value:
                    part.set(key, value.replace("url(#", f"url(#plot{order}-"))


def series(order: int) -> dict[str, Any]:
    """Colour and line of a series: neighbours differ in both."""
    return {"color": COLORS[order % len(COLORS)], "linestyle": STYLES[order % len(STYLES)]}


def legend(axes: Any, **options: Any) -> None:
    """The names of the series."""
    axes.legend(fontsize=8.5, **options)


def legend_above(axes: Any) -> None:
    """The names of the series above the axes, where they hide nothing."""
    legend(axes, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)


def named(text: str, most: int = 60) -> str:
    """A name for a plot, shortened in the middle: the ends tell it from others.

    Matplotlib leaves out of a legend what begins with an underscore, so such a name gets a space.
    """
    if len(text) > most:
        text = f"{text[: most // 2 - 2]}...{text[len(text) - most // 2 + 1 :]}"
    return f" {text}" if text.startswith("_") else text


def wide(values: Iterable[float]) -> bool:
    """True where the values need a logarithmic axis: all are positive, and they span more than a factor of 20."""
    low, high = min(values := list(values)), max(values)
    return low > 0 and high / low > 20


def logarithmic(axis: Any) -> None:
    """A logarithmic x or y axis (`axes.xaxis`) with plain numbers as labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if low > 0 else 1.0
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3 else (1.0,), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _without_namespaces(root: Element) -> Element:
    """The same as HTML writes it: `<use href>`, no prefixes. The page's style stands in for matplotlib's."""
    for part in root.iter():
        part.tag = part.tag.rpartition("}")[2]
        part.attrib = {key.rpartition("}")[2]: value for key, value in part.attrib.items()}
        for style in [one for one in part if one.tag.endswith("style")]:
            part.remove(style)
    return root
