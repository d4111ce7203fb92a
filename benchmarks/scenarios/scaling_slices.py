"""A series of more and more slices through the whole daemon: receiving a slice, and its share of the result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.ct_series import Labels, write_ct_series
from benchmarks.daemon import Daemon
from benchmarks.peers import dcmtk
from benchmarks.places import FolderPlace
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.following import wait_delivered
from benchmarks.scenarios.scaling_curves import add_cost
from benchmarks.scenarios.scaling_schema import SLICES, Scaling
from benchmarks.scenarios.scaling_sites import BRIGHT_HU, build_volume_engine, write_site
from benchmarks.site import settle
from benchmarks.slices import read_series, write_again
from edge_runtime.domain import Array, Geometry, SourceImage, Volume

_ENGINE = "bright"
_AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
_SPACING_MM = (0.5, 0.5, 0.5)
_LONG_SECONDS = 86_400.0


class SlicesPart:
    """One daemon, which gets the first slices of one long series again and again under new UIDs."""

    def __init__(self, scenario: Scaling, record: Record, work: Path, stack: ExitStack) -> None:
        dcmtk.require_dcmtk()
        self._scenario, self._record, self._work = scenario, record, work
        build_volume_engine(work / "engines", _ENGINE)
        self._place = FolderPlace(work / "at-edge")
        pipeline = {
            "name": "slices", "match": {"modality": "CT"}, "complete_after_seconds": scenario.quiet_seconds,
            "deadline_seconds": _LONG_SECONDS, "stages": [{"name": _ENGINE, "engine": _ENGINE}],
            "results": ["sr", "seg", "overlay", "json"], "send_to": ["place"],
        }  # fmt: skip
        config = write_site(work / "slices.yaml", work / "engines", [pipeline], record,
                            destinations=[self._place.document])  # fmt: skip
        self._daemon = stack.enter_context(Daemon(config, work / "spool"))
        write_ct_series(_cylinder(max(scenario.slices), scenario.matrix), work / "series", Labels("slices"))
        self._series = read_series(work / "series")
        self._daemon.wait_ready()
        self._sent = 0
        self._follow(min(scenario.slices))  # does not count

    def round(self, sizes: Sequence[int]) -> None:
        """A series of every size. Raises BenchFailed where one is not delivered whole."""
        for size in sizes:
            receive_seconds, result_seconds = self._follow(size)
            add_cost(self._record, "slices/receive", SLICES, size, 1000 * receive_seconds, size, "ms/slice")
            add_cost(self._record, "slices/result", SLICES, size, 1000 * result_seconds, size, "ms/slice")

    def _follow(self, size: int) -> tuple[float, float]:
        """Seconds to send it, and from the last slice's response to the last result, less the quiet time."""
        self._sent += 1
        folder = write_again(self._series[:size], self._work / "in", f"slices-{self._sent}")
        settle()
        self._place.forget()
        sent = dcmtk.send([folder], self._daemon.dicom_port, tuned=True, verbose=True)
        shutil.rmtree(folder)
        wait_delivered(self._daemon, self._sent, self._scenario.give_up_seconds)
        last = self._place.last_arrival()
        whole = [json.loads(path.read_text())["input_count"] for path in self._place.files() if path.suffix == ".json"]
        if whole != [size]:
            raise BenchFailed(f"a series of {size} slices gave results of {whole}: raise quiet_seconds")
        return sent.seconds, last - sent.last_response_at - self._scenario.quiet_seconds


def _cylinder(slices: int, matrix: int) -> Volume:
    """Something bright in every slice, in noise, so that no slice is without a finding. HU."""
    random = np.random.default_rng(1)
    rows, columns = np.ogrid[:matrix, :matrix]
    inside = np.hypot(rows - matrix / 2, columns - matrix / 2) < matrix / 5
    voxels: Array = random.normal(0, 20, (slices, matrix, matrix)).astype(np.float32)
    voxels += np.where(inside, np.float32(BRIGHT_HU), np.float32(-200))
    geometry = Geometry(voxels.shape, (0.0, 0.0, 0.0), _AXES, _SPACING_MM)
    return Volume(voxels, geometry, "CT", (SourceImage("1.2.840.10008.5.1.4.1.1.2", "2.25.1"),) * slices)
