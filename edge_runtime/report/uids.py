"""The UIDs of results: a pure function of what went in and what looked at it (PS3.5 B.2, UUID-derived UIDs)."""

from __future__ import annotations

import hashlib
import json
import uuid

from edge_runtime import __version__
from edge_runtime.domain import JobResult

WRITER_VERSION = f"{__version__}/1"  # the second number changes whenever the same job would give other bytes

_NAMESPACE = uuid.UUID("b0b3a7a6-6f0e-5b52-9a3c-6a4f3f3d7c11")


def named_uid(*parts: str) -> str:
    """A `2.25.` UID made from the names alone: the same for the same names, for ever."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps(parts)).int}"


def result_digest(result: JobResult, writer_version: str = WRITER_VERSION) -> str:
    """Hex SHA-256 over inputs (in any order), engines, pipeline, stages, revision, writer, colour; not over times."""
    identity: dict[str, object] = {
        "inputs": sorted([i.sop_instance_uid, i.sha256] for i in result.inputs),
        "engines": [[s.stage, s.engine.sha256] for s in result.analysis.stages],
        "pipeline": result.pipeline,
        "stages": result.pipeline_stages,
        "revision": result.revision,
        "writer": writer_version,
    }
    if any(key.pixels.ndim == 3 for key in result.key_images):
        identity["colour"] = True  # shown in grey before
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def result_uid(digest: str, *purpose: str) -> str:
    """The UID of one thing inside the result with that digest, such as ("seg", "instance")."""
    return named_uid("result", digest, *purpose)
