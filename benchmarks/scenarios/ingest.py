"""How many instances a second the daemon makes durable, against receivers measured in the same rounds."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.peers import dcmtk
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.schema import Ingest
from benchmarks.site import RESERVE_BYTES, memory_bytes, read_site, settle, work_folder
from benchmarks.slices import CtSlices
from benchmarks.statistics import Target

UNIT = "instances/s"
EDGE = "edge"
_INDEXED = "edge_instances_indexed_total"
_PDU = ("-pdu", "131072")
_INDEX_SECONDS = 120.0

NOTES = [
    "edge: the real daemon with all roles; every instance is fsynced before its response, while infer hashes, reads "
    "and journals the same instances on the same cores. They match no pipeline, so nothing is decoded or inferred.",
    "storescp writes without fsync, decoding nothing. storescp-pdu is its fastest setting found (-pdu 131072).",
    "Time: from the start of storescu to its end, its start and reading of files included, the same for every "
    "receiver. Before each, the disk is synced.",
    "tuned sender: TCP_NODELAY=1 storescu -pdu 131072, and TCP_NODELAY=1 for storescp; stock: neither has it set.",
]


@dataclass(frozen=True)
class _Case:
    name: str
    slices: int
    associations: int
    tuned: bool
    peers: tuple[str, ...]


def cases(scenario: Ingest) -> tuple[_Case, ...]:
    """What is sent how, and to whom beside the daemon."""
    one = ("storescp", "storescp-pdu", "pynetdicom-fsync")
    return (
        _Case("one-association", scenario.slices, 1, True, one),
        _Case(
            f"{scenario.associations}-associations", scenario.slices, scenario.associations, True, ("storescp-fork",)
        ),
        _Case("stock-sender", scenario.stock_slices, 1, False, ("storescp", "storescp-nodelay")),
    )


def targets(scenario: Ingest) -> dict[tuple[str, str], Target]:
    """The bounds of edge's rate divided by a peer's."""
    return {
        ("one-association", "storescp"): Target(0.5, at_least=True, aim=0.8),
        ("one-association", "pynetdicom-fsync"): Target(2.0, at_least=True),
        (f"{scenario.associations}-associations", "storescp-fork"): Target(0.75, at_least=True, aim=1.0),
        ("stock-sender", "storescp"): Target(10.0, at_least=True),
    }


def run(scenario: Ingest, record: Record) -> None:
    """Measure round by round: the daemon, each peer, the disk alone."""
    dcmtk.require_dcmtk()
    record.notes.extend(NOTES)
    read_site(scenario.config, record)
    with work_folder(scenario.work, record) as work:
        slices = CtSlices(max(scenario.slices, scenario.stock_slices))
        overrides = [f"spool.reserve_bytes={RESERVE_BYTES}"]
        with Daemon(Path(scenario.config), work / "spool", overrides) as daemon:
            daemon.wait_ready()
            bench = _Bench(scenario, record, slices, daemon, work)
            for _ in range(scenario.rounds):
                bench.round()
                print(f"round {len(record.figures['disk-alone'].samples)} of {scenario.rounds} done", flush=True)
            record.details["receive_peak_rss_bytes"] = memory_bytes(daemon.role_pids()["receive"], "VmHWM")
        record.details["bytes_an_instance"] = slices.bytes_each


class _Bench:
    """One daemon, one set of slices, and what became durable so far."""

    def __init__(self, scenario: Ingest, record: Record, slices: CtSlices, daemon: Daemon, work: Path) -> None:
        self._scenario = scenario
        self._record = record
        self._slices = slices
        self._daemon = daemon
        self._work = work
        self._acknowledged = 0

    def round(self) -> None:
        """Every case once, daemon and peers one after the other."""
        bounds = targets(self._scenario)
        for case in cases(self._scenario):
            own = f"{case.name}/{EDGE}"
            self._add(own, self._edge(case))
            for peer in case.peers:
                self._add(f"{case.name}/{peer}", self._peer(case, peer))
                name, of = f"{case.name}/{EDGE} : {peer}", (own, f"{case.name}/{peer}")
                self._record.add_ratio(name, of, higher_is_better=True, target=bounds.get((case.name, peer)))
        self._add("disk-alone", self._disk())

    def _add(self, name: str, rate: float) -> None:
        self._record.add(name, rate, UNIT, higher_is_better=True)

    def _sent(self, case: _Case, port: int) -> float:
        """Send the case's slices, under new UIDs; instances a second."""
        folder = self._work / "in"
        folders = self._slices.write(folder, case.slices, case.associations)
        settle()
        sent = dcmtk.send(folders, port, tuned=case.tuned)
        shutil.rmtree(folder)
        return sent.acknowledged / sent.seconds

    def _edge(self, case: _Case) -> float:
        rate = self._sent(case, self._daemon.dicom_port)
        self._acknowledged += case.slices
        kept = list((self._daemon.spool / "instances").rglob("*.dcm"))
        small = [path for path in kept if path.stat().st_size < self._slices.bytes_each - 1024]
        self._record.checks["acknowledged_by_edge"] = self._acknowledged
        self._record.checks["instances_in_its_spool"] = len(kept)
        if len(kept) != self._acknowledged or small:
            raise BenchFailed(
                f"the daemon acknowledged {self._acknowledged} instances, and its spool has {len(kept)}, "
                f"of which {len(small)} are too short: acknowledged images are lost"
            )
        self._wait_indexed()
        return rate

    def _wait_indexed(self) -> None:
        """Until infer has looked at all, so that it does not work during the peer's turn."""
        give_up_at = time.monotonic() + _INDEX_SECONDS
        while self._daemon.metric(_INDEXED) < self._acknowledged:
            if time.monotonic() > give_up_at:
                raise BenchFailed(f"infer did not index {self._acknowledged} instances in {_INDEX_SECONDS:.0f} s")
            time.sleep(0.1)
        unmatched = int(self._daemon.metric(_INDEXED, outcome="unmatched"))
        self._record.checks["instances_that_match_no_pipeline"] = unmatched

    def _peer(self, case: _Case, peer: str) -> float:
        folder = self._work / "peer"
        command = [sys.executable, "-m", "benchmarks.peers.pynetdicom_store", str(folder)]
        receivers: dict[str, Callable[[], AbstractContextManager[int]]] = {
            "storescp": lambda: dcmtk.storescp(folder, no_delay=case.tuned),
            "storescp-nodelay": lambda: dcmtk.storescp(folder, no_delay=True),
            "storescp-pdu": lambda: dcmtk.storescp(folder, *_PDU, no_delay=case.tuned),
            "storescp-fork": lambda: dcmtk.storescp(folder, "--fork", *_PDU, no_delay=case.tuned),
            "pynetdicom-fsync": lambda: dcmtk.listening(command, folder),
        }
        with receivers[peer]() as port:
            rate = self._sent(case, port)
        kept = sum(1 for _ in folder.iterdir())
        shutil.rmtree(folder)
        if kept != case.slices:
            raise BenchFailed(f"{peer} acknowledged {case.slices} instances and has {kept} files")
        return rate

    def _disk(self) -> float:
        """The same bytes written and fsynced, one file after the other, nothing else."""
        folder = self._work / "disk"
        folder.mkdir()
        block = os.urandom(self._slices.bytes_each)
        settle()
        began = time.monotonic()
        for index in range(self._scenario.slices):
            with (folder / str(index)).open("wb") as file:
                file.write(block)
                file.flush()
                os.fsync(file.fileno())
        seconds = time.monotonic() - began
        shutil.rmtree(folder)
        return self._scenario.slices / seconds
