"""What a report holds: plain values, of which Markdown and plots are made and which go into `report.json`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from converters.measure.latency import Latency
from converters.report.text import argument, without_folders

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Figure:
    """A task metric with its 95 % interval; `worst`: of a single sample where that means something, else the value."""

    value: float
    low: float
    high: float
    worst: float


@dataclass(frozen=True)
class MetricRow:
    """A metric of FP32 and of this precision on the same samples, and what the card allows; None: it says nothing."""

    metric: str
    fp32: Figure
    found: Figure
    tolerance: float | None
    at_least: float | None
    passed: bool

    @property
    def lowest_allowed(self) -> float | None:
        """What the figure of this precision may not fall below."""
        bounds = [] if self.tolerance is None else [self.fp32.value - self.tolerance]
        return max([*bounds, *([] if self.at_least is None else [self.at_least])], default=None)


@dataclass(frozen=True)
class Holdout:
    """The labelled samples of the metrics, and the file that was measured on them."""

    source: str
    samples: int
    sha256: str
    measured: str


@dataclass(frozen=True)
class Attempt:
    """One try of the gate: how many layers were in FP32, and each metric's figure, in the order of the metrics.

    unanswered: samples of which it gave no number though FP32 does.
    """

    raised: int
    passed: bool
    figures: tuple[float, ...] = ()
    unanswered: int = 0


@dataclass(frozen=True)
class RaisedLayer:
    """A layer that the gate gave back to FP32. sqnr_db: of the output with it alone in low precision, if finite."""

    name: str
    operator: str
    sqnr_db: float | None


@dataclass(frozen=True)
class LayerRow:
    """A tensor of both networks on the same inputs.

    sqnr_db: None where the two are equal, or where the other holds numbers that are not finite; then the largest
    error is None too.
    """

    name: str
    operator: str
    sqnr_db: float | None
    maximum_absolute_error: float | None
    raised: bool = False

    @property
    def order(self) -> float:
        """To sort by, the worst first."""
        if self.maximum_absolute_error is None:
            return -math.inf
        return math.inf if self.sqnr_db is None else self.sqnr_db


@dataclass(frozen=True)
class Calibration:
    """What the ranges were taken from."""

    method: str
    percentile: float | None
    source: str
    samples: int
    inputs: int
    sha256: str


@dataclass(frozen=True)
class Histogram:
    """Values of a tensor over all calibration inputs, in equal bins from `low` to `high`, and the range chosen.

    clipped: the share of values outside the range.
    """

    tensor: str
    low: float
    high: float
    counts: tuple[float, ...]
    range_low: float
    range_high: float
    clipped: float

    def __post_init__(self) -> None:
        if not self.counts or self.low >= self.high or self.range_low > self.range_high:
            raise ValueError("a histogram has bins from low up to high, and a range")


@dataclass(frozen=True)
class Parity:
    """How far the golden output of `measured` is from the framework's; tolerance None: the gate decides, not this."""

    reference: str
    measured: str
    maximum_absolute_error: float
    tolerance: float | None


@dataclass(frozen=True)
class Size:
    """A file's size."""

    what: str
    size_bytes: int


@dataclass(frozen=True)
class NamedLatency:
    """The latency of this engine, or of one that it is compared with, on the same processor."""

    name: str
    latency: Latency


@dataclass(frozen=True)
class StepTime:
    """What a step of the build took."""

    what: str
    seconds: float


@dataclass(frozen=True)
class BuildReport:
    """A build from card and checkpoint to the engine.

    runs_here: whether the engine could run on the machine that built it. Where not, there is no latency: a figure of
    the processor would not be the engine's. details: such as `compute capability 8.6`. Folders are taken out of
    command, options, details and warnings: a report names files only.
    """

    name: str
    version: str
    task: str
    card_sha256: str
    checkpoint_format: str
    checkpoint_sha256: str
    target: str
    precision: str
    engine_file: str
    engine_sha256: str
    runs_here: bool
    sizes: tuple[Size, ...]
    parity: Parity | None = None
    holdout: Holdout | None = None
    metrics: tuple[MetricRow, ...] = ()
    gated: bool = False
    attempts: tuple[Attempt, ...] = ()
    low_precision_layers: int = 0
    raised: tuple[RaisedLayer, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    calibration: Calibration | None = None
    histograms: tuple[Histogram, ...] = ()
    latency: tuple[NamedLatency, ...] = ()
    steps: tuple[StepTime, ...] = ()
    command: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version: is {self.schema_version}, this program reads {SCHEMA_VERSION}")
        if self.latency and not self.runs_here:
            raise ValueError("latency: an engine that has not run has none")
        object.__setattr__(self, "command", tuple(argument(text) for text in self.command))
        for field in ("details", "options", "warnings"):
            object.__setattr__(self, field, tuple(without_folders(text) for text in getattr(self, field)))
        _check_finite(dataclasses.asdict(self), "report")

    @property
    def passed(self) -> bool:
        """Whether every metric is within what the card allows."""
        return all(row.passed for row in self.metrics)


def _check_finite(value: Any, key: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key}: must be finite, got {value}")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_finite(item, f"{key}.{name}")
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_finite(item, f"{key}[{index}]")
