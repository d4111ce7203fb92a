"""One series through the whole daemon: from the last slice's response to the last result at its destination."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from benchmarks.daemon import Daemon
from benchmarks.peers import dcmtk
from benchmarks.peers.day_script import command as day_script_command
from benchmarks.places import DicomPlace, FolderPlace, Place, agreement, segments
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.following import moments, wait_delivered
from benchmarks.scenarios.schema import Study
from benchmarks.scenarios.series import CT_PHANTOM, MR_HEAD, series_named
from benchmarks.sequential import Sequential
from benchmarks.site import RESERVE_BYTES, read_site, settle, work_folder, write_variant
from benchmarks.slices import write_again
from benchmarks.statistics import Target
from edge_runtime.config import Config

EDGE, SEQUENTIAL, DAY_SCRIPT = "edge", "sequential", "day_script"
SEQUENTIAL_TARGET = Target(1.2, at_least=False)
SAME_MASK = 0.98
"""Dice overlap that two systems' segments must have, or they did not do the same work."""
_WITH_SEGMENTS = (MR_HEAD, CT_PHANTOM)

NOTES = [
    "edge and day_script: from the moment storescu says that it has the last slice's response, to the time stamp of "
    "the last result file at the destination, less the configured quiet time. Both are warm: one study went before.",
    "edge decodes while the series arrives and during the quiet time; that is part of its design and of these figures.",
    "sequential: one process doing one step after the other with nothing in between: decoding (pydicom), "
    "preprocessing, InferenceSession.run, postprocessing, writing (the daemon's writers), sending (its destinations).",
    "day_script: pynetdicom, ONNX Runtime and highdicom as one writes them in a day; the same networks; SEG, SR and as "
    "many secondary captures. It keeps images in memory and syncs nothing to disk.",
]

Measure = Callable[[Path], float]


def run(scenario: Study, record: Record) -> None:
    """Measure every destination, round by round: the daemon, the bare steps, the script."""
    dcmtk.require_dcmtk()
    record.notes.extend(NOTES)
    config = read_site(scenario.config, record)
    with work_folder(scenario.work, record) as work:
        series = series_named(scenario.series, work)
        record.details["slices"] = len(series)
        record.details["quiet_seconds"] = config.pipelines[0].complete_after_seconds
        for kind in scenario.destinations:
            with ExitStack() as stack:
                _Bench(scenario, record, config, series, work / kind, stack).measure()


@dataclass(frozen=True)
class _System:
    name: str
    place: Place
    measure: Measure


