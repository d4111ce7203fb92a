"""A video with a bright disc that moves, engines that see it, and a site that watches it beside CT studies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from support import models
from support.site import build_engine

FRAME = (1, 1, 64, 64)
STEPS = [{"colour": "grey"}, {"resize": {"shape": [64, 64]}}, {"window": {"range": [0.0, 250.0]}}]
ROWS, COLUMNS, RATE = 180, 320, 25


def picture(number: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """RGB of one frame: a bright disc on a dark ground, and a texture that changes with every frame."""
    row, column = np.mgrid[:rows, :columns]
    middle = rows / 2 + rows / 5 * np.cos(number / 20), columns / 2 + columns / 4 * np.sin(number / 25)
    frame = np.full((rows, columns, 3), 40, np.uint8)
    frame[(row - middle[0]) ** 2 + (column - middle[1]) ** 2 < (rows / 4) ** 2] = (235, 230, 220)
    frame[::9, ::7] = (number * 5) % 255
    return frame


def write_clip(path: Path, seconds: float) -> Path:
    """H.264 at 25 frames a second, a key frame a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = COLUMNS, ROWS, "yuv420p"
        stream.options = {"tune": "zerolatency", "preset": "ultrafast", "g": str(RATE)}
        for number in range(round(seconds * RATE)):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def build_live_engines(folder: Path, steps: Sequence[dict[str, Any]] = STEPS) -> Path:
    """`look` (a classifier of frames), `outline` (a segmenter of frames) and, for studies, `bright`."""
    made = (("look", "classification", models.classifier), ("outline", "segmentation", models.segmenter))
    for name, task, network in made:
        models.build_engine(folder, models.card(task, FRAME, name=name, preprocess=list(steps)), network(FRAME))
    return build_engine(folder)


def site_pipelines() -> list[dict[str, Any]]:
    """`endoscopy` for live frames, `find-ball` for CT."""
    return [
        {
            "name": "endoscopy", "results": ["sr", "overlay", "json"], "send_to": ["disk", "lines", "recording"],
            "stages": [
                {"name": "look", "engine": "look"}, {"name": "outline", "engine": "outline", "optional": True},
            ],
        },
        {
            "name": "find-ball", "match": {"modality": "CT"}, "complete_after_seconds": 0.5,
            "stages": [{"name": "find", "engine": "bright"}], "send_to": ["disk"],
        },
    ]  # fmt: skip


def write_site(path: Path, engines: Path, out: Path, clip: Path | str, **changes: Any) -> Path:
    """A configuration: `endoscopy` for the source `tower`, `find-ball` for CT; `changes` replace whole sections."""
    tower = {
        "name": "tower", "url": str(clip), "pipeline": "endoscopy", "deadline_seconds": 0.5, "loop": True,
        "key_frames": {"when": "outline.brain.positive", "seconds_between": 1.0, "results": 2},
    }  # fmt: skip
    document = {
        "spool": {"path": "/nonexistent", "reserve_bytes": 0},
        "engines": {"path": str(engines), "allow_unsigned": True},
        "pipelines": site_pipelines(),
        "video": [tower],
        "destinations": [
            {"name": "disk", "type": "folder", "path": str(out / "disk")},
            {"name": "lines", "type": "jsonlines", "path": str(out / "lines")},
            {"name": "recording", "type": "recording", "path": str(out / "recording")},
        ],
        **changes,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(document))
    return path


def lines_of(out: Path) -> list[dict[str, Any]]:
    """Every result of a frame that was written so far; an unfinished last line is left out."""
    text = "".join(file.read_text() for file in sorted((out / "lines").glob("*.jsonl")))
    return [json.loads(line) for line in text.split("\n")[:-1]]
