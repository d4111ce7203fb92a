"""What `/metrics` says: the roles' samples added up over restarts, in the text format of Prometheus."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from edge_runtime.telemetry.metrics import LATENCY_BUCKETS_SECONDS, Labels, Metric, Sample

Key = tuple[str, Labels]
Value = list[float]


class Exposition(Collector):
    """All metrics of the daemon. Counters go on over a role's restart; its gauges end with it."""

    def __init__(self, metrics: Mapping[str, Metric], values: Mapping[str, Labels]) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._current: dict[str, dict[Key, Value]] = {}
        self._before: dict[Key, Value] = dict(self._zeros(values))
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def _zeros(self, values: Mapping[str, Labels]) -> Iterator[tuple[Key, Value]]:
        for name, metric in self._metrics.items():
            if metric.kind != "gauge":
                sets = [known if known is not None else values.get(label, ()) for label, known in metric.labels.items()]
                width = 1 if metric.kind == "counter" else len(LATENCY_BUCKETS_SECONDS) + 2
                for labels in itertools.product(*sets):
                    yield (name, labels), [0.0] * width

    def update(self, role: str, samples: Iterable[Sample]) -> None:
        """Take the newest samples of a role's process."""
        with self._lock:
            current = self._current.setdefault(role, {})
            for name, labels, value in samples:
                if name in self._metrics:
                    current[name, tuple(labels)] = list(value) if isinstance(value, list) else [float(value)]

    def ended(self, role: str) -> None:
        """The role's process is gone: keep what it counted."""
        with self._lock:
            for (name, labels), value in self._current.pop(role, {}).items():
                if self._metrics[name].kind != "gauge":
                    self._before[name, labels] = _add(self._before.get((name, labels)), value)

    def collect(self) -> Iterator[Family]:
        """Every family with its samples."""
        with self._lock:
            totals = {key: list(value) for key, value in self._before.items()}
            for samples in self._current.values():
                for key, value in samples.items():
                    totals[key] = _add(totals.get(key), value)
        grouped: dict[str, list[tuple[Labels, Value]]] = {}
        for (name, labels), value in sorted(totals.items()):
            grouped.setdefault(name, []).append((labels, value))
        for name, metric in self._metrics.items():
            yield _family(name, metric, grouped.get(name, []))

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
            bounds = [*(str(bound) for bound in LATENCY_BUCKETS_SECONDS), "+Inf"]
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
