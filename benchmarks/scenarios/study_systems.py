"""What takes a series and gives results: the daemon, the bare steps, a day's script, Orthanc with its plugin."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.daemon import Daemon
from benchmarks.peers import dcmtk, orthanc
from benchmarks.peers.day_script import command as day_script_command
from benchmarks.places import DicomPlace, FolderPlace, Place
from benchmarks.record import BenchFailed
from benchmarks.scenarios.following import wait_delivered
from benchmarks.scenarios.study_breakdown import breakdown
from benchmarks.sequential import Sequential
from benchmarks.site import RESERVE_BYTES, write_variant
from edge_runtime.config import Config

EDGE, SEQUENTIAL, DAY_SCRIPT, ORTHANC = "edge", "sequential", "day_script", "orthanc_plugin"
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Measured:
    """One series. `seconds`: less the quiet time, which was `quiet_seconds`; `steps`: as the system tells them."""

    seconds: float
    quiet_seconds: float
    steps: dict[str, Any]


@dataclass(frozen=True)
class System:
    """`measure` gives it the series in a folder."""

    name: str
    place: Place
    measure: Callable[[Path], Measured]


def missing(peers: Iterable[str]) -> dict[str, str]:
    """Of some peers, those that cannot be measured here, and why."""
    why = orthanc.missing(plugin=True)
    return {} if why is None else {peer: why for peer in peers if peer == ORTHANC}


class Systems:
    """Starts systems that answer to one kind of destination, `folder` or `dicom`; they end with the stack."""

    def __init__(
        self, kind: str, path: str, config: Config, work: Path, stack: ExitStack, give_up_seconds: float
    ) -> None:
        self._kind = kind
        self._path = path
        self._pipeline = config.pipelines[0]
        self._engines = [Path(config.engines.path) / stage.engine for stage in self._pipeline.stages]
        self._work = work
        self._stack = stack
        self._give_up_seconds = give_up_seconds

    def start(self, name: str) -> System:
        """Start a system.

        Raises:
            BenchFailed: it does not start, or has no answer for this pipeline.
        """
        makers = {EDGE: self._edge, SEQUENTIAL: self._sequential, DAY_SCRIPT: self._day_script, ORTHANC: self._orthanc}
        folder = self._work / f"at-{name}"
        place = FolderPlace(folder) if self._kind == "folder" else self._stack.enter_context(DicomPlace(folder))
        return System(name, place, makers[name](place))

    def _variant(self, system: str, place: Place) -> Path:
        send: dict[str, object] = {"send_to": [place.document["name"]]}
        return write_variant(self._path, self._work / f"{system}.yaml", send, [place.document])

    def _edge(self, place: Place) -> Callable[[Path], Measured]:
        overrides = [f"spool.reserve_bytes={RESERVE_BYTES}"]
        daemon = self._stack.enter_context(Daemon(self._variant(EDGE, place), self._work / "spool", overrides))
        daemon.wait_ready()
        quiet, studies = self._pipeline.complete_after_seconds, 0

        def measure(folder: Path) -> Measured:
            nonlocal studies
            place.forget()
            told = len(daemon.log.read_text().splitlines())
            sent = dcmtk.send([folder], daemon.dicom_port, tuned=True, verbose=True)
            studies += 1
            wait_delivered(daemon, studies, self._give_up_seconds)
            last = place.last_arrival()
            lines = daemon.log.read_text().splitlines()[told:]
            steps = breakdown(lines, sent.last_response_at, quiet, last, daemon.spool)
            return Measured(last - sent.last_response_at - quiet, quiet, steps)

        return measure

    def _sequential(self, place: Place) -> Callable[[Path], Measured]:
        variant = self._variant(SEQUENTIAL, place)
        process = self._stack.enter_context(Sequential(variant, self._work / "sequential.log"))

        def measure(folder: Path) -> Measured:
            place.forget()
            taken = process.analyse(folder, self._work / f"out-{folder.name}")
            return Measured(sum(taken.values()), 0.0, taken)

        return measure

    def _networks(self, system: str) -> list[Path]:
        if len(self._engines) != 2:
            raise BenchFailed(f"{system} has a locator and a segmenter; leave it out of this scenario's peers")
        networks = [next(iter(sorted(engine.glob("onnxruntime-*/engine.onnx"))), None) for engine in self._engines]
        found = [network for network in networks if network is not None]
        if len(found) < len(networks):
            raise BenchFailed(
                f"{system} runs ONNX files, and an engine has none; leave it out of this scenario's peers"
            )
        return found

    def _day_script(self, place: Place) -> Callable[[Path], Measured]:
        log, quiet = self._work / f"{DAY_SCRIPT}-run.log", self._pipeline.complete_after_seconds
        command = day_script_command(self._networks(DAY_SCRIPT), quiet, place.argument)
        port = self._stack.enter_context(dcmtk.listening(command, log.with_suffix("")))
        return lambda folder: self._follow(DAY_SCRIPT, place, folder, port, log, quiet)

    def _orthanc(self, place: Place) -> Callable[[Path], Measured]:
        quiet = stable_age(self._pipeline.complete_after_seconds)
        networks = self._networks(ORTHANC)
        started = orthanc.with_plugin(self._work / ORTHANC, networks, quiet, place.argument)
        running = self._stack.enter_context(started)

        def measure(folder: Path) -> Measured:
            measured = self._follow(ORTHANC, place, folder, running.dicom_port, running.log, quiet)
            running.empty()
            return measured

        return measure

    def _follow(self, name: str, place: Place, folder: Path, port: int, log: Path, quiet: float) -> Measured:
        """Send a series to a script that says `delivered` with its steps, as JSON, in its log."""
        place.forget()
        told = len(delivered(log))
        sent = dcmtk.send([folder], port, tuned=True, verbose=True)
        give_up_at = time.monotonic() + self._give_up_seconds
        while len(said := delivered(log)) == told:
            if time.monotonic() > give_up_at or "Traceback" in log.read_text():
                raise BenchFailed(f"{name} gave no result: {log.read_text()[-500:]}")
            time.sleep(_POLL_SECONDS)
        return Measured(place.last_arrival() - sent.last_response_at - quiet, quiet, said[-1])


def stable_age(quiet_seconds: float) -> int:
    """Orthanc's StableAge for a quiet time: whole seconds, at least 1."""
    return max(1, math.ceil(quiet_seconds))


def delivered(log: Path) -> list[dict[str, Any]]:
    """What each whole line of a log tells of a study that was delivered."""
    lines = log.read_text(errors="replace").splitlines(keepends=True)
    return [json.loads(line.partition("delivered ")[2]) for line in lines if "delivered {" in line and line[-1] == "\n"]
