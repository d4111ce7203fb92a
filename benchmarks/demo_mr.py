"""`make demo-mr`: a real MR head through the daemon, from C-STORE to SR, SEG and overlay, and the time of each step."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.daemon import Daemon
from benchmarks.demo import Steps, build_engines, save_pictures, seconds_between, segments_of, wait_for_results
from benchmarks.heads import BRAIN, HEAD, brain_on_series, dice, load_nifti, write_mr_series
from benchmarks.peers import dcmtk

CONFIG = Path("examples/mr-brain.yaml")
NETWORKS = ("mr-brain-locator", "mr-brain-segmenter")
RESULTS = Path("demo-results/mr-brain")


def send(series: Path, port: int) -> None:
    """Send with DCMTK, as a scanner would."""
    command = ["storescu", "-aet", "MR01", "-aec", "EDGE", "--scan-directories", "127.0.0.1", str(port), str(series)]
    subprocess.run(command, check=True, env=dcmtk.environment(no_delay=False))


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
    steps.run("fetch and convert the two networks", lambda: build_engines(NETWORKS))
    brain = load_nifti(BRAIN)
    paths = steps.run("make an MR series of the head", lambda: write_mr_series(load_nifti(HEAD), series))
    daemon = Daemon(CONFIG, RESULTS / "spool", [f"destinations.disk.path={out}"], log=RESULTS / "daemon.log")
    with daemon:
        steps.run("start the daemon until it is ready (golden runs)", daemon.wait_ready)
        steps.run("send 181 slices with storescu", lambda: send(series, daemon.dicom_port))
        steps.run("wait for the results", lambda: wait_for_results(out, 1))
    pictures = save_pictures(out)
    result = json.loads(next(iter(out.glob("*.json"))).read_text())
    for stage in result["stages"]:
        steps.add(f"  of which stage {stage['name']} ({stage['engine']['backend']})", stage["seconds"])
    times = result["times"]
    steps.add("  last slice received to conclusion", seconds_between(times["last_received"], times["concluded"]))
    reference = brain_on_series(brain)
    found = segments_of(next(iter(out.glob("*seg.dcm"))), paths)[1]
    print_findings(result, dice(found, reference), reference.sum() / 1000)
    steps.print()
    print("\nCPU figures of this machine. Overlay: " + ", ".join(str(p) for p in pictures))
    print(f"RESULTS {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
