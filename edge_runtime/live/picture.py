"""The newest picture of a source, drawn and published for the page; one that is too old is not."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from edge_runtime.config import Video
from edge_runtime.domain import Array
from edge_runtime.frames.channels import SourceChannels
from edge_runtime.frames.frame_result import FrameResult
from edge_runtime.frames.slot import SlotWriter
from edge_runtime.live.drawing import draw
from edge_runtime.telemetry.metrics import Metrics

_QUALITY = 80
_LENGTH_BYTES = 4


class Screen:
    """The pictures of one source, each newer than the one before it. Only one thread may show them."""

    def __init__(
        self, video: Video, channels: SourceChannels, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._video = video
        self._slot = SlotWriter(channels.picture)
        self._metrics = metrics
        self._clock = clock
        self._newest = 0

    def show(self, result: FrameResult, pixels: Array) -> Array | None:
        """Draw and publish a frame; the picture, or None where it was too old, before or after it was drawn.

        pixels: uint8 RGB (rows, columns, 3), of the frame that the result is of.
        """
        picture, outcome = self._shown(result, pixels)
        self._count(outcome)
        if picture is not None:
            age = self._clock() - result.captured_at
            self._metrics.observe("edge_frame_display_seconds", age, source=self._video.name)
        return picture

    def overwritten(self) -> None:
        """Count a result that gets no picture, since a newer frame took its place."""
        self._count("overwritten")

    def close(self) -> None:
        """Let go of the slot of pictures."""
        self._slot.close()

    def _shown(self, result: FrameResult, pixels: Array) -> tuple[Array | None, str]:
        if result.sequence <= self._newest:
            return None, "overwritten"
        if self._is_stale(result):
            return None, "stale"
        picture = draw(pixels, result, self._clock())
        payload = payload_of(result, picture, self._video.display_age_seconds)
        if self._is_stale(result):
            return None, "stale"
        if not self._publish(result, payload):
            return None, "overwritten"
        self._newest = result.sequence
        return picture, "drawn"

    def _count(self, outcome: str) -> None:
        self._metrics.count("edge_live_pictures_total", source=self._video.name, outcome=outcome)

    def _is_stale(self, result: FrameResult) -> bool:
        return self._clock() - result.captured_at > self._video.display_age_seconds

    def _publish(self, result: FrameResult, payload: bytes) -> bool:
        content = np.frombuffer(payload, np.uint8).reshape(1, -1, 1)
        return self._slot.publish(content, result.captured_at, result.captured_unix) is not None


def payload_of(result: FrameResult, picture: Array, display_age_seconds: float) -> bytes:
    """What the slot of pictures holds: the length of a JSON text in 4 bytes, little-endian; the text; a JPEG file."""
    text = json.dumps(_description(result, display_age_seconds), separators=(",", ":"), allow_nan=False).encode()
    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=_QUALITY)
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, jpeg.getvalue()])


def _description(result: FrameResult, display_age_seconds: float) -> dict[str, object]:
    analysis = result.analysis
    return {
        "source": result.source,
        "pipeline": result.pipeline,
        "sequence": result.sequence,
        "captured_at": result.captured_at,
        "concluded_at": result.concluded_at,
        "deadline_seconds": result.deadline_seconds,
        "display_age_seconds": display_age_seconds,
        "complete": analysis.complete,
        "rows": result.rows,
        "columns": result.columns,
        "stages": [
            {
                "stage": record.stage,
                "outcome": record.outcome.value,
                "reason": record.reason,
                "seconds": record.seconds,
                "engine": record.engine.name,
            }
            for record in analysis.stages
        ],
        "findings": [
            {
                "stage": finding.stage,
                "label": finding.label,
                "answer": finding.answer.value,
                "probability": finding.probability,
            }
            for finding in analysis.findings
        ],
        "notes": list(result.notes),
    }
