"""The result as JSON, for folders and programs. The schema is described in docs/dicom-results.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_runtime import __version__
from edge_runtime.domain import BANNER, Code, Finding, JobResult, Mask, Predecessor, StageRecord
from edge_runtime.report.objects import Context
from edge_runtime.report.text import iso
from edge_runtime.result_objects import ResultObject

SCHEMA_VERSION = 1


def result_json(
    context: Context, objects: Sequence[ResultObject], predecessor: Predecessor | None, no_segmentation: str | None
) -> bytes:
    """The whole file in UTF-8. Times are ISO 8601 in UTC, null for a deadline that is none."""
    result = context.result
    document = {
        "schema_version": SCHEMA_VERSION,
        "statement": BANNER,
        "producer": {"name": "Edge Runtime", "version": __version__, "device_serial": context.device_serial},
        "job": result.job_id,
        "pipeline": {"name": result.pipeline, "stages": _parsed(result.pipeline_stages)},
        "revision": result.revision,
        "replaces": None if predecessor is None else predecessor.sop_instance_uid,
        "study_instance_uid": context.study_uid,
        "source_series_instance_uid": context.source_series_uid,
        "modality": result.modality,
        "times": _times(result),
        "complete": result.analysis.complete,
        "late": result.late,
        "completeness": result.completeness,
        "input_count": len(result.inputs),
        "stages": [_stage(record) for record in result.analysis.stages],
        "findings": [_finding(finding) for finding in result.analysis.findings],
        "masks": [_mask(mask, result) for mask in result.analysis.masks],
        "no_segmentation": no_segmentation,
        "notes": list(result.notes),
        "objects": [_object(one) for one in objects],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _times(result: JobResult) -> dict[str, str | None]:
    return {
        "first_received": iso(result.first_received_at),
        "last_received": iso(result.last_received_at),
        "concluded": iso(result.concluded_at),
        "deadline": iso(result.deadline_at),
    }


def _code(code: Code) -> dict[str, str]:
    return {"value": code.value, "scheme": code.scheme, "meaning": code.meaning}


def _stage(record: StageRecord) -> dict[str, Any]:
    engine = record.engine
    return {
        "name": record.stage,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "seconds": record.seconds,
        "regions": record.regions,
        "engine": {
            "name": engine.name,
            "version": engine.version,
            "sha256": engine.sha256,
            "precision": engine.precision,
            "backend": engine.backend,
            "intended_use": engine.statement,
        },
    }


def _finding(finding: Finding) -> dict[str, Any]:
    box = finding.box
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
        "box": None if box is None else {"start": list(box.start), "stop": list(box.stop)},
        "mask": finding.mask_number,
    }


def _mask(mask: Mask, result: JobResult) -> dict[str, Any]:
    voxels = int(np.count_nonzero(mask.voxels))
    return {
        "number": mask.number,
        "label": mask.label,
        "stage": mask.stage,
        "category": _code(mask.category),
        "type": _code(mask.kind),
        "voxels": voxels,
        "volume_ml": None if result.geometry is None else voxels * result.geometry.voxel_ml,
    }


def _object(one: ResultObject) -> dict[str, str | None]:
    return {
        "kind": one.kind.value,
        "file": one.file_name,
        "sha256": one.sha256,
        "sop_class_uid": one.sop_class_uid,
        "sop_instance_uid": one.sop_instance_uid,
    }
