"""`make demo-video`: a computed endoscopy through the daemon, live, and what it found against what is true."""

from __future__ import annotations

import datetime
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import pydicom
from PIL import Image

from benchmarks.daemon import Daemon
from benchmarks.demo import Steps, build_engines
from converters.reference.endoscopy.video import write_video

CONFIG = Path("examples/endoscopy.yaml")
RESULTS = Path("demo-results/endoscopy")
NETWORKS = (
    "endoscopy-informative", "endoscopy-polyp-detector", "endoscopy-polyp-detector-small", "endoscopy-polyp-segmenter",
)  # fmt: skip
SOURCE = "tower-1"
SECONDS = 30.0
SEED = 990_003
"""A sequence that no network was trained on."""

_OUTCOMES = ("in_time", "late", "dropped", "superseded", "overtaken", "failed", "corrupt", "lagging", "unread")
_PATIENCE_SECONDS = 60.0
_SAME = 0.3

Line = dict[str, Any]


def begin_examination(daemon: Daemon) -> None:
    """What the person in the room does first: name the patient, so that key frames have a study to go to."""
    labels = ["--patient-id", "PHANTOM-1", "--patient-name", "Phantom^Endoscopy", "--study-description", "Colonoscopy"]
    sets = [part for override in daemon.overrides for part in ("--set", override)]
    command = [sys.executable, "-m", "edge_runtime.cli", "video", "begin", str(CONFIG), SOURCE, *labels, *sets]
    subprocess.run(command, check=True)


def watch(daemon: Daemon) -> None:
    """Until the video has ended, say once a second how it goes.

    Raises:
        TimeoutError: it does not end.
    """
    give_up_at = time.monotonic() + SECONDS + _PATIENCE_SECONDS
    while not daemon.metric("edge_video_state", source=SOURCE, state="ended"):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"the video has not ended; see {daemon.log}")
        in_time = daemon.metric("edge_video_frames_total", source=SOURCE, outcome="in_time")
        print(f"    {in_time:5.0f} frames with a result in time", flush=True)
        time.sleep(2.0)


def wait_for_key_frames(daemon: Daemon, out: Path) -> None:
    """Until the results of all key frames are delivered; there may be none.

    Raises:
        TimeoutError: they did not come.
    """
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    stored = daemon.metric("edge_key_frames_total", source=SOURCE, outcome="stored")
    while len(list(out.glob("*.json"))) < stored:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"fewer than {stored:.0f} results in {out} after {_PATIENCE_SECONDS} s")
        time.sleep(0.1)


def read_lines(out: Path) -> list[Line]:
    """The result of every frame that was in time."""
    return [json.loads(line) for file in sorted(out.glob("*.jsonl")) for line in file.read_text().splitlines()]


def moment(line: Line) -> float:
    """When its frame was captured, in seconds."""
    return datetime.datetime.fromisoformat(line["captured"].replace("Z", "+00:00")).timestamp()


def print_times(lines: list[Line]) -> None:
    """How old frames were when their results were ready, and what the stages took."""
    ages = sorted(line["age_seconds"] for line in lines)
    budget = lines[0]["deadline_seconds"]
    median, high = statistics.median(ages), ages[int(0.99 * (len(ages) - 1))]
    print(f"\nage of a frame at its result, of {len(ages)} in time (budget {1e3 * budget:.0f} ms): median "
          f"{1e3 * median:.1f} ms, 99 % within {1e3 * high:.1f} ms, longest {1e3 * ages[-1]:.1f} ms")  # fmt: skip
    for name in [stage["name"] for stage in lines[0]["stages"]]:
        records = [stage for line in lines for stage in line["stages"] if stage["name"] == name]
        ran = [stage["seconds"] for stage in records if stage["outcome"] == "ran"]
        others = {r["outcome"] for r in records} - {"ran"}
        counts = [f"{sum(r['outcome'] == outcome for r in records)} {outcome}" for outcome in sorted(others)]
        median = f"median {1e3 * statistics.median(ran):.1f} ms" if ran else "never ran"
        print(f"  stage {name:<8} ran in {len(ran)} frames, {median}" + (f"; {', '.join(counts)}" if counts else ""))


def overlap(box: dict[str, int], other: Sequence[int]) -> float:
    """Intersection over union of a finding's box and (top, left, bottom, right)."""
    mine = (box["top"], box["left"], box["bottom"], box["right"])
    rows, columns = (max(0, min(mine[k + 2], other[k + 2]) - max(mine[k], other[k])) for k in (0, 1))
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (mine, other))
    return rows * columns / (areas - rows * columns)


