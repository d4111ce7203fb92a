"""How long each layer of a network takes, as TensorRT measures it (IProfiler)."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from edge_runtime.backends.base import LayerTime


def make_profiler(trt: Any, found: list[tuple[str, float]]) -> Any:
    """A profiler that appends (layer, milliseconds) for every layer of every run."""

    def report_layer_time(_self: Any, layer: str, milliseconds: float) -> None:
        found.append((layer, milliseconds))

    return type("Profiler", (trt.IProfiler,), {"report_layer_time": report_layer_time})()


def medians(found: Iterable[tuple[str, float]]) -> tuple[LayerTime, ...]:
    """The median of each layer's times (milliseconds), in the order of their first appearance."""
    times: dict[str, list[float]] = {}
    for layer, milliseconds in found:
        times.setdefault(layer, []).append(milliseconds)
    return tuple(LayerTime(layer, statistics.median(of) / 1000) for layer, of in times.items())
