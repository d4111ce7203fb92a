"""`make demo`: two head CT phantoms through the daemon, and what it found against what was planted."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE

from benchmarks.ct_series import Labels, write_ct_series
from benchmarks.daemon import Daemon
from benchmarks.demo import Steps, build_engines, save_pictures, seconds_between, segments_of, wait_for_results
from benchmarks.heads import Array, dice
from converters.reference.phantom import Phantom, make_phantom

CONFIG = Path("examples/ct-head-triage.yaml")
RESULTS = Path("demo-results/ct-head-triage")
NETWORKS = ("ct-hemorrhage-classifier", "ct-hemorrhage-detector", "ct-hemorrhage-segmenter")
SLICES = 40
SEEDS = {"positive": 990_001, "negative": 990_002}
"""Phantoms that no network was trained on."""


@dataclass(frozen=True, eq=False)
class Series:
    """A phantom as it was sent."""

    name: str
    phantom: Phantom
    paths: list[Path]
    uid: str


def write_series(name: str, phantom: Phantom) -> Series:
    """Write a phantom as a CT series."""
    paths = write_ct_series(phantom.image, RESULTS / "series" / name, Labels(name, (f"Phantom^{name}", name.upper())))
    return Series(name, phantom, paths, str(dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID))


def send(series: Series, port: int) -> None:
    """Send a series in one association, as a scanner would.

    Raises:
        ConnectionError: the association was refused, or an image was.
    """
    scanner = AE("CT01")
    scanner.add_requested_context(CTImageStorage)
    association = scanner.associate("127.0.0.1", port, ae_title="EDGE")
    if not association.is_established:
        raise ConnectionError("the daemon refused the association")
    for path in series.paths:
        status = association.send_c_store(dcmread(path))
        if status.get("Status") != 0x0000:
            raise ConnectionError(f"{path.name} was not stored: {status}")
    association.release()


def read_results(out: Path) -> dict[str, dict[str, Any]]:
    """The JSON results by the UID of the series that they are of."""
    documents = [json.loads(path.read_text()) for path in out.glob("*.json")]
    return {document["source_series_instance_uid"]: document for document in documents}


def found_lesions(out: Path, document: dict[str, Any], series: Series) -> dict[int, Array]:
    """Every lesion that the result outlines, on the grid of the phantom, by segment number."""
    files = [out / f"{document['job']}-{one['file']}" for one in document["objects"] if one["kind"] == "seg"]
    return segments_of(files[0], series.paths) if files else {}


def measured(document: dict[str, Any], segment: int) -> tuple[float, float]:
    """Volume in ml and largest diameter in mm of a segment, as the result says."""
    finding = next(f for f in document["findings"] if f["mask"] == segment)
    values = {m["unit"]["value"]: float(m["value"]) for m in finding["measurements"]}
    return values["ml"], values["mm"]


def print_comparison(series: Series, document: dict[str, Any], found: dict[int, Array]) -> None:
    """What was planted and what was found, side by side."""
    triage = next(f for f in document["findings"] if f["stage"] == "triage")
    print(f"\n{series.name}: {len(series.phantom.lesions)} haemorrhages planted; "
          f"triage: {triage['answer']}, probability {triage['probability']:.3f}, threshold {triage['threshold']:.3f}; "
          f"complete: {document['complete']}, late: {document['late']}")  # fmt: skip
    if confounders := series.phantom.confounders:
        print("  look-alikes in it: " + ", ".join(str(getattr(c, "value", c)) for c in confounders))
    if series.phantom.lesions or found:
        print(f"  {'planted':<34} {'ml':>7} {'mm':>6}   {'found':<8} {'ml':>7} {'mm':>6} {'Dice':>6}")
    taken = set()
    for lesion in series.phantom.lesions:
        overlaps = {number: int(np.count_nonzero(mask & lesion.mask)) for number, mask in found.items()}
        best = max(overlaps, key=lambda number: overlaps[number], default=None)
        line = f"  {lesion.kind.value + ', ' + lesion.place:<34} {lesion.volume_ml:>7.1f} {lesion.diameter_mm:>6.0f}   "
        if best is None or not overlaps[best]:
            print(line + "missed")
            continue
        taken.add(best)
        volume_ml, diameter_mm = measured(document, best)
        print(
            line
            + f"{f'segment {best}':<8} {volume_ml:>6.1f} {diameter_mm:>6.0f} {dice(found[best], lesion.mask):>6.2f}"
        )
    for number in found.keys() - taken:
        volume_ml, diameter_mm = measured(document, number)
        print(f"  {'nothing':<34} {'':>7} {'':>6}   {f'segment {number}':<8} {volume_ml:>6.1f} {diameter_mm:>6.0f}")


def add_times(steps: Steps, name: str, document: dict[str, Any]) -> None:
    """What the daemon measured of one study."""
    for stage in document["stages"]:
        what = stage["outcome"] if stage["outcome"] != "ran" else stage["engine"]["backend"]
        steps.add(f"  {name}: stage {stage['name']} ({what})", stage["seconds"])
    times = document["times"]
    steps.add(
        f"  {name}: last slice received to conclusion", seconds_between(times["last_received"], times["concluded"])
    )


def main() -> int:
    """Run the demo in the folder of the project."""
    steps = Steps()
    shutil.rmtree(RESULTS, ignore_errors=True)
    out = RESULTS / "out"
    RESULTS.mkdir(parents=True)
    steps.run("build the three engines and their passports", lambda: build_engines(NETWORKS))
    made = steps.run("make two phantoms and write them as CT series", lambda: [
        write_series(name, make_phantom(seed, name, slices=SLICES)) for name, seed in SEEDS.items()
    ])  # fmt: skip
    daemon = Daemon(CONFIG, RESULTS / "spool", [f"destinations.disk.path={out}"], log=RESULTS / "daemon.log")
    with daemon:
        steps.run("start the daemon until it is ready (golden runs)", daemon.wait_ready)
        print(f"    status page: http://127.0.0.1:{daemon.http_port}/")
        for series in made:
            steps.run(f"send {SLICES} slices of the {series.name} head by C-STORE",
                      partial(send, series, daemon.dicom_port))  # fmt: skip
        steps.run("wait for the results (5 s of it: will more slices come?)", lambda: wait_for_results(out, len(made)))
    pictures = save_pictures(out)
    results = read_results(out)
    for series in made:
        document = results[series.uid]
        add_times(steps, series.name, document)
        print_comparison(series, document, found_lesions(out, document, series))
    steps.print()
    print("\nCPU figures of this machine. Of the networks:")
    for use in sorted({stage["engine"]["intended_use"] for stage in document["stages"]}):
        print(f"- {use}")
    print("Overlays: " + ", ".join(str(p) for p in pictures))
    print(f"RESULTS {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
