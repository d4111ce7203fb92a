"""From the start of the command to ready and to the first result; the first study against later ones; a restart."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from benchmarks.child import bound
from benchmarks.daemon import Daemon
from benchmarks.peers import cold_ort, dcmtk
from benchmarks.places import FolderPlace
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import page_cache
from benchmarks.scenarios.cold_start_schema import COLD, SCRIPT, ColdStart
from benchmarks.scenarios.cold_start_timeline import time_line
from benchmarks.scenarios.following import moments, wait_delivered
from benchmarks.scenarios.idle import MEGABYTE
from benchmarks.scenarios.series import series_named
from benchmarks.site import RESERVE_BYTES, read_site, settle, work_folder, write_variant
from benchmarks.slices import write_again
from benchmarks.statistics import median
from edge_runtime.config import Config

EDGE = "edge"
_STEADY = 3
"""Studies at the end, whose median is the steady state."""
_MOST_CACHED_MEGABYTES = 40
"""Above this, a start is not called cold without a word: what this program itself has mapped is about half of it."""
_POLL_SECONDS = 0.005

NOTES = [
    "ready: from the start of the command to the first 200 of /readyz, golden runs included. A result: from the last "
    "slice's C-STORE response to the last result file at its folder, less the quiet time.",
    "script: a process that imports ONNX Runtime, loads the same networks and runs each once (ready), then once more "
    "(its result). It verifies nothing, receives nothing and writes nothing: the least that any program needs.",
    "cold: before the start, the engines' files, the runtime, the packages it requires and Python's standard library "
    "are put out of the page cache by posix_fadvise; what a running program has mapped stays, and how much that is "
    "stands in the details. The rest of the system stays warm.",
    "restart: every process gets SIGKILL when the log says that the series is complete; from the next start of the "
    "command to the last result of that study.",
]


def run(scenario: ColdStart, record: Record) -> None:
    """One start that does not count, then the rounds; what is measured takes turns."""
    dcmtk.require_dcmtk()
    record.notes.extend(NOTES)
    config = read_site(scenario.config, record)
    with work_folder(scenario.work, record) as work:
        bench = _Bench(scenario, record, config, work)
        if not record.reduced:
            bench.start_edge("warm", studies=1)
        for number in range(1, scenario.rounds + 1):
            bench.round(number)
            print(f"round {number} of {scenario.rounds} done", flush=True)


@dataclass(frozen=True)
class Started:
    """A start of a system; seconds. `results`: one a study, in their order."""

    ready: float
    results: tuple[float, ...]

    @property
    def until_first(self) -> float:
        """To ready, and then to the first result of what arrives."""
        return self.ready + self.results[0]


class _Bench:
    def __init__(self, scenario: ColdStart, record: Record, config: Config, work: Path) -> None:
        self._scenario, self._record, self._work = scenario, record, work
        self._series: Sequence[Dataset] = series_named(scenario.series, work)
        stages = config.pipelines[0].stages
        folders = [Path(config.engines.path) / stage.engine for stage in stages]
        self._networks = [folder / "onnxruntime-fp32" / "engine.onnx" for folder in folders]
        self._peers = scenario.peers
        missing = [str(network) for network in self._networks if not network.is_file()]
        if SCRIPT in scenario.peers and missing:
            self._peers = ()
            record.problem(
                f"peer {SCRIPT} was not measured: {', '.join(missing)} is missing; build it: edge-convert build"
            )
        engines = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        self._files = [*engines, *page_cache.environment_files()] if COLD in scenario.caches else []
        self._told: set[str] = set()

    def round(self, number: int) -> None:
        """Every cache, edge and script in turn, then the restart; the other way round every second round."""
        step = 1 if number % 2 else -1
        for cache in self._scenario.caches[::step]:
            for system in (EDGE, *self._peers)[::step]:
                self._start(system, cache, number)
            self._add_ratio(cache)
        if self._scenario.interrupted:
            self._restart(number)

    def _start(self, system: str, cache: str, number: int) -> None:
        settle()
        if cache == COLD:
            self._put_out()
        if system == SCRIPT:
            done = self._script()
        else:
            done = self.start_edge(f"{cache}-{number}", 1 if cache == COLD else self._scenario.studies, cache)
        name = f"{cache}/{system}"
        self._seconds(f"{name} ready", done.ready)
        self._seconds(f"{name} first result", done.results[0])
        self._seconds(f"{name} ready + first result", done.until_first)
        if len(done.results) > 1 and system == EDGE:
            self._seconds(f"{name} steady result", median(done.results[1:][-_STEADY:]))
            of = f"{name} first result", f"{name} steady result"
            self._record.add_ratio(f"{name} first : steady", of, higher_is_better=False)
            self._record.details.setdefault(f"{name} results, seconds", []).append(done.results)

    def _add_ratio(self, cache: str) -> None:
        for peer in self._peers:
            of = f"{cache}/{EDGE} ready + first result", f"{cache}/{peer} ready + first result"
            self._record.add_ratio(f"{cache}/{EDGE} : {peer}", of, higher_is_better=False)

    def _seconds(self, name: str, seconds: float) -> None:
        self._record.add(name, seconds, "s", higher_is_better=False)

    def _put_out(self) -> None:
        page_cache.put_out(self._files)
        left = page_cache.cached_bytes(self._files) / MEGABYTE
        self._record.details.setdefault("cold: megabytes still in the page cache", []).append(round(left, 1))
        if left > _MOST_CACHED_MEGABYTES:
            self._record.problem(
                f"cold: more than {_MOST_CACHED_MEGABYTES} MB of the files stay in the page cache, for running "
                "programs use them: a start after power-up is slower; let nothing else of this environment run"
            )

    def start_edge(self, name: str, studies: int, cache: str = "") -> Started:
        """Start the daemon on an empty spool and send studies, one after the other; its first time line is kept.

        Raises:
            BenchFailed: a study is not delivered.
        """
        daemon, place = self._daemon(name)
        began_at, began = time.time(), time.monotonic()
        with daemon:
            daemon.wait_ready()
            ready = time.monotonic() - began
            results: list[float] = []
            for index in range(studies):
                place.forget()
                sent = dcmtk.send([self._fresh(f"{name}-{index}")], daemon.dicom_port, tuned=True, verbose=True)
                wait_delivered(daemon, index + 1, self._scenario.give_up_seconds)
                last = place.last_arrival()
                results.append(last - sent.last_response_at - self._scenario.quiet_seconds)
                if index == 0 and cache and cache not in self._told:
                    self._told.add(cache)
                    spans = time_line(daemon.log.read_text(), began_at, sent.last_response_at, last)
                    self._record.add_timeline(f"{cache} start", spans)
        return Started(ready, tuple(results))

    def _daemon(self, name: str) -> tuple[Daemon, FolderPlace]:
        place = FolderPlace(self._work / f"at-{name}")
        keys: dict[str, object] = {
            "send_to": [place.document["name"]], "complete_after_seconds": self._scenario.quiet_seconds,
        }  # fmt: skip
        config = write_variant(self._scenario.config, self._work / f"{name}.yaml", keys, [place.document])
        return Daemon(config, self._work / f"spool-{name}", [f"spool.reserve_bytes={RESERVE_BYTES}"]), place

    def _fresh(self, name: str) -> Path:
        return write_again(self._series, self._work / f"in-{name}", name)

    def _script(self) -> Started:
        moments_of: dict[str, float] = {}
        began = time.monotonic()
        with subprocess.Popen(
            bound(cold_ort.command(self._networks)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as script:
            assert script.stdout is not None and script.stderr is not None
            for line in script.stdout:
                moments_of[line.strip()] = time.monotonic() - began
            said = script.stderr.read()
        if script.returncode != 0 or "answered" not in moments_of:
            raise BenchFailed(f"the script that loads the networks ended with {script.returncode}: {said[-500:]}")
        return Started(moments_of["ready"], (moments_of["answered"] - moments_of["ready"],))

    def _restart(self, number: int) -> None:
        """Kill all processes while a study is analysed; seconds from the next start to the result of that study."""
        daemon, place = self._daemon(f"restart-{number}")
        folder = self._fresh(f"restart-{number}")
        with daemon:
            daemon.wait_ready()
            dcmtk.send([folder], daemon.dicom_port, tuned=True)
            _wait_told(daemon, "series complete", self._scenario.give_up_seconds)
            daemon.kill_all()
            if place.files():
                self._record.problem(f"restart: in round {number} a result came before the kill; take a longer series")
                return
            began = time.time()
            daemon.start()
            wait_delivered(daemon, 1, self._scenario.give_up_seconds)
            self._seconds("restart/first result", place.last_arrival() - began)
        results = [path for path in place.folder.iterdir() if path.suffix == ".json"]
        self._record.checks["results of an interrupted study"] = len(results)
        if len(results) != 1:
            raise BenchFailed(f"an interrupted study has {len(results)} results, and must have one")


def _wait_told(daemon: Daemon, what: str, give_up_seconds: float) -> None:
    give_up_at = time.monotonic() + give_up_seconds
    while all(told != what for told, _ in moments(daemon.log.read_text().splitlines())):
        if time.monotonic() > give_up_at:
            raise BenchFailed(f"the daemon does not say {what!r} in {give_up_seconds:.0f} s: {daemon.tail()}")
        time.sleep(_POLL_SECONDS)
