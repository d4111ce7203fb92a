"""Build the reference engines in every precision, and compare their task metrics with those that are committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.cli import main as edge_convert
from converters.reference.endoscopy import samples as endoscopy
from converters.reference.samples import CLASSIFIER, DETECTOR, ENGINES, SEGMENTER
from edge_runtime.engines.passport import PASSPORT_FILE, read_passport

RESULTS = Path(__file__).parent / "builds.json"
NAMES = (CLASSIFIER, DETECTOR, SEGMENTER, *endoscopy.NAMES)
BUILDS = (("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("tensorrt-rtx", "fp16"), ("tensorrt-rtx", "int8"))
_DIGITS = 4


@dataclass(frozen=True)
class Difference:
    """A figure that is not the committed one."""

    engine: str
    metric: str
    committed: float | None
    found: float | None

    def __str__(self) -> str:
        return f"{self.engine}: {self.metric} is {self.found}, committed is {self.committed}"


def build_all(into: Path = ENGINES) -> dict[str, dict[str, float]]:
    """Build every reference engine below `into`; returns the task metrics of each, FP32's own beside them.

    Raises:
        RuntimeError: a build failed; what it said is on stderr.
    """
    return dict(build_one(name, target, precision, into) for name in NAMES for target, precision in BUILDS)


def build_one(name: str, target: str, precision: str, into: Path) -> tuple[str, dict[str, float]]:
    """Build one; returns NAME/TARGET-PRECISION and its metrics. Raises as `build_all`."""
    engine = f"{name}/{target}-{precision}"
    options = ["--target", target, "--precision", precision, "--output", str(into / engine)]
    code = edge_convert(["build", str(ENGINES / name), *options])
    if code:
        raise RuntimeError(f"edge-convert build {engine} ended with {code}")
    passport, _ = read_passport((into / engine / PASSPORT_FILE).read_bytes())
    figures: dict[str, float] = {}
    for metric in passport.task_metrics:
        figures[metric.name] = round(metric.value, _DIGITS)
        if metric.fp32 is not None:
            figures[f"{metric.name} of FP32"] = round(metric.fp32, _DIGITS)
    return engine, figures


def write(found: dict[str, dict[str, float]]) -> None:
    """Commit these figures."""
    RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def differences(found: dict[str, dict[str, float]]) -> Iterator[Difference]:
    """What differs from the committed figures of the engines that were built."""
    committed = json.loads(RESULTS.read_text(encoding="utf-8"))
    for engine, figures in found.items():
        before = committed.get(engine, {})
        for metric in sorted({*figures, *before}):
            if figures.get(metric) != before.get(metric):
                yield Difference(engine, metric, before.get(metric), figures.get(metric))
