"""A source of live video without video: results of frames as infer sends them, and what is counted of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from support.report_sources import ORGAN, record

from edge_runtime.config import Config, Destination, KeyFrames, Pipeline, SendTo, Stage, Video
from edge_runtime.config import Spool as SpoolKeys
from edge_runtime.domain import Analysis, Answer, Box, Code, Finding, Mask
from edge_runtime.frames.frame_result import FrameResult

SOURCE = "tower-1"
PIPELINE = "endoscopy"
POLYP = Code("68496003", "SCT", "Polyp")
ROWS, COLUMNS = 61, 81  # an odd number of bytes


def video_config(folder: Path, keys: KeyFrames | None = None, pacs_port: int = 4242, reserve_bytes: int = 0) -> Config:
    """One source, whose pipeline sends to a folder and to a PACS."""
    send_to = (SendTo("disk"), SendTo("pacs"))
    return Config(
        spool=SpoolKeys(path=str(folder / "spool"), reserve_bytes=reserve_bytes),
        pipelines=(Pipeline(name=PIPELINE, stages=(Stage(name="brain", engine="e"),), send_to=send_to),),
        destinations=(
            Destination(name="disk", type="folder", path=str(folder / "out")),
            Destination(name="pacs", type="dicom", ae_title="PACS", host="127.0.0.1", port=pacs_port),
        ),
        video=(
            Video(
                name=SOURCE, pipeline=PIPELINE, url="rtsp://camera/1", deadline_seconds=0.05,
                key_frames=keys or KeyFrames(seconds_between=0, results=1, maximum=100),
            ),
        ),
    )  # fmt: skip


def picture(sequence: int = 1) -> Any:
    """RGB uint8 (ROWS, COLUMNS, 3), another for each number."""
    rows, columns = np.indices((ROWS, COLUMNS))
    planes = (rows * 4 % 256, columns * 3 % 256, np.full_like(rows, sequence * 37 % 256))
    return np.stack(planes, axis=-1).astype(np.uint8)


def frame_result(
    sequence: int = 1, answer: Answer = Answer.POSITIVE, at: float | None = None, unix: float | None = None,
    source: str = SOURCE,
) -> FrameResult:  # fmt: skip
    """A frame with a polyp, outlined and boxed. at: of its capture, CLOCK_MONOTONIC; now where it is not given."""
    voxels = np.zeros((1, ROWS, COLUMNS), dtype=np.bool_)
    voxels[0, 24:36, 34:46] = True
    positive = answer is Answer.POSITIVE
    masks = (Mask(1, "polyp", ORGAN, POLYP, "brain", voxels),) if positive else ()
    box = Box((0, 20, 30), (1, 40, 50)) if positive else None
    finding = Finding("brain", "polyp", POLYP, answer, 0.9 if positive else 0.1, 0.5, box=box,
                      mask_number=1 if positive else None)  # fmt: skip
    captured_at = time.monotonic() if at is None else at
    return FrameResult(
        source=source, pipeline=PIPELINE, sequence=sequence, buffer=0, captured_at=captured_at,
        captured_unix=time.time() if unix is None else unix, concluded_at=captured_at + 0.02, deadline_seconds=0.05,
        rows=ROWS, columns=COLUMNS, analysis=Analysis((record(),), (finding,), masks),
        notes=("threshold of brain is 0.5, the card says 0.4",),
    )  # fmt: skip


class CountingMetrics:
    """Remembers what was counted and set, by name and values of the labels."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.counted: Counter[tuple[str, ...]] = Counter()
        self.gauges: dict[tuple[str, ...], float] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        with self._changed:
            self.counted[(name, *labels.values())] += int(amount)
            self._changed.notify_all()

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Not looked at."""

    def set(self, name: str, value: float, **labels: str) -> None:
        with self._changed:
            self.gauges[(name, *labels.values())] = value
            self._changed.notify_all()

    def outcomes(self) -> dict[str, int]:
        """Of key frames."""
        return {key[2]: n for key, n in self.counted.items() if key[0] == "edge_key_frames_total"}

    def wait_for(self, seconds: float = 30.0, **outcomes: int) -> None:
        """Until there were as many key frames of these outcomes."""
        with self._changed:
            known = self._changed.wait_for(lambda: outcomes.items() <= self.outcomes().items(), seconds)
        assert known, f"{self.outcomes()} after {seconds} s"

    def wait_gauge(self, value: float, seconds: float = 30.0) -> None:
        """Until the gauge of open examinations has the value."""
        with self._changed:
            key = ("edge_examination_open", SOURCE)
            assert self._changed.wait_for(lambda: self.gauges.get(key) == value, seconds), self.gauges
