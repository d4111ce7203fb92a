"""The parts of a report, made of what the steps of a build gave."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from converters.measure import gate
from converters.measure.evaluate import Evaluation, Score
from converters.measure.layers import LayerError
from converters.measure.sensitivity import Sensitivity
from converters.quantize.calibrate import Observed, Range
from converters.quantize.histogram import EDGES
from converters.report.model import Attempt, Figure, Histogram, LayerRow, MetricRow, RaisedLayer
from edge_runtime.domain import Array
from edge_runtime.engines.card import Tolerance

HISTOGRAMS = 6
_BINS = 128


def metric_rows(tolerances: Sequence[Tolerance], fp32: Evaluation, found: Evaluation) -> tuple[MetricRow, ...]:
    """FP32 beside this precision. `tolerances`: the card's gate, in whose order both are scored, or none."""
    allowed: Sequence[Tolerance | None] = tolerances or [None] * len(fp32.scores)
    return tuple(
        MetricRow(
            metric=before.metric,
            fp32=_figure(before),
            found=_figure(after),
            tolerance=None if limit is None else limit.tolerance,
            at_least=None if limit is None else limit.at_least,
            passed=limit is None or gate.passes(before.value, after.value, limit.tolerance, limit.at_least),
        )
        for limit, before, after in zip(allowed, fp32.scores, found.scores, strict=True)
    )


def _figure(score: Score) -> Figure:
    return Figure(score.value, score.low, score.high, score.worst)


def attempts(tried: Sequence[gate.Attempt]) -> tuple[Attempt, ...]:
    """What the gate tried, in order."""
    return tuple(
        Attempt(len(one.raised), one.passed, tuple(row.found for row in one.rows), len(one.failed)) for one in tried
    )


def raised_layers(
    kept: Collection[str], sensitivities: Sequence[Sensitivity], operators: Mapping[str, str]
) -> tuple[RaisedLayer, ...]:
    """The layers that the gate gave back to FP32, most sensitive first. `operators`: by layer."""
    return tuple(
        RaisedLayer(one.layer, operators.get(one.layer, "?"), _finite(one.sqnr_db))
        for one in sensitivities
        if one.layer in kept
    )


def layer_rows(errors: Sequence[LayerError], raised: Collection[str]) -> tuple[LayerRow, ...]:
    """Every tensor that was compared; `raised`: the layers in FP32."""
    return tuple(
        LayerRow(e.name, e.operator, _finite(e.sqnr_db), _finite(e.maximum_absolute_error), e.node in raised)
        for e in errors
    )


def histograms(
    observed: Observed, ranges: Mapping[str, Range], errors: Sequence[LayerError], count: int = HISTOGRAMS
) -> tuple[Histogram, ...]:
    """Of the tensors that lost most, worst first: at most `count` of those that were calibrated."""
    worst = sorted(errors, key=lambda e: e.sqnr_db)
    names = [e.name for e in worst if e.name in ranges and e.name in observed.statistics]
    spread = [name for name in dict.fromkeys(names) if observed.statistics[name].low < observed.statistics[name].high]
    return tuple(_histogram(observed, name, ranges[name]) for name in spread[:count])


def _histogram(observed: Observed, tensor: str, chosen: Range) -> Histogram:
    edges, counts = observed.histogram(tensor, _BINS)
    return Histogram(
        tensor=tensor,
        low=float(edges[0]),
        high=float(edges[-1]),
        counts=tuple(round(float(value), 3) for value in counts),
        range_low=chosen.low,
        range_high=chosen.high,
        clipped=clipped_share(observed.statistics[tensor].counts, chosen),
    )


def clipped_share(counts: Array, chosen: Range) -> float:
    """The share of values outside a range, by a histogram as `histogram` counts it: exact to one of its bins."""
    below = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    low, high = np.interp([chosen.low, chosen.high], EDGES, below)
    return float(np.clip(1 - (high - low) / below[-1], 0.0, 1.0))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
