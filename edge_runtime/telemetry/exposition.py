"""What `/metrics` says: the roles' samples added up over restarts, in the text format of Prometheus."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from edge_runtime.telemetry.metrics import Labels, Metric, Sample

Key = tuple[str, Labels]
Value = list[float]


class Exposition(Collector):
    """All metrics of the daemon. Counters go on over a role's restart; its gauges end with it."""

    def __init__(self, metrics: Mapping[str, Metric], values: Mapping[str, Labels]) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._current: dict[str, dict[Key, Value]] = {}
        self._before: dict[Key, Value] = dict(self._zeros(values))
        self._raised_at: dict[Key, float] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def _zeros(self, values: Mapping[str, Labels]) -> Iterator[tuple[Key, Value]]:
        for name, metric in self._metrics.items():
            if metric.kind != "gauge":
                sets = [known if known is not None else values.get(label, ()) for label, known in metric.labels.items()]
                width = 1 if metric.kind == "counter" else len(metric.buckets) + 2
                for labels in itertools.product(*sets):
                    yield (name, labels), [0.0] * width

    def extend(self, values: Mapping[str, Labels]) -> None:
        """Series of label values that are new begin at 0."""
        with self._lock:
            for key, zero in self._zeros(values):
                self._before.setdefault(key, zero)

    def update(self, role: str, samples: Iterable[Sample]) -> None:
        """Take the newest samples of a role's process."""
        with self._lock:
            current = self._current.setdefault(role, {})
            for name, labels, value in samples:
                if name in self._metrics:
                    key, new = (name, tuple(labels)), list(value) if isinstance(value, list) else [float(value)]
                    if self._metrics[name].kind == "counter" and new[0] > current.get(key, [0.0])[0]:
                        self._raised_at[key] = time.time()
                    current[key] = new

    def replace(self, part: str, samples: Iterable[Sample]) -> None:
        """Take all samples that a part has now: what it no longer tells is gone. Its counters must always be told."""
        with self._lock:
            self._current[part] = {
                (name, tuple(labels)): list(value) if isinstance(value, list) else [float(value)]
                for name, labels, value in samples
            }

    def ended(self, role: str) -> None:
        """The role's process is gone: keep what it counted."""
        with self._lock:
            for (name, labels), value in self._current.pop(role, {}).items():
                if self._metrics[name].kind != "gauge":
                    self._before[name, labels] = _add(self._before.get((name, labels)), value)

    def collect(self) -> Iterator[Family]:
        """Every family with its samples."""
        grouped: dict[str, list[tuple[Labels, Value]]] = {}
        for (name, labels), value in sorted(self._totals().items()):
            grouped.setdefault(name, []).append((labels, value))
        for name, metric in self._metrics.items():
            yield _family(name, metric, grouped.get(name, []))

    def values(self, name: str) -> dict[Labels, float]:
        """The samples of a counter or gauge by their labels."""
        return {labels: value[0] for (found, labels), value in self._totals().items() if found == name}

    def raised_at(self, name: str) -> dict[Labels, float]:
        """When each sample of a counter last went up (Unix seconds), of those that did since the start."""
        with self._lock:
            return {labels: at for (found, labels), at in self._raised_at.items() if found == name}

    def _totals(self) -> dict[Key, Value]:
        with self._lock:
            totals = {key: list(value) for key, value in self._before.items()}
            for samples in self._current.values():
                for key, value in samples.items():
                    totals[key] = _add(totals.get(key), value)
        return totals

    def render(self) -> bytes:
        """The text format."""
        return generate_latest(self._registry)


def _add(a: Value | None, b: Value) -> Value:
    return b if a is None else [x + y for x, y in zip(a, b, strict=True)]


def _family(name: str, metric: Metric, samples: list[tuple[Labels, Value]]) -> Family:
    labels = tuple(metric.labels)
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.help, labels=labels)
        for values, numbers in samples:
            counts = list(itertools.accumulate(numbers[:-1]))
            bounds = [*(str(bound) for bound in metric.buckets), "+Inf"]
            histogram.add_metric(values, list(zip(bounds, counts, strict=True)), numbers[-1])
        return histogram
    if metric.kind == "counter":
        counter = CounterMetricFamily(name, metric.help, labels=labels)
        for values, numbers in samples:
            counter.add_metric(values, numbers[0])
        return counter
    gauge = GaugeMetricFamily(name, metric.help, labels=labels)
    for values, numbers in samples:
        gauge.add_metric(values, numbers[0])
    return gauge
