"""Results of live frames, and pictures that tell which frame of which source they are."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from edge_runtime.domain import (
    Analysis,
    Answer,
    Box,
    Code,
    EngineIdentity,
    Finding,
    Mask,
    StageOutcome,
    StageRecord,
)
from edge_runtime.frames.frame_result import FrameResult

ROWS, COLUMNS = 360, 640
POLYP = Code("89452002", "SCT", "Polyp")
ENGINE = EngineIdentity("endoscopy-boxes", "1.0.0", "ab" * 32, "fp32", "onnxruntime", "research only")
RAN = StageRecord("boxes", ENGINE, StageOutcome.RAN, seconds=0.008, regions=1)
SKIPPED = StageRecord("outline", ENGINE, StageOutcome.SKIPPED, "too_slow")


def polyp(top: int, left: int, bottom: int, right: int, **changes: Any) -> Finding:
    """A positive finding with its box."""
    said = {"answer": Answer.POSITIVE, "probability": 0.93, "threshold": 0.5, **changes}
    return Finding("boxes", "polyp", POLYP, box=Box((0, top, left), (1, bottom, right)), **said)


def polyp_mask(plane: Any) -> Mask:
    """A mask (rows, columns), bool."""
    return Mask(1, "polyp", POLYP, POLYP, "outline", plane[np.newaxis])


def frame_result(
    source: str = "tower-1",
    sequence: int = 1,
    *,
    age_seconds: float = 0.02,
    now: float | None = None,
    rows: int = ROWS,
    columns: int = COLUMNS,
    stages: tuple[StageRecord, ...] = (RAN,),
    findings: tuple[Finding, ...] = (),
    masks: tuple[Mask, ...] = (),
    **changes: Any,
) -> FrameResult:
    """A result that was concluded now, of a frame that was captured `age_seconds` before."""
    now = time.monotonic() if now is None else now
    plain = {
        "source": source,
        "pipeline": "endoscopy",
        "sequence": sequence,
        "buffer": 0,
        "captured_at": now - age_seconds,
        "captured_unix": time.time() - age_seconds,
        "concluded_at": now,
        "deadline_seconds": 0.05,
        "rows": rows,
        "columns": columns,
    }
    return FrameResult(**{**plain, **changes}, analysis=Analysis(stages, findings, masks))


def numbered(number: int, rows: int = ROWS, columns: int = COLUMNS) -> Any:
    """A frame, uint8 RGB, whose three greys are the decimal digits of its number: see `number_of`."""
    pixels = np.zeros((rows, columns, 3), np.uint8)
    for place in range(3):
        digit = number // 10**place % 10
        pixels[:, place * columns // 3 : (place + 1) * columns // 3] = 10 + 24 * digit
    return pixels


def number_of(picture: Any, columns: int = COLUMNS) -> int:
    """The number of the frame that a picture with overlay was made of; it may have been compressed."""
    left = (picture.shape[1] - columns) // 2
    row = picture[picture.shape[0] // 2, left:, :].mean(axis=1)
    places = [row[place * columns // 3 + columns // 6] for place in range(3)]
    return sum(round((grey - 10) / 24) * 10**place for place, grey in enumerate(places))
