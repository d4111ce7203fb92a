"""One series through the whole daemon: from the last slice's response to the last result at its destination."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from benchmarks.peers import dcmtk
from benchmarks.places import agreement, segments
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.schema import Study
from benchmarks.scenarios.series import CT_PHANTOM, MR_HEAD, series_named
from benchmarks.scenarios.study_breakdown import StudyDeadline, spans, stage_seconds
from benchmarks.scenarios.study_systems import EDGE, SEQUENTIAL, Measured, Systems, missing
from benchmarks.site import read_site, settle, work_folder
from benchmarks.slices import write_again
from benchmarks.statistics import Target

SEQUENTIAL_TARGET = Target(1.2, at_least=False)
SAME_MASK = 0.98
"""Dice overlap that two systems' segments must have, or they did not do the same work."""
_WITH_SEGMENTS = (MR_HEAD, CT_PHANTOM)

NOTES = [
    "edge, day_script and orthanc_plugin: from the moment storescu says that it has the last slice's response, to the "
    "time stamp of the last result file at the destination, less the configured quiet time. All are warm: one study "
    "went before.",
    "edge decodes while the series arrives and during the quiet time; that is part of its design and of these figures.",
    "sequential: one process doing one step after the other with nothing in between: decoding (pydicom), "
    "preprocessing, InferenceSession.run, postprocessing, writing (the daemon's writers), sending (its destinations).",
    "day_script: pynetdicom, ONNX Runtime and highdicom as one writes them in a day; the same networks; SEG, SR and as "
    "many secondary captures. It keeps images in memory and syncs nothing to disk.",
    "orthanc_plugin: Orthanc receives and stores (long PDUs, no fsync), its Python plugin does what day_script does "
    "when Orthanc calls the series stable. StableAge, in whole seconds, is its quiet time; Orthanc looks for stable "
    "series about once a second, which is part of its figures.",
]


def run(scenario: Study, record: Record) -> None:
    """Measure every destination, round by round: the daemon and its peers."""
    dcmtk.require_dcmtk()
    record.notes.extend(NOTES)
    config = read_site(scenario.config, record)
    absent = missing(scenario.peers)
    for peer, why in absent.items():
        record.problem(f"peer {peer} was not measured: {why}")
    peers = [peer for peer in scenario.peers if peer not in absent]
    with work_folder(scenario.work, record) as work:
        series = series_named(scenario.series, work)
        record.details["slices"] = len(series)
        record.details["quiet_seconds"] = config.pipelines[0].complete_after_seconds
        for kind in scenario.destinations:
            with ExitStack() as stack:
                (work / kind).mkdir()
                systems = Systems(kind, scenario.config, config, work / kind, stack, scenario.give_up_seconds)
                _Bench(scenario, record, series, work / kind, systems, peers).measure()


class _Bench:
    """All systems with one kind of destination, running side by side, measured in turn."""

    def __init__(
        self,
        scenario: Study,
        record: Record,
        series: Sequence[Dataset],
        work: Path,
        systems: Systems,
        peers: Sequence[str],
    ) -> None:
        self._scenario = scenario
        self._record = record
        self._series = series
        self._work = work
        self._kind = work.name
        self._peers = peers
        self._steps: list[dict[str, Any]] = record.details.setdefault(f"{self._kind}/steps", [])
        self._deadline = StudyDeadline.read(scenario.config)
        self._systems = [systems.start(name) for name in (EDGE, *peers)]

    def measure(self) -> None:
        """One round that does not count, then the rounds; the order is the other way round in every second one."""
        of_edge: list[Measured] = []
        for number in range(self._scenario.rounds + 1):
            steps: dict[str, Any] = {}
            for system in self._systems if number % 2 else reversed(self._systems):
                measured = system.measure(self._fresh(system.name, number))
                steps[system.name] = measured.steps
                if number:
                    name = f"{self._kind}/{system.name}"
                    self._record.add(name, measured.seconds, "s", higher_is_better=False)
                if number and system.name == EDGE:
                    of_edge.append(measured)
                    self._add_edge(measured)
            if number:
                self._steps.append(steps)
                self._add_ratios()
                print(f"{self._kind}: round {number} of {self._scenario.rounds} done", flush=True)
        self._add_timeline(of_edge)
        self._check_masks()

    def _fresh(self, system: str, number: int) -> Path:
        folder = write_again(self._series, self._work / f"in-{system}-{number}", f"{self._kind}-{system}-{number}")
        settle()
        return folder

    def _add_edge(self, measured: Measured) -> None:
        name = f"{self._kind}/{EDGE}"
        self._record.add_stages(name, {stage: [s] for stage, s in stage_seconds(measured.steps).items()})
        late = self._deadline.missed(measured.seconds + measured.quiet_seconds)
        self._record.add_deadline(name, self._deadline.seconds, 1, int(late), self._deadline.of)
        if self._deadline.seconds is None:
            self._record.problem(f"{self._deadline.of} is not in {self._scenario.config}: no budget to keep")

    def _add_ratios(self) -> None:
        for peer in self._peers:
            name, of = f"{self._kind}/{EDGE} : {peer}", (f"{self._kind}/{EDGE}", f"{self._kind}/{peer}")
            target = SEQUENTIAL_TARGET if peer == SEQUENTIAL else None
            self._record.add_ratio(name, of, higher_is_better=False, target=target)

    def _add_timeline(self, of_edge: Sequence[Measured]) -> None:
        middle = sorted(of_edge, key=lambda one: one.seconds)[(len(of_edge) - 1) // 2]
        found = spans(middle.steps, middle.quiet_seconds)
        if found:
            self._record.add_timeline(f"{self._kind}/{EDGE}: the median series, from its last slice's response", found)
        else:
            self._record.problem(f"{self._kind}/{EDGE}: no time line, for the daemon's log lacks a moment")

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
