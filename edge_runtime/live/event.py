"""The result of one live frame as JSON, for lines in a file and for MQTT. The schema is in docs/live-outputs.md."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from edge_runtime.domain import BANNER, Box, Code, Finding, StageRecord
from edge_runtime.frames.frame_result import FrameResult

SCHEMA_VERSION = 1


def event_document(result: FrameResult) -> dict[str, Any]:
    """What is said of one frame, without its masks. It holds nothing of a patient. Seconds are rounded to 0.1 ms."""
    records = {record.engine.name: record for record in result.analysis.stages}
    return {
        "schema_version": SCHEMA_VERSION,
        "type": "frame",
        "statement": BANNER,
        "source": result.source,
        "pipeline": result.pipeline,
        "sequence": result.sequence,
        "captured": utc_milliseconds(result.captured_unix),
        "age_seconds": round(result.age_seconds, 4),
        "deadline_seconds": result.deadline_seconds,
        "rows": result.rows,
        "columns": result.columns,
        "complete": result.analysis.complete,
        "stages": [_stage(record) for record in result.analysis.stages],
        "findings": [_finding(finding) for finding in result.analysis.findings],
        "engines": [_engine(record) for record in records.values()],
        "notes": list(result.notes),
    }


def event_line(result: FrameResult) -> bytes:
    """The document as one line of UTF-8, with its line end."""
    document = event_document(result)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def utc_milliseconds(unix_seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds, cut rather than rounded, so that no second is named before it began."""
    moment = datetime.fromtimestamp(unix_seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _stage(record: StageRecord) -> dict[str, Any]:
    return {
        "name": record.stage,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "seconds": round(record.seconds, 4),
        "regions": record.regions,
        "engine": record.engine.name,
    }


def _engine(record: StageRecord) -> dict[str, str]:
    engine = record.engine
    return {
        "name": engine.name,
        "version": engine.version,
        "sha256": engine.sha256,
        "precision": engine.precision,
        "backend": engine.backend,
        "intended_use": engine.statement,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "stage": finding.stage,
        "label": finding.label,
        "concept": _code(finding.concept),
        "answer": finding.answer.value,
        "probability": finding.probability,
        "threshold": finding.threshold,
        "measurements": [
            {"concept": _code(m.concept), "value": m.value, "unit": _code(m.unit)} for m in finding.measurements
        ],
        "box": None if finding.box is None else _box(finding.box),
    }


def _box(box: Box) -> dict[str, int]:
    """In pixels of the frame; bottom and right are the first that are outside."""
    return {"top": box.start[1], "left": box.start[2], "bottom": box.stop[1], "right": box.stop[2]}


def _code(code: Code) -> dict[str, str]:
    return {"value": code.value, "scheme": code.scheme, "meaning": code.meaning}
