"""What the demos share: steps with their times, engines, waiting, pictures."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom

from benchmarks.heads import Array

ENGINES = Path("engines")
WAIT_SECONDS = 120.0

T = TypeVar("T")


class Steps:
    """What was done and how long it took."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float]] = []

    def run(self, name: str, work: Callable[[], T]) -> T:
        """Do one step and note its time."""
        print(f"... {name}", flush=True)
        started = time.monotonic()
        value = work()
        self.rows.append((name, time.monotonic() - started))
        return value

    def add(self, name: str, seconds: float) -> None:
        """Note a time that the daemon measured."""
        self.rows.append((name, seconds))

    def print(self) -> None:
        """The table."""
        print(f"\n{'step':<60} {'seconds':>8}")
        for name, seconds in self.rows:
            print(f"{name:<60} {seconds:>8.2f}")


def build_engines(names: Sequence[str]) -> None:
    """Fetch and convert the networks that have no verified engine yet."""
    for name in names:
        built = ENGINES / name / "onnxruntime-fp32"
        verify = [sys.executable, "-m", "edge_runtime.cli", "engines", "verify", str(ENGINES / name)]
        if built.exists() and subprocess.run(verify, capture_output=True, check=False).returncode == 0:
            continue
        command = [sys.executable, "-m", "converters.cli", "build", str(ENGINES / name)]
        options = ["--target", "onnxruntime", "--precision", "fp32", "--output", str(built)]
        subprocess.run([*command, *options], check=True)


def wait_for_results(out: Path, count: int) -> None:
    """Wait until the destination has that many JSON files, which are delivered last.

    Raises:
        TimeoutError: they did not come.
    """
    give_up_at = time.monotonic() + WAIT_SECONDS
    while len(list(out.glob("*.json"))) < count:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"fewer than {count} results in {out} after {WAIT_SECONDS} s")
        time.sleep(0.05)


def save_pictures(out: Path) -> list[Path]:
    """The overlays as PNG."""
    from PIL import Image

    pictures = []
    for path in sorted(out.glob("*overlay*.dcm")):
        picture = path.with_suffix(".png")
        Image.fromarray(pydicom.dcmread(path).pixel_array).save(picture)
        pictures.append(picture)
    return pictures


def segments_of(seg_file: Path, series: Sequence[Path]) -> dict[int, Array]:
    """Each segment of a SEG on the grid of axial source files: bool (files, rows, columns), in their order."""
    seg = pydicom.dcmread(seg_file)
    heights = [_height(pydicom.dcmread(path, stop_before_pixels=True)) for path in series]
    masks = {
        int(segment.SegmentNumber): np.zeros((len(series), seg.Rows, seg.Columns), dtype=np.bool_)
        for segment in seg.SegmentSequence
    }
    shared = seg.SharedFunctionalGroupsSequence[0]
    planes = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for pixels, frame in zip(planes, seg.PerFrameFunctionalGroupsSequence, strict=True):
        holder = frame if "SegmentIdentificationSequence" in frame else shared
        number = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        masks[number][heights.index(_height(frame.PlanePositionSequence[0]))] = pixels > 0
    return masks


def _height(holder: Any) -> float:
    return round(float(holder.ImagePositionPatient[2]), 3)


def seconds_between(earlier: str, later: str) -> float:
    """Seconds between two ISO 8601 times."""
    start, end = (datetime.datetime.fromisoformat(t.replace("Z", "+00:00")) for t in (earlier, later))
    return (end - start).total_seconds()
