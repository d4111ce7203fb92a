"""How many instances a second the daemon makes durable, against receivers measured in the same rounds."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.load.arrivals import LOADGEN_MINIMUM_QUERIES, LOADGEN_MINIMUM_SECONDS, Mode
from benchmarks.peers import dcmtk
from benchmarks.peers.dcmtk import Sent
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.ingest_receivers import Receivers, missing
from benchmarks.scenarios.schema import Ingest
from benchmarks.site import RESERVE_BYTES, memory_bytes, read_site, settle, work_folder
from benchmarks.slices import CtSlices
from benchmarks.statistics import Target, median

UNIT = "instances/s"
EDGE, LATENCY = "edge", "latency"
_INDEXED = "edge_instances_indexed_total"
_INDEX_SECONDS = 120.0
_WARM_UP_SHARE = 20

NOTES = [
    "edge: the real daemon with all roles; every instance is fsynced before its response, while infer hashes, reads "
    "and journals the same instances on the same cores. They match no pipeline, so nothing is decoded or inferred.",
    "storescp writes without fsync, decoding nothing. storescp-pdu is its fastest setting found (-pdu 131072).",
    "pynetdicom: AE, EVT_C_STORE and save_as, as its examples have it, without fsync; pynetdicom-fsync: raw write and "
    "fsync.",
    "orthanc: as installed, which syncs each file (SyncStorageArea true) and not its SQLite index (WAL, synchronous "
    "NORMAL); orthanc-fastest: PDUs of 131072 bytes, no MD5 of files, no fsync. It goes on from round to round, and is "
    "emptied outside of the measured time.",
    "latency: from each C-STORE request of one verbose storescu to its response, its reading of the file excluded; "
    f"one in {_WARM_UP_SHARE}, the first of a round, is warm-up. Closed loop: one request after the other.",
    "Time: from the start of storescu to its end, its start and reading of files included, the same for every "
    "receiver. Before each, the disk is synced.",
    "tuned sender: TCP_NODELAY=1 storescu -pdu 131072, and TCP_NODELAY=1 for storescp and Orthanc, which is built on "
    "the same library; stock: none of them has it set.",
]


@dataclass(frozen=True)
class _Case:
    name: str
    slices: int
    associations: int
    tuned: bool
    peers: tuple[str, ...]
    serial: bool = False  # latency of each instance instead of instances a second


def cases(scenario: Ingest) -> tuple[_Case, ...]:
    """What is sent how, and to whom beside the daemon."""
    one = ("storescp", "storescp-pdu", "pynetdicom-fsync", "pynetdicom", "orthanc", "orthanc-fastest")
    several = f"{scenario.associations}-associations"
    return (
        _Case("one-association", scenario.slices, 1, True, one),
        _Case(several, scenario.slices, scenario.associations, True, ("storescp-fork", "orthanc")),
        _Case("stock-sender", scenario.stock_slices, 1, False, ("storescp", "storescp-nodelay", "orthanc")),
        _Case(LATENCY, scenario.slices, 1, True, ("storescp", "orthanc"), serial=True),
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
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        slices = CtSlices(max(scenario.slices, scenario.stock_slices))
        overrides = [f"spool.reserve_bytes={RESERVE_BYTES}"]
        daemon = stack.enter_context(Daemon(Path(scenario.config), work / "spool", overrides))
        daemon.wait_ready()
        bench = _Bench(scenario, record, slices, daemon, work, Receivers(work, slices.bytes_each, stack))
        for number in range(1, scenario.rounds + 1):
            bench.round(number)
            print(f"round {number} of {scenario.rounds} done", flush=True)
        record.details["receive_peak_rss_bytes"] = memory_bytes(daemon.role_pids()["receive"], "VmHWM")
        record.details["bytes_an_instance"] = slices.bytes_each
        state_shortfall(record)


def state_shortfall(record: Record) -> None:
    """State which latencies are fewer than LoadGen asks for."""
    for name, kept in record.latencies.items():
        taken = [one for samples in kept.rounds for one in samples]
        if len(taken) < LOADGEN_MINIMUM_QUERIES or sum(taken) / 1000 < LOADGEN_MINIMUM_SECONDS:
            record.problem(
                f"{name}: {len(taken)} queries of {sum(taken) / 1000:.1f} s in all; LoadGen's minimum is "
                f"{LOADGEN_MINIMUM_QUERIES} queries and {LOADGEN_MINIMUM_SECONDS:.0f} s, both"
            )


class _Bench:
    """One daemon, one set of slices, and what became durable so far."""

    def __init__(
        self, scenario: Ingest, record: Record, slices: CtSlices, daemon: Daemon, work: Path, receivers: Receivers
    ) -> None:
        self._scenario = scenario
        self._record = record
        self._slices = slices
        self._daemon = daemon
        self._work = work
        self._receivers = receivers
        self._acknowledged = 0

    def round(self, number: int) -> None:
        """Every case once, daemon and peers one after the other; the other way round in every second round."""
        bounds = targets(self._scenario)
        for case in cases(self._scenario):
            absent = missing(case.peers)
            for peer, why in absent.items():
                self._record.problem(f"peer {peer} was not measured: {why}")
            peers = [peer for peer in case.peers if peer not in absent]
            systems = [EDGE, *peers]
            for system in systems if number % 2 else reversed(systems):
                self._add(case, system, self._edge(case) if system == EDGE else self._peer(case, system))
            for peer in peers:
                self._record.add_ratio(
                    f"{case.name}/{EDGE} : {peer}", (f"{case.name}/{EDGE}", f"{case.name}/{peer}"),
                    higher_is_better=not case.serial, target=bounds.get((case.name, peer)),
                )  # fmt: skip
        self._record.add("disk-alone", self._disk(), UNIT, higher_is_better=True)

    def _add(self, case: _Case, system: str, sent: Sent) -> None:
        name = f"{case.name}/{system}"
        if not case.serial:
            self._record.add(name, sent.acknowledged / sent.seconds, UNIT, higher_is_better=True)
            return
        warm_up = -(-sent.acknowledged // _WARM_UP_SHARE)
        counted = sent.response_seconds[warm_up:]
        self._record.add_latencies(name, Mode.SINGLE_STREAM, counted, warm_up=warm_up)
        self._record.add(name, 1000 * median(counted), "ms", higher_is_better=False)

    def _send(self, case: _Case, port: int) -> Sent:
        """Send the case's slices, under new UIDs."""
        folder = self._work / "in"
        folders = self._slices.write(folder, case.slices, case.associations)
        settle()
        sent = dcmtk.send(folders, port, tuned=case.tuned, verbose=case.serial)
        shutil.rmtree(folder)
        return sent

    def _edge(self, case: _Case) -> Sent:
        sent = self._send(case, self._daemon.dicom_port)
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
        return sent

    def _wait_indexed(self) -> None:
        """Until infer has looked at all, so that it does not work during the peer's turn."""
        give_up_at = time.monotonic() + _INDEX_SECONDS
        while self._daemon.metric(_INDEXED) < self._acknowledged:
            if time.monotonic() > give_up_at:
                raise BenchFailed(f"infer did not index {self._acknowledged} instances in {_INDEX_SECONDS:.0f} s")
            time.sleep(0.1)
        unmatched = int(self._daemon.metric(_INDEXED, outcome="unmatched"))
        self._record.checks["instances_that_match_no_pipeline"] = unmatched

    def _peer(self, case: _Case, peer: str) -> Sent:
        sent, kept = self._receivers.receive(peer, case.tuned, lambda port: self._send(case, port))
        if kept != case.slices:
            raise BenchFailed(f"{peer} acknowledged {case.slices} instances and has {kept} whole ones")
        return sent

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
