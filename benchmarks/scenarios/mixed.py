"""The whole daemon: do live frames miss their deadlines more often while a study arrives and is analysed?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pydicom.dataset import Dataset

from benchmarks.daemon import Daemon
from benchmarks.demo import build_engines
from benchmarks.live.daemon import Frames, miss_share, write_daemon_config
from benchmarks.live.site import prepare_site
from benchmarks.peers import dcmtk
from benchmarks.record import Record
from benchmarks.scenarios.following import wait_delivered
from benchmarks.scenarios.live_schema import Mixed
from benchmarks.scenarios.series import CT_PHANTOM, series_named
from benchmarks.site import work_folder
from benchmarks.slices import write_again
from benchmarks.statistics import Target

RISE_TARGET = Target(1.0, at_least=False)
_CT_ENGINES = ("ct-hemorrhage-classifier", "ct-hemorrhage-detector", "ct-hemorrhage-segmenter")
_WARM_SECONDS = 3.0

NOTES = [
    "alone, with a study: the share of the live frames that had no result in time, for whatever reason: late, dropped, "
    "or overwritten by a fresher one before it was looked at (superseded); from the daemon's own counts.",
    "rise: with a study less alone, in each round; percentage points.",
    "The daemon runs with all its roles: a file in place of the camera is decoded in real time, live draws and "
    "compresses each picture, and a head CT of 40 slices arrives by C-STORE, is analysed and written to a folder.",
    "study: from the last slice's response to the delivered results, with the quiet time that ends a series.",
]


def run(scenario: Mixed, record: Record) -> None:
    """A study that does not count, then the rounds."""
    dcmtk.require_dcmtk()
    record.notes.extend(NOTES)
    build_engines(_CT_ENGINES)
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        site = prepare_site(scenario.pipeline, work, record, scenario.distinct)
        config = write_daemon_config(
            site, work, record, frames_per_second=scenario.frames_per_second,
            deadline_seconds=scenario.deadline_seconds, studies_after_seconds=scenario.quiet_seconds,
        )  # fmt: skip
        daemon = stack.enter_context(Daemon(config, work / "spool"))
        daemon.wait_ready(120.0)
        bench = _Bench(scenario, record, work, daemon, series_named(CT_PHANTOM, work))
        bench.study("warm")
        time.sleep(_WARM_SECONDS)
        for number in range(1, scenario.rounds + 1):
            bench.round(number)
            print(f"round {number} of {scenario.rounds} done", flush=True)


class _Bench:
    """The daemon, and the study that is sent to it again and again."""

    def __init__(self, scenario: Mixed, record: Record, work: Path, daemon: Daemon, series: Sequence[Dataset]) -> None:
        self._scenario, self._record, self._work, self._daemon, self._series = scenario, record, work, daemon, series
        self._delivered = 0

    def study(self, name: str) -> float:
        """Send it, and wait until its results are delivered; seconds from the last slice's response on."""
        folder = write_again(self._series, self._work / f"in-{name}", name)
        sent = dcmtk.send([folder], self._daemon.dicom_port, tuned=True, verbose=True)
        self._delivered += 1
        wait_delivered(self._daemon, self._delivered, self._scenario.give_up_seconds)
        return time.time() - sent.last_response_at

    def round(self, number: int) -> None:
        """A time alone and a time with a study; each second round in the other order."""
        for with_study in (False, True) if number % 2 else (True, False):
            self._period(number, with_study)
        alone, mixed = (self._record.figures[name].samples[-1] for name in ("alone", "with a study"))
        self._record.add("rise", mixed - alone, "points", higher_is_better=False, target=RISE_TARGET)

    def _period(self, number: int, with_study: bool) -> None:
        frames, ends_at = Frames(self._daemon), time.monotonic() + self._scenario.seconds
        if with_study:
            target = Target(self._scenario.study_deadline_seconds, at_least=False)
            self._record.add("study", self.study(f"round-{number}"), "s", higher_is_better=False, target=target)
        time.sleep(max(0.0, ends_at - time.monotonic()))
        counts, name = frames.take(), "with a study" if with_study else "alone"
        self._record.add(name, 100 * miss_share(counts), "%", higher_is_better=False)
        self._record.details.setdefault(f"{name}, frames by outcome", []).append(counts)
