"""The whole daemon on a video: a file as the camera, and where wanted the head CT pipeline beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.daemon import Daemon
from benchmarks.demo import ENGINES
from benchmarks.live.site import PIPELINE, SOURCE, LiveSite
from benchmarks.record import BenchFailed, Record
from benchmarks.site import read_site
from edge_runtime.domain import Array
from edge_runtime.engines.required import placement

CT_CONFIG = Path("examples/ct-head-triage.yaml")
OUTCOMES = ("in_time", "late", "dropped", "superseded", "overtaken", "failed")
"""What becomes of a frame that infer could have taken."""

_FILE_SECONDS = 10
_OUTPUTS = ("jsonlines", "recording")
_KEEP_BYTES = 50_000_000
_FRAMES = re.compile(
    rf'^edge_video_frames_total{{(?=[^}}]*source="{SOURCE}")[^}}]*outcome="(\w+)"[^}}]*}} (\S+)$', re.M
)


def write_video(file: Path, frames: Array, frames_per_second: int) -> Path:
    """H.264 of 10 s, of frames that are shown again and again, each time one pixel further to the right.

    A picture that comes again within a few seconds is a frozen one. uint8 (frames, rows, columns, 3), RGB.

    Raises:
        BenchFailed: PyAV is missing.
    """
    try:
        import av
    except ImportError as error:
        raise BenchFailed("this scenario needs PyAV; run: pip install 'edge-runtime[video]'") from error
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=frames_per_second, options={"preset": "veryfast", "bf": "0"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for number in range(_FILE_SECONDS * frames_per_second):
            shown = np.roll(frames[number % len(frames)], number // len(frames), axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode(None))
    return file


def write_daemon_config(
    site: LiveSite,
    work: Path,
    record: Record,
    *,
    frames_per_second: int,
    deadline_seconds: float,
    studies_after_seconds: float | None,
    outputs: bool = False,
) -> Path:
    """A configuration of the live pipeline on a video of the site's frames.

    With `studies_after_seconds`, the quiet time that ends a series, also of head CT studies to a folder. With `outputs`
    results are written as lines and as a recording, of which the oldest files go again and again.

    The record gets its hashes, and where studies run.
    """
    video = write_video(work / "camera.mp4", np.load(site.frames), frames_per_second)
    file = site.config(work / "daemon.yaml", deadline_seconds, url=str(video), loop=True)
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    document["spool"]["path"] = str(work / "spool")
    if studies_after_seconds is not None:
        (pipeline,) = yaml.safe_load(CT_CONFIG.read_text())["pipelines"]
        for name in {stage["engine"] for stage in pipeline["stages"]}:
            if not (site.engines / name).exists():
                (site.engines / name).symlink_to((ENGINES / name).resolve(), target_is_directory=True)
        document["pipelines"].append({**pipeline, "send_to": ["disk"], "complete_after_seconds": studies_after_seconds})
        document["destinations"] = [{"name": "disk", "type": "folder", "path": str(work / "out")}]
    if outputs:
        document["destinations"] = document.get("destinations", []) + [
            {"name": kind, "type": kind, "path": str(work / kind), "segment_seconds": 30.0, "keep_bytes": _KEEP_BYTES}
            for kind in _OUTPUTS
        ]
        document["pipelines"][0]["send_to"] = list(_OUTPUTS)
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    config = read_site(str(file), record)
    record.checks["where studies run"] = list(placement(config).lines)
    return file


class Frames:
    """How many live frames came to which end since the last `take`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._before = self._counts()

    def take(self) -> dict[str, int]:
        """Frames by outcome."""
        before, self._before = self._before, self._counts()
        return {outcome: self._before[outcome] - before[outcome] for outcome in OUTCOMES}

    def _counts(self) -> dict[str, int]:
        _, body = self._daemon.get("/metrics")
        told = {match[1]: int(float(match[2])) for match in _FRAMES.finditer(body.decode())}
        return {outcome: told.get(outcome, 0) for outcome in OUTCOMES}


def miss_share(counts: dict[str, int]) -> float:
    """Which share of the frames had no result in time, for whatever reason.

    Raises:
        BenchFailed: there was no frame.
    """
    frames = sum(counts.values())
    if not frames:
        raise BenchFailed(f"no live frame of source {SOURCE}, pipeline {PIPELINE}, has come to any end")
    return 1 - counts["in_time"] / frames