def print_comparison(lines: list[Line], truth: dict[str, Any]) -> None:
    """By polyp: in how many of the frames that show it the detector put a box there. Frames are found by their time."""
    rate, frames = truth["frames_per_second"], truth["frames"]
    began = moment(lines[0]) - (lines[0]["sequence"] - 1) / rate
    shown = Counter(polyp["number"] for frame in frames for polyp in frame["polyps"])
    answered, seen = Counter[int](), Counter[int]()
    wrong = without = 0
    for line in lines:
        frame = frames[min(round((moment(line) - began) * rate), len(frames) - 1)]
        boxes = [f["box"] for f in line["findings"] if f["stage"] == "polyps" and f["answer"] == "positive"]
        for polyp in frame["polyps"]:
            answered[polyp["number"]] += 1
            seen[polyp["number"]] += any(overlap(box, polyp["box"]) >= _SAME for box in boxes)
        wrong += bool(boxes and not frame["polyps"])
        without += not frame["polyps"]
    print("\nagainst the truth of the computed sequence:")
    for number in sorted(shown):
        print(f"  polyp {number}: in view in {shown[number]} frames, {answered[number]} of them with a result; "
              f"a box there in {seen[number]}")  # fmt: skip
    print(f"  no polyp in view in {without} frames with a result; a box all the same in {wrong}")


LEGEND = """
what lies in the folder:
  *.jsonl                   the result of every frame that was in time, a line each
  *.mp4                     the picture as the page showed it
  JOB-frame.dcm             a key frame as it was captured; JOB-overlay-1.dcm and .png: with what was found in it
  JOB-sr.dcm, JOB-result.json   what was found, as a DICOM structured report and as JSON
a frame is given up (dropped) where it would be late, an optional stage is left out (skipped) where time is short:
other programs on this computer make that more frequent"""


def save_pictures(out: Path, recording: Path) -> list[Path]:
    """Key frames as PNG, and one picture of the recording as the page showed it."""
    pictures = []
    for path in sorted(out.glob("*overlay*.dcm")):
        pictures.append(path.with_suffix(".png"))
        Image.fromarray(pydicom.dcmread(path).pixel_array).save(pictures[-1])
    with av.open(str(recording)) as container:
        frames = list(container.decode(video=0))
        pictures.append(out / "live.png")
        Image.fromarray(frames[len(frames) // 2].to_ndarray(format="rgb24")).save(pictures[-1])
    return pictures


def main() -> int:
    """Run the demo in the folder of the project."""
    steps = Steps()
    shutil.rmtree(RESULTS, ignore_errors=True)
    out, video = RESULTS / "out", RESULTS / "endoscopy.mp4"
    RESULTS.mkdir(parents=True)
    steps.run("build the four engines and their passports", lambda: build_engines(NETWORKS))
    file = steps.run(f"compute {SECONDS:.0f} s of endoscopy", lambda: write_video(video, SECONDS, SEED))
    waiting = video.with_suffix(".waiting")
    video.rename(waiting)  # a source that is not there yet: the daemon waits for it
    daemon = Daemon(CONFIG, RESULTS / "spool", log=RESULTS / "daemon.log")
    with daemon:
        steps.run("start the daemon until it is ready (golden runs)", daemon.wait_ready)
        print(f"    open it now: http://127.0.0.1:{daemon.http_port}/ (for {SECONDS:.0f} s)")
        begin_examination(daemon)
        waiting.rename(video)
        steps.run("play the video at its own rate", lambda: watch(daemon))
        steps.run("deliver the key frames", lambda: wait_for_key_frames(daemon, out))
        counts = {o: daemon.metric("edge_video_frames_total", source=SOURCE, outcome=o) for o in _OUTCOMES}
    lines = read_lines(out)
    print("\nframes: " + ", ".join(f"{count:.0f} {outcome}" for outcome, count in counts.items() if count))
    print_times(lines)
    print_comparison(lines, json.loads(file.read_text()))
    pictures = save_pictures(out, next(iter(sorted(out.glob("*.mp4")))))
    steps.print()
    print("\nCPU figures of this machine. Of the networks:")
    for use in sorted({engine["intended_use"] for engine in lines[-1]["engines"]}):
        print(f"- {use}")
    print("Pictures: " + ", ".join(str(p) for p in pictures))
    print(LEGEND)
    print(f"to look again: edge-runtime run {CONFIG}, and http://127.0.0.1:9464/")
    print(f"RESULTS {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
