"""From what the steps of a build give to the parts of its report."""

import dataclasses
import math

import numpy as np
import pytest
from support.reports import build_report

from converters.measure import gate
from converters.measure.evaluate import Evaluation, Score
from converters.measure.layers import LayerError
from converters.measure.sensitivity import Sensitivity
from converters.quantize import histogram
from converters.quantize.calibrate import Observed, Range, TensorStatistics
from converters.report import collect
from converters.report.model import Attempt, Figure, LayerRow, MetricRow, RaisedLayer
from edge_runtime.engines.card import Tolerance

RANDOM = np.random.default_rng(3)
FP32 = Evaluation((Score("auc", 0.9, 0.8, 0.95, 0.9), Score("sensitivity", 0.8, 0.7, 0.9, 0.8)), 40, 1.0)
INT8 = Evaluation((Score("auc", 0.895, 0.79, 0.94, 0.895), Score("sensitivity", 0.7, 0.6, 0.8, 0.6)), 40, 1.0)
GATE = (Tolerance("auc", 0.01, 0.8), Tolerance("sensitivity", 0.05))


def statistics(values):
    values = np.asarray(values, np.float32)
    return TensorStatistics(float(values.min()), float(values.max()), histogram.count(values))


def error(name, sqnr_db, largest=1.0):
    return LayerError(name, "Conv", f"node of {name}", sqnr_db, 0.1, largest, 0.1)


def test_metrics_stand_beside_fp32_with_what_the_card_allows():
    rows = collect.metric_rows(GATE, FP32, INT8)
    assert rows == (
        MetricRow("auc", Figure(0.9, 0.8, 0.95, 0.9), Figure(0.895, 0.79, 0.94, 0.895), 0.01, 0.8, True),
        MetricRow("sensitivity", Figure(0.8, 0.7, 0.9, 0.8), Figure(0.7, 0.6, 0.8, 0.6), 0.05, 0.0, False),
    )


def test_the_report_passes_what_the_gate_passes():
    of_gate = gate.compare_scores(GATE, FP32, INT8)
    assert [row.passed for row in collect.metric_rows(GATE, FP32, INT8)] == [row.passed for row in of_gate]


def test_without_a_gate_nothing_is_allowed_or_refused():
    rows = collect.metric_rows((), FP32, INT8)
    assert [(row.metric, row.lowest_allowed, row.passed) for row in rows] == [
        ("auc", None, True), ("sensitivity", None, True)
    ]  # fmt: skip


def test_each_try_keeps_its_figures_and_the_samples_without_an_answer():
    rows = gate.compare_scores(GATE, FP32, INT8)
    tried = (gate.Attempt((), rows, ("a", "b")), gate.Attempt(("x",), rows[:1]))
    assert collect.attempts(tried) == (Attempt(0, False, (0.895, 0.7), 2), Attempt(1, True, (0.895,), 0))


def test_raised_layers_come_most_sensitive_first_and_without_figures_that_are_none():
    order = [Sensitivity("worst", math.inf), Sensitivity("bad", 0.01), Sensitivity("good", 0.0001)]
    found = collect.raised_layers({"bad", "worst"}, order, {"worst": "Gemm", "bad": "Conv"})
    assert found == (RaisedLayer("worst", "Gemm", None), RaisedLayer("bad", "Conv", pytest.approx(20.0)))


def test_a_layer_is_raised_by_its_node_and_infinities_are_told_apart():
    errors = (error("a", 30.0), error("same", math.inf, 0.0), error("nan", -math.inf, math.inf))
    assert collect.layer_rows(errors, {"node of a", "same"}) == (
        LayerRow("a", "Conv", 30.0, 1.0, raised=True),
        LayerRow("same", "Conv", None, 0.0),
        LayerRow("nan", "Conv", None, None),
    )


def test_histograms_are_of_the_tensors_that_lost_most_and_were_calibrated():
    spread = statistics(RANDOM.normal(size=1000))
    of = {"good": spread, "bad": spread, "worst": spread, "constant": statistics([2.0, 2.0])}
    observed = Observed("0", "0", 1, of)
    errors = [error("good", 40), error("bad", 20), error("worst", 1), error("constant", 0), error("unseen", -5)]
    found = collect.histograms(observed, {name: Range(-1, 1) for name in of}, errors, count=2)
    assert [one.tensor for one in found] == ["worst", "bad"]
    assert sum(found[0].counts) == pytest.approx(1000, abs=3)  # what lies in the outermost bins is cut
    assert (found[0].low, found[0].high) == (spread.low, spread.high)


@pytest.mark.parametrize("bound", [0.5, 1.0, 2.0, 100.0])
def test_the_share_clipped_is_that_of_the_values_outside(bound):
    values = RANDOM.normal(size=20_000).astype(np.float32)
    found = collect.clipped_share(histogram.count(values), Range(-bound, bound))
    assert found == pytest.approx(float((np.abs(values) > bound).mean()), abs=0.005)


def test_what_was_collected_makes_a_report():
    rows = collect.layer_rows((error("nan", -math.inf, math.inf), error("a", 3.0)), ())
    report = build_report(layers=rows, metrics=collect.metric_rows(GATE, FP32, INT8))
    assert dataclasses.asdict(report)["layers"][0]["maximum_absolute_error"] is None
