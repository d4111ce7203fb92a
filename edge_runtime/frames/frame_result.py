"""What is said of one live frame, and the message in which infer hands it to those who show and send it."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.domain import (
    Analysis,
    Answer,
    Array,
    Box,
    Code,
    EngineIdentity,
    Finding,
    Mask,
    Measurement,
    StageOutcome,
    StageRecord,
)

SCHEMA_VERSION = 1
_LENGTH_BYTES = 4


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The analysis of one frame. Its picture lies in `buffer` of the source's slot, for as long as it is the newest.

    `captured_at` and `concluded_at` are CLOCK_MONOTONIC seconds, `captured_unix` is UTC. `analysis` is of an image of
    one frame: masks are (1, rows, columns).
    """

    source: str
    pipeline: str
    sequence: int
    buffer: int
    captured_at: float
    captured_unix: float
    concluded_at: float
    deadline_seconds: float
    rows: int
    columns: int
    analysis: Analysis
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sequence < 1 or not self.deadline_seconds > 0:
            raise ValueError(f"a frame's result has a number from 1 and a deadline, got {self.source} {self.sequence}")

    @property
    def age_seconds(self) -> float:
        """How old the picture was when its analysis was ready."""
        return self.concluded_at - self.captured_at

    @property
    def late(self) -> bool:
        """True when it was ready after its deadline. Such a result is never sent on."""
        return self.age_seconds > self.deadline_seconds


def encode(result: FrameResult) -> bytes:
    """The message: the length of a JSON header, the header, the masks packed and compressed one after the other."""
    parts = [_pack(mask) for mask in result.analysis.masks]
    header = {
        "schema_version": SCHEMA_VERSION,
        **{name: getattr(result, name) for name in _PLAIN},
        "notes": list(result.notes),
        "stages": [_stage(record) for record in result.analysis.stages],
        "findings": [_finding(finding) for finding in result.analysis.findings],
        "masks": [
            {
                "number": mask.number,
                "label": mask.label,
                "category": _code(mask.category),
                "kind": _code(mask.kind),
                "stage": mask.stage,
                "shape": list(mask.voxels.shape),
                "bytes": len(part),
            }
            for mask, part in zip(result.analysis.masks, parts, strict=True)
        ],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *parts])


def decode(data: bytes) -> FrameResult:
    """Read what `encode` wrote. Both ends are processes of one daemon, so there is no other version to be read."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    header = json.loads(data[_LENGTH_BYTES:end])
    masks = []
    for said in header["masks"]:
        packed = data[end : end + said["bytes"]]
        end += said["bytes"]
        voxels = _unpack(packed, tuple(said["shape"]))
        masks.append(
            Mask(said["number"], said["label"], Code(*said["category"]), Code(*said["kind"]), said["stage"], voxels)
        )
    stages = tuple(_read_stage(said) for said in header["stages"])
    findings = tuple(_read_finding(said) for said in header["findings"])
    plain = {name: header[name] for name in _PLAIN}
    return FrameResult(**plain, analysis=Analysis(stages, findings, tuple(masks)), notes=tuple(header["notes"]))


_PLAIN = (
    "source", "pipeline", "sequence", "buffer", "captured_at", "captured_unix", "concluded_at", "deadline_seconds",
    "rows", "columns",
)  # fmt: skip


def _pack(mask: Mask) -> bytes:
    return zlib.compress(np.packbits(mask.voxels).tobytes(), 1)


def _unpack(packed: bytes, shape: tuple[int, ...]) -> Array:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits, count=int(np.prod(shape))).astype(np.bool_).reshape(shape)


def _code(code: Code) -> list[str]:
    return [code.value, code.scheme, code.meaning]


def _stage(record: StageRecord) -> dict[str, Any]:
    engine = record.engine
    identity = [engine.name, engine.version, engine.sha256, engine.precision, engine.backend, engine.statement]
    return {
        "stage": record.stage,
        "engine": identity,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "seconds": record.seconds,
        "regions": record.regions,
    }


def _read_stage(said: dict[str, Any]) -> StageRecord:
    engine = EngineIdentity(*said["engine"])
    outcome = StageOutcome(said["outcome"])
    return StageRecord(said["stage"], engine, outcome, said["reason"], said["seconds"], said["regions"])


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "stage": finding.stage,
        "label": finding.label,
        "concept": _code(finding.concept),
        "answer": finding.answer.value,
        "probability": finding.probability,
        "threshold": finding.threshold,
        "measurements": [[_code(m.concept), m.value, _code(m.unit)] for m in finding.measurements],
        "box": None if finding.box is None else [finding.box.start, finding.box.stop],
        "mask_number": finding.mask_number,
    }


def _read_finding(said: dict[str, Any]) -> Finding:
    box = None if said["box"] is None else Box(tuple(said["box"][0]), tuple(said["box"][1]))
    measured = tuple(Measurement(Code(*concept), value, Code(*unit)) for concept, value, unit in said["measurements"])
    return Finding(
        said["stage"], said["label"], Code(*said["concept"]), Answer(said["answer"]), said["probability"],
        said["threshold"], measured, box, said["mask_number"],
    )  # fmt: skip