class _Bench:
    """All systems with one kind of destination, running side by side, measured in turn."""

    def __init__(
        self, scenario: Study, record: Record, config: Config, series: Sequence[Dataset], work: Path, stack: ExitStack
    ) -> None:
        self._scenario = scenario
        self._record = record
        self._config = config
        self._series = series
        self._work = work
        self._stack = stack
        self._kind = work.name
        self._steps: list[dict[str, Any]] = record.details.setdefault(f"{self._kind}/steps", [])
        self._quiet = config.pipelines[0].complete_after_seconds
        work.mkdir()
        makers = {SEQUENTIAL: self._sequential, DAY_SCRIPT: self._day_script}
        self._systems = [self._edge(), *(makers[peer]() for peer in scenario.peers)]

    def measure(self) -> None:
        """One round that does not count, then the rounds."""
        for number in range(self._scenario.rounds + 1):
            self._steps.append({})
            for system in self._systems:
                seconds = system.measure(self._fresh(system.name, number))
                if number:
                    self._record.add(f"{self._kind}/{system.name}", seconds, "s", higher_is_better=False)
            if not number:
                self._steps.clear()
                continue
            for peer in self._scenario.peers:
                name, of = f"{self._kind}/{EDGE} : {peer}", (f"{self._kind}/{EDGE}", f"{self._kind}/{peer}")
                target = SEQUENTIAL_TARGET if peer == SEQUENTIAL else None
                self._record.add_ratio(name, of, higher_is_better=False, target=target)
            print(f"{self._kind}: round {number} of {self._scenario.rounds} done", flush=True)
        self._check_masks()

    def _fresh(self, system: str, number: int) -> Path:
        folder = write_again(self._series, self._work / f"in-{system}-{number}", f"{self._kind}-{system}-{number}")
        settle()
        return folder

    def _place(self, system: str) -> Place:
        folder = self._work / f"at-{system}"
        return FolderPlace(folder) if self._kind == "folder" else self._stack.enter_context(DicomPlace(folder))

    def _variant(self, system: str, place: Place) -> Path:
        send: dict[str, object] = {"send_to": [place.document["name"]]}
        return write_variant(self._scenario.config, self._work / f"{system}.yaml", send, [place.document])

    def _edge(self) -> _System:
        place = self._place(EDGE)
        overrides = [f"spool.reserve_bytes={RESERVE_BYTES}"]
        daemon = self._stack.enter_context(Daemon(self._variant(EDGE, place), self._work / "spool", overrides))
        daemon.wait_ready()

        def measure(folder: Path) -> float:
            place.forget()
            told = len(daemon.log.read_text().splitlines())
            sent = dcmtk.send([folder], daemon.dicom_port, tuned=True, verbose=True)
            self._delivered += 1
            wait_delivered(daemon, self._delivered, self._scenario.give_up_seconds)
            last = place.last_arrival()
            lines = daemon.log.read_text().splitlines()[told:]
            self._steps[-1][EDGE] = _breakdown(lines, sent.last_response_at, self._quiet, last, daemon.spool)
            return last - sent.last_response_at - self._quiet

        return _System(EDGE, place, measure)

    _delivered = 0

    def _sequential(self) -> _System:
        place = self._place(SEQUENTIAL)
        steps = self._stack.enter_context(Sequential(self._variant(SEQUENTIAL, place), self._work / "sequential.log"))

        def measure(folder: Path) -> float:
            place.forget()
            taken = steps.analyse(folder, self._work / f"out-{folder.name}")
            self._steps[-1][SEQUENTIAL] = taken
            return sum(taken.values())

        return _System(SEQUENTIAL, place, measure)

    def _day_script(self) -> _System:
        place = self._place(DAY_SCRIPT)
        log = self._work / f"{DAY_SCRIPT}-run.log"
        engines = [Path(self._config.engines.path) / stage.engine for stage in self._config.pipelines[0].stages]
        if len(engines) != 2:
            raise BenchFailed("the day's script has a locator and a segmenter; leave day_script out of this scenario")
        command = day_script_command(engines, self._quiet, place.argument)
        port = self._stack.enter_context(dcmtk.listening(command, log.with_suffix("")))

        def measure(folder: Path) -> float:
            place.forget()
            told = log.read_text().count("delivered")
            sent = dcmtk.send([folder], port, tuned=True, verbose=True)
            give_up_at = time.monotonic() + self._scenario.give_up_seconds
            while log.read_text().count("delivered") == told:
                if time.monotonic() > give_up_at or "Traceback" in log.read_text():
                    raise BenchFailed(f"the day's script gave no result: {log.read_text()[-500:]}")
                time.sleep(0.1)
            self._steps[-1][DAY_SCRIPT] = json.loads(log.read_text().splitlines()[-1].partition(" ")[2])
            return place.last_arrival() - sent.last_response_at - self._quiet

        return _System(DAY_SCRIPT, place, measure)

    def _check_masks(self) -> None:
        """All systems must have given the same segments in the last round."""
        found = {system.name: segments(system.place.files()) for system in self._systems}
        own = found.pop(EDGE)
        self._record.checks[f"{self._kind}/segments of {EDGE}"] = len(own)
        if not own and self._scenario.series in _WITH_SEGMENTS:
            raise BenchFailed(f"{EDGE} found nothing in {self._scenario.series}: not every stage was measured")
        for name, theirs in found.items():
            overlap = agreement(own, theirs)
            self._record.checks[f"{self._kind}/dice of {EDGE} and {name}"] = round(overlap, 5)
            if overlap < SAME_MASK:
                raise BenchFailed(f"{EDGE} and {name} give different segments (Dice {overlap:.3f}): no comparison")


def _breakdown(lines: Sequence[str], last_response_at: float, quiet: float, last: float, spool: Path) -> dict[str, Any]:
    """What the daemon did between the end of the quiet time and the last result, from its own log; seconds."""
    told = dict(moments(lines))
    steps = ("series complete", "job concluded", "report written")
    if any(step not in told for step in steps):
        return {"missing in the log": [step for step in steps if step not in told]}
    complete, concluded, written = (told[step] for step in steps)
    newest = max((spool / "jobs").rglob("report/result.json"), key=lambda path: path.stat().st_mtime_ns, default=None)
    stages = {} if newest is None else {s["name"]: s["seconds"] for s in json.loads(newest.read_text())["stages"]}
    return {
        "close after the quiet time": complete - last_response_at - quiet,
        "assemble and infer": concluded - complete,
        "stages": stages,
        "report": written - concluded,
        "deliver": last - written,
    }
