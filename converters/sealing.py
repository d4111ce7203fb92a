"""The passport of an engine that was made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from converters.made import GOLDEN_FILE, Made
from edge_runtime import __version__
from edge_runtime.engines.passport import (
    SCHEMA_VERSION,
    Builder,
    FileRecord,
    Gate,
    GoldenRecord,
    Metric,
    Onnx,
    Parity,
    Passport,
    Precision,
)


def make_passport(made: Made, files: Mapping[str, bytes]) -> Passport:
    """What the passport says; `files` are those of the engine's folder."""
    card = made.card
    records = {name: FileRecord(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    return Passport(
        schema_version=SCHEMA_VERSION,
        name=card.name,
        version=card.version,
        card_sha256=made.card_sha256,
        engine=records[made.built.file],
        target=made.built.target,
        onnx=Onnx(hashlib.sha256(made.network).hexdigest(), made.opset),
        precision=_precision(made),
        inputs=made.run.inputs,
        outputs=made.run.outputs,
        golden=GoldenRecord(records[GOLDEN_FILE], made.golden_tolerance),
        parity=Parity(made.exported.reference_name, made.error),
        longest_run_seconds=round(made.run.longest_seconds, 4) if made.built.runs_here else None,
        builder=Builder("edge-convert", __version__, (*made.exported.rewrites, *made.built.options), made.packages),
        task_metrics=_metrics(made),
        gate=_gate(made),
        checkpoint_sha256=hashlib.sha256(made.request.checkpoint).hexdigest(),
        documents=tuple(r for name, r in records.items() if name not in (made.built.file, GOLDEN_FILE)),
    )


def _precision(made: Made) -> Precision:
    lowered = made.lowered
    if lowered is None:
        return Precision("fp32")
    raised = () if lowered.passed is None else tuple(sorted(lowered.passed.kept))
    calibrated = lowered.calibrated
    if calibrated is None or made.request.precision != "int8":
        return Precision(made.request.precision, raised=raised)
    settings = calibrated.settings
    method = f"percentile {settings.percentile:g}" if settings.method == "percentile" else settings.method
    return Precision(made.request.precision, calibrated.samples.sha256(), method, raised)


def _metrics(made: Made) -> tuple[Metric, ...]:
    passed = None if made.lowered is None else made.lowered.passed
    rows = () if passed is None else passed.rows
    return tuple(Metric(r.metric, r.found, r.low, r.high, r.fp32, r.tolerance) for r in rows)


def _gate(made: Made) -> Gate | None:
    lowered = made.lowered
    if lowered is None or lowered.passed is None or lowered.holdout is None:
        return None
    return Gate(lowered.holdout.sha256(), lowered.passed.found.samples, made.measured)
