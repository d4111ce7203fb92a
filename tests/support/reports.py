"""A report of a build, as one may be."""

from __future__ import annotations

import math
from typing import Any

from converters.measure.latency import Latency
from converters.report.model import (
    Attempt,
    BuildReport,
    Calibration,
    Figure,
    Histogram,
    Holdout,
    LayerRow,
    MetricRow,
    NamedLatency,
    Parity,
    RaisedLayer,
    Size,
    StepTime,
)


def latency(p50: float, runs: int = 200) -> Latency:
    """A plausible one."""
    return Latency("AMD EPYC 9R14", 2, runs, 0.9 * p50, p50, 1.1 * p50, 1.3 * p50, None, 1.5 * p50)


def layer(index: int) -> LayerRow:
    """Less exact the later it comes; every twentieth stayed in FP32."""
    name = f"/model/layer{index // 16}/block{index % 16}/conv/Conv_output_0"
    return LayerRow(name, "Conv", 45 - index / 5 + 3 * math.sin(index), 0.01 * index, index % 20 == 19)


def histogram(index: int) -> Histogram:
    """A bell with one far outlier."""
    counts = [round(10000 * math.exp(-(((i - 20) / 6) ** 2)), 1) for i in range(128)]
    counts[-1] = 1.0
    return Histogram(f"/model/layer{index}/act/Relu_output_0", -2.0, 11.5, tuple(counts), -1.9, 3.4, 0.00012)


def build_report(count: int = 24, **changes: Any) -> BuildReport:
    """An INT8 engine for the CPU, of `count` layers, that passed its gate with two of them in FP32."""
    values: dict[str, Any] = {
        "name": "ct-hemorrhage-classifier",
        "version": "1.0.0",
        "task": "classification",
        "card_sha256": "a" * 64,
        "checkpoint_format": "state_dict",
        "checkpoint_sha256": "b" * 64,
        "target": "onnxruntime",
        "precision": "int8",
        "engine_file": "engine.onnx",
        "engine_sha256": "c" * 64,
        "runs_here": True,
        "sizes": (Size("checkpoint", 46_800_000), Size("network.onnx", 46_700_000), Size("engine.onnx", 11_800_000)),
        "parity": Parity("torch 2.13.0", "engine.onnx", 0.0213, None),
        "holdout": Holdout("holdout", 96, "d" * 64, "engine.onnx"),
        "metrics": (
            MetricRow("auc", Figure(0.9655, 0.94, 0.99, 0.9655), Figure(0.9611, 0.93, 0.98, 0.9611), 0.01, 0.9, True),
            MetricRow("sensitivity", Figure(0.89, 0.82, 0.94, 0.89), Figure(0.88, 0.81, 0.93, 0.88), 0.02, None, True),
        ),
        "gated": True,
        "attempts": (Attempt(0, False, (0.94, 0.8), 3), Attempt(2, True, (0.9611, 0.88))),
        "low_precision_layers": count - 2,
        "raised": (RaisedLayer("/model/conv1/Conv", "Conv", 21.4), RaisedLayer("/model/fc/Gemm", "Gemm", 25.0)),
        "layers": tuple(layer(index) for index in range(count)),
        "calibration": Calibration("percentile", 99.99, "calibration", 64, 128, "e" * 64),
        "histograms": tuple(histogram(index) for index in range(5)),
        "latency": (NamedLatency("this engine (INT8)", latency(0.0039)), NamedLatency("FP32", latency(0.01))),
        "steps": (StepTime("exporting", 3.2), StepTime("calibrating", 12.0)),
        "command": ("edge-convert", "build", "ct-hemorrhage-classifier", "--target", "onnxruntime"),
        "details": ("instruction set avx512_vnni",),
        "packages": ("onnx 1.19.0", "onnxruntime 1.32.0"),
        "rewrites": ("a constant was folded",),
        "warnings": ("only 64 calibration samples",),
    }  # fmt: skip
    return BuildReport(**{**values, **changes})
