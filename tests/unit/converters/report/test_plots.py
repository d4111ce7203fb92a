"""The report's plots: the same bytes each time, well-formed, and readable however many layers there are."""

import dataclasses
import itertools
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from support.reports import build_report, latency

from converters.report import plots
from converters.report.model import LayerRow, NamedLatency, Size
from converters.report.plots import draw

pytestmark = pytest.mark.slow

HOSTILE = "a<b>&$x^2_$ -- \u4e2d\u6587 \x00 \\frac{" * 5


def labels(make, report, monkeypatch):
    """The boxes of all texts that a plot shows, and the whole picture's, in pixels."""
    shown, draw_text = [], Text.draw

    def draw_and_note(text, renderer):
        if text.get_visible() and text.get_text():
            shown.append(text)
        draw_text(text, renderer)

    monkeypatch.setattr(Text, "draw", draw_and_note)
    with matplotlib.rc_context(plots.SETTINGS):
        figure = make(report)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        shown.clear()
        canvas.draw()  # what the first drawing laid out
        return [text.get_window_extent(canvas.get_renderer()) for text in shown], figure.bbox


def test_the_same_report_gives_the_same_bytes_whatever_the_users_settings():
    first = draw(build_report())
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other", "svg.fonttype": "none"}):
        assert draw(build_report()) == first
        assert matplotlib.rcParams["font.size"] == 30
    assert not any(b"<dc:date>" in svg or b"Matplotlib v" in svg for svg in first.values())


def test_every_plot_is_well_formed_whatever_the_names_are():
    report = build_report(
        precision=HOSTILE,
        layers=(LayerRow(HOSTILE, "Conv", 3.0, 1.0),),
        sizes=(Size(HOSTILE, 10),),
        histograms=tuple(dataclasses.replace(h, tensor=HOSTILE) for h in build_report().histograms),
    )
    drawn = draw(report)
    assert len(drawn) == 5
    for svg in drawn.values():
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


OF_LAYERS = [("_layers", count) for count in (1, 24, 130, 1000)]


@pytest.mark.parametrize(
    ("name", "count"), [*OF_LAYERS, ("_metrics", 24), ("_calibration", 24), ("_sizes", 24), ("_latency", 24)]
)
def test_no_two_labels_overlap_and_all_are_within_the_picture(name, count, monkeypatch):
    boxes, whole = labels(getattr(plots, name), build_report(count), monkeypatch)
    assert len(boxes) > 5
    for one in boxes:
        assert whole.x0 <= one.x0 and one.x1 <= whole.x1 and whole.y0 <= one.y0 and one.y1 <= whole.y1
    inner = [box.shrunk(0.98, 0.9) for box in boxes]  # a box holds room above the letters too
    assert not [pair for pair in itertools.combinations(inner, 2) if pair[0].overlaps(pair[1])]


def test_labels_stay_within_the_picture_where_few_runs_were_slow(monkeypatch):
    few = dataclasses.replace(latency(0.02, 20), p90_seconds=0.3, p99_seconds=None)
    boxes, whole = labels(plots._latency, build_report(latency=(NamedLatency("INT8", few),)), monkeypatch)
    assert all(one.x1 <= whole.x1 for one in boxes)


def test_what_was_not_measured_has_no_plot():
    assert draw(build_report(metrics=(), attempts=(), layers=(), histograms=(), latency=(), sizes=())) == {}
    assert "report-layers.svg" not in draw(build_report(layers=(LayerRow("same", "Relu", None, 0.0),)))
