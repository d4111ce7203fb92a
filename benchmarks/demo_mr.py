"""`make demo-mr`: a real MR head through the daemon, from C-STORE to SR, SEG and overlay, and the time of each step."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom
from PIL import Image

from benchmarks.daemon import Daemon
from benchmarks.heads import BRAIN, HEAD, brain_on_series, dice, load_nifti, write_mr_series

CONFIG = Path("examples/mr-brain.yaml")
ENGINES = Path("engines")
NETWORKS = ("mr-brain-locator", "mr-brain-segmenter")
RESULTS = Path("demo-results/mr-brain")
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


def build_engines() -> None:
    """Fetch and convert the networks that have no verified engine yet."""
    for name in NETWORKS:
        built = ENGINES / name / "onnxruntime-fp32"
        verify = [sys.executable, "-m", "edge_runtime.cli", "engines", "verify", str(ENGINES / name)]
        if built.exists() and subprocess.run(verify, capture_output=True, check=False).returncode == 0:
            continue
        command = [sys.executable, "-m", "converters.cli", "build", str(ENGINES / name)]
        options = ["--target", "onnxruntime", "--precision", "fp32", "--output", str(built)]
        subprocess.run([*command, *options], check=True)


def send(series: Path, port: int) -> None:
    """Send with DCMTK, as a scanner would."""
    command = ["storescu", "-aet", "MR01", "-aec", "EDGE", "--scan-directories", "127.0.0.1", str(port), str(series)]
    subprocess.run(command, check=True)


def wait_for_results(out: Path) -> None:
    """Wait until the destination has the JSON, which is delivered last.

    Raises:
        TimeoutError: nothing came.
    """
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not list(out.glob("*.json")):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"no result in {out} after {WAIT_SECONDS} s")
        time.sleep(0.05)


def save_pictures(out: Path) -> list[Path]:
    """The overlays as PNG."""
    pictures = []
    for path in sorted(out.glob("*overlay*.dcm")):
        picture = path.with_suffix(".png")
        Image.fromarray(pydicom.dcmread(path).pixel_array).save(picture)
        pictures.append(picture)
    return pictures


def mask_of(out: Path, series: Sequence[Path]) -> Any:
    """Segment 1 of the SEG on the grid of the source files, which are in slice order: (slices, rows, columns) bool."""
    seg = pydicom.dcmread(next(iter(out.glob("*seg.dcm"))))
    heights = [_height(pydicom.dcmread(path, stop_before_pixels=True)) for path in series]
    mask = np.zeros((len(series), seg.Rows, seg.Columns), dtype=bool)
    shared = seg.SharedFunctionalGroupsSequence[0]
    for pixels, frame in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        holder = frame if "SegmentIdentificationSequence" in frame else shared
        if holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1:
            mask[heights.index(_height(frame.PlanePositionSequence[0]))] = pixels > 0
    return mask


def _height(holder: Any) -> float:
    return round(float(holder.ImagePositionPatient[2]), 3)


def seconds_between(earlier: str, later: str) -> float:
    """Seconds between two ISO 8601 times."""
    start, end = (datetime.datetime.fromisoformat(t.replace("Z", "+00:00")) for t in (earlier, later))
    return (end - start).total_seconds()


def print_findings(result: dict[str, Any], overlap: float, reference_ml: float) -> None:
    """The findings as a table."""
    print(f"\n{'stage':<10} {'finding':<10} {'answer':<12} measurements")
    for finding in result["findings"]:
        values = ", ".join(
            f"{m['concept']['meaning']} {m['value']:.1f} {m['unit']['value']}" for m in finding["measurements"]
        )
        print(f"{finding['stage']:<10} {finding['label']:<10} {finding['answer']:<12} {values}")
    print(f"\nDice against the brain that comes with the head: {overlap:.3f} (that brain has {reference_ml:.0f} ml)")
    print(f"complete: {result['complete']}   late: {result['late']}   {result['completeness']}")
    for use in sorted({stage["engine"]["intended_use"] for stage in result["stages"]}):
        print(f"note: {use}")


def main() -> int:
    """Run the demo in the folder of the project."""
    steps = Steps()
    shutil.rmtree(RESULTS, ignore_errors=True)
    series, out = RESULTS / "series", RESULTS / "out"
    RESULTS.mkdir(parents=True)
    steps.run("fetch and convert the two networks", build_engines)
    brain = load_nifti(BRAIN)
    paths = steps.run("make an MR series of the head", lambda: write_mr_series(load_nifti(HEAD), series))
    daemon = Daemon(CONFIG, RESULTS / "spool", [f"destinations.disk.path={out}"], log=RESULTS / "daemon.log")
    with daemon:
        steps.run("start the daemon until it is ready (golden runs)", daemon.wait_ready)
        steps.run("send 181 slices with storescu", lambda: send(series, daemon.dicom_port))
        steps.run("wait for the results", lambda: wait_for_results(out))
    pictures = save_pictures(out)
    result = json.loads(next(iter(out.glob("*.json"))).read_text())
    for stage in result["stages"]:
        steps.add(f"  of which stage {stage['name']} ({stage['engine']['backend']})", stage["seconds"])
    times = result["times"]
    steps.add("  last slice received to conclusion", seconds_between(times["last_received"], times["concluded"]))
    reference = brain_on_series(brain)
    print_findings(result, dice(mask_of(out, paths), reference), reference.sum() / 1000)
    print(f"\n{'step':<58} {'seconds':>8}")
    for name, seconds in steps.rows:
        print(f"{name:<58} {seconds:>8.2f}")
    print("\nCPU figures of this machine. Overlay: " + ", ".join(str(p) for p in pictures))
    print(f"RESULTS {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
