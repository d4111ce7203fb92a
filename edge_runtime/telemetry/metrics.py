"""Every metric of the daemon, and the surface through which the parts report them."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Metrics(Protocol):
    """Where a part reports what it counts. Names and labels must be in `METRICS`."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add `amount` to a counter."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a histogram, in the unit that its name carries."""

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""


class NullMetrics:
    """Reports nowhere: for offline commands and tests that do not look at metrics."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Do nothing."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Do nothing."""

    def set(self, name: str, value: float, **labels: str) -> None:
        """Do nothing."""


LATENCY_BUCKETS_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip
RATIO_BUCKETS = (
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
)  # fmt: skip

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """One family: its kind, its help text, and the label names with their closed sets of values.

    A label without values in `METRICS` takes them from the configuration (pipelines, stages, destinations).
    `buckets` are the upper bounds of a histogram, in the unit that its name carries.
    """

    kind: str  # counter | gauge | histogram
    help: str
    labels: Mapping[str, Labels | None] = field(default_factory=dict)
    buckets: tuple[float, ...] = LATENCY_BUCKETS_SECONDS


class RoleMetrics:
    """The metrics of one process: thread-safe, and a plain snapshot that travels to the supervisor."""

    def __init__(self, metrics: Mapping[str, Metric], values: Mapping[str, Labels]) -> None:
        self._metrics = metrics
        self._values = values
        self._lock = threading.Lock()
        self._numbers: dict[tuple[str, Labels], float] = {}
        self._buckets: dict[tuple[str, Labels], list[float]] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add `amount` to a counter."""
        key = self._key(name, "counter", labels)
        if not amount >= 0:
            raise ValueError(f"{name} is a counter and only goes up, got {amount}")
        with self._lock:
            self._numbers[key] = self._numbers.get(key, 0.0) + amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a histogram. What a clock that jumped makes negative counts as 0."""
        key = self._key(name, "histogram", labels)
        value = value if value >= 0 else 0.0
        bounds = self._metrics[name].buckets
        with self._lock:
            buckets = self._buckets.setdefault(key, [0.0] * (len(bounds) + 2))
            buckets[bisect.bisect_left(bounds, value)] += 1
            buckets[-1] += value

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        key = self._key(name, "gauge", labels)
        with self._lock:
            self._numbers[key] = value

    def snapshot(self) -> list[Sample]:
        """All samples: (name, label values, number) or (name, label values, [a count a bucket ..., sum])."""
        with self._lock:
            numbers: list[Sample] = [(name, labels, value) for (name, labels), value in self._numbers.items()]
            return numbers + [(name, labels, list(value)) for (name, labels), value in self._buckets.items()]

    def _key(self, name: str, kind: str, labels: dict[str, str]) -> tuple[str, Labels]:
        metric = self._metrics.get(name)
        if metric is None or metric.kind != kind or set(labels) != set(metric.labels):
            raise ValueError(f"no {kind} {name} with labels {sorted(labels)}; every metric is in METRICS")
        values = []
        for label, known in metric.labels.items():
            value = labels[label]
            if value not in (known if known is not None else self._values.get(label, ())):
                raise ValueError(f"{name}: {value!r} is not in the closed set of label {label}")
            values.append(value)
        return name, tuple(values)


Sample = tuple[str, Labels, "float | list[float]"]
