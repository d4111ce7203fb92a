"""The report's plots as SVG. The same report gives the same bytes, whatever the user's settings of matplotlib are."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from converters.report.model import BuildReport, Histogram, LayerRow, MetricRow
from converters.report.text import milliseconds, plain
from converters.text_table import size

WORST_LAYERS = 15
_WIDTH = 9.0  # inches
_LOW, _FP32, _RAISED, _BOUND = "#1f6fb2", "#8a8a8a", "#d9822b", "#b3261e"
SETTINGS = {"svg.hashsalt": "edge-runtime", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def draw(report: BuildReport) -> dict[str, bytes]:
    """The plots by file name; what was not measured has none."""
    import matplotlib

    plots: dict[str, tuple[bool, Callable[[BuildReport], Any]]] = {
        "report-metrics.svg": (bool(report.metrics), _metrics),
        "report-layers.svg": (any(row.sqnr_db is not None for row in report.layers), _layers),
        "report-calibration.svg": (bool(report.histograms), _calibration),
        "report-size.svg": (bool(report.sizes), _sizes),
        "report-latency.svg": (bool(report.latency), _latency),
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        return {name: _svg(make(report)) for name, (wanted, make) in plots.items() if wanted}


def _svg(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _figure(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure without the global state of pyplot, and its axes as an array (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=9, parse_math=False)


def _names(axes: Any, names: Sequence[str], most: int = 48) -> None:
    """One name a row, the first at the top."""
    axes.set_yticks(range(len(names)), [plain(name, most) for name in names], parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _metrics(report: BuildReport) -> Any:
    alone = report.precision == "fp32"
    rows = 1 if alone else 2
    figure, axes = _figure((0.75 + 0.3 * rows) * len(report.metrics), len(report.metrics))
    for place, row in zip(axes[:, 0], report.metrics, strict=True):
        _metric(place, row, alone, plain(report.precision.upper(), 12))
    return figure


def _metric(axes: Any, row: MetricRow, alone: bool, precision: str) -> None:
    shown = [("FP32", row.fp32, _FP32)] + ([] if alone else [(precision, row.found, _LOW)])
    for index, (_, found, color) in enumerate(shown):
        axes.hlines(index, found.low, found.high, color=color, linewidth=2)
        axes.plot(found.value, index, "o", color=color)
    _names(axes, [name for name, _, _ in shown])
    title = plain(row.metric, 40) + ", 95 % interval"
    if row.lowest_allowed is not None:
        axes.axvline(row.lowest_allowed, color=_BOUND, linestyle="--", linewidth=1.2)
        title += f"; dashed: lowest allowed, {row.lowest_allowed:.4g}"
    _title(axes, title)
    axes.margins(x=0.08)
    axes.grid(axis="x", alpha=0.3)


def _layers(report: BuildReport) -> Any:
    known = [row for row in report.layers if row.sqnr_db is not None]
    worst = sorted(known, key=lambda row: row.sqnr_db or 0.0)[:WORST_LAYERS]
    heights = [2.4, 0.7 + 0.24 * len(worst)]
    figure, axes = _figure(sum(heights), 2, gridspec_kw={"height_ratios": heights})
    above, below = axes[:, 0]
    at = [index for index, row in enumerate(report.layers) if row.sqnr_db is not None]
    above.bar(at, [row.sqnr_db for row in known], width=0.8, color=_colors(known))
    above.set_xlim(-1, len(report.layers))
    above.set_xlabel("tensors in the order of the network")
    above.set_ylabel("SQNR (dB)")
    low = plain(report.precision.upper(), 12)
    note = "; orange: layers that stayed in FP32" if any(row.raised for row in known) else ""
    _title(above, f"{low} against FP32, higher is better{note}")
    bars = below.barh(range(len(worst)), [row.sqnr_db for row in worst], height=0.7, color=_colors(worst))
    below.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    _names(below, [row.name for row in worst])
    below.margins(x=0.1)
    below.set_xlabel("SQNR (dB)")
    _title(below, f"The {len(worst)} worst")
    return figure


def _colors(rows: Sequence[LayerRow]) -> list[str]:
    return [_RAISED if row.raised else _LOW for row in rows]


def _calibration(report: BuildReport) -> Any:
    shown = report.histograms
    rows = -(-len(shown) // 2)
    figure, axes = _figure(2.1 * rows, rows, 2)
    for index, place in enumerate(axes.flat):
        if index < len(shown):
            _histogram(place, shown[index])
        else:
            place.set_axis_off()
    return figure


def _histogram(axes: Any, found: Histogram) -> None:
    width = (found.high - found.low) / len(found.counts)
    edges = [found.low + width * index for index in range(len(found.counts) + 1)]
    axes.stairs(found.counts, edges, fill=True, color=_FP32)
    axes.axvspan(found.range_low, found.range_high, color=_LOW, alpha=0.15, linewidth=0)
    for bound in (found.range_low, found.range_high):
        axes.axvline(bound, color=_LOW, linewidth=1.2)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("values", fontsize=8)
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(labelsize=8)
    outside = f"range {found.range_low:.4g} to {found.range_high:.4g}, {100 * found.clipped:.3g} % of values outside"
    _title(axes, f"{plain(found.tensor, 46)}\n{outside}")


def _sizes(report: BuildReport) -> Any:
    figure, axes = _figure(0.7 + 0.32 * len(report.sizes))
    place = axes[0, 0]
    megabytes = [one.size_bytes / 1e6 for one in report.sizes]
    bars = place.barh(range(len(megabytes)), megabytes, height=0.6, color=_LOW)
    place.bar_label(bars, [size(one.size_bytes) for one in report.sizes], padding=3)
    _names(place, [one.what for one in report.sizes])
    place.margins(x=0.12)
    place.set_xlabel("MB")
    return figure


def _latency(report: BuildReport) -> Any:
    figure, axes = _figure(0.95 + 0.4 * len(report.latency))
    place = axes[0, 0]
    ends = []
    for index, one in enumerate(report.latency):
        p50, *told = one.latency.p50_seconds, one.latency.p90_seconds, one.latency.p99_seconds
        rare = [1000 * value for value in told if value is not None]
        ends.append(max([1000 * p50, *rare]))
        place.barh(index, 1000 * p50, height=0.5, color=_LOW if index == 0 else _FP32)
        place.hlines(index, 1000 * p50, ends[-1], color="black", linewidth=1)
        place.plot(rare, [index] * len(rare), "|", color="black", markersize=9)
        text = " / ".join(map(milliseconds, (p50, *told)))
        place.annotate(text, (ends[-1], index), (6, 0), textcoords="offset points", va="center")
    _names(place, [one.name for one in report.latency])
    place.set_xlim(0, 1.3 * max(ends))
    place.set_xlabel("ms")
    first = report.latency[0].latency
    _title(place, f"p50 / p90 / p99 on the CPU: {plain(first.processor, 60)}, {first.threads} threads")
    return figure
