"""A number of instances dealt to more and more associations: what receiving one costs, beside `storescp --fork`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.peers import dcmtk
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.scaling_curves import add_cost, processor_seconds
from benchmarks.scenarios.scaling_schema import ASSOCIATIONS, Scaling
from benchmarks.scenarios.scaling_sites import build_volume_engine, write_site
from benchmarks.site import settle
from benchmarks.slices import CtSlices

EDGE, PEER = "edge", "storescp --fork"
_ENGINE = "bright"
_INDEXED = "edge_instances_indexed_total"
_INDEX_SECONDS = 120.0


class AssociationsPart:
    """A daemon a round, on an empty spool; the instances match no pipeline, as in the scenario `ingest`."""

    def __init__(self, scenario: Scaling, record: Record, work: Path) -> None:
        dcmtk.require_dcmtk()
        self._scenario, self._record, self._work = scenario, record, work
        build_volume_engine(work / "engines", _ENGINE)
        most = max(scenario.associations)
        pipeline = {"name": "mr", "match": {"modality": "MR"}, "stages": [{"name": _ENGINE, "engine": _ENGINE}]}
        dicom = {"maximum_associations": most, "maximum_associations_per_caller": most}
        self._config = write_site(work / "associations.yaml", work / "engines", [pipeline], record,
                                  receive={"dicom": dicom})  # fmt: skip
        self._slices = CtSlices(scenario.instances)
        self._rounds = 0

    def round(self, sizes: Sequence[int]) -> None:
        """Every number of associations to the daemon and to its peer, in the other order every second round."""
        self._rounds += 1
        spool = self._work / f"spool-{self._rounds}"
        with Daemon(self._config, spool) as daemon:
            daemon.wait_ready()
            self._warm(daemon)
            for position, size in enumerate(sizes):
                systems: list[Callable[[int], None]] = [partial(self._edge, daemon), self._peer]
                for measure in systems[:: 1 if (self._rounds + position) % 2 else -1]:
                    measure(size)
                of = f"{size} {ASSOCIATIONS}/{EDGE}", f"{size} {ASSOCIATIONS}/{PEER}"
                self._record.add_ratio(f"{size} {ASSOCIATIONS}/{EDGE} : {PEER}", of, higher_is_better=False)
        shutil.rmtree(spool)

    def _edge(self, daemon: Daemon, size: int) -> None:
        processes = [daemon.pid, *daemon.role_pids().values()]
        before, known = sum(map(processor_seconds, processes)), daemon.metric(_INDEXED)
        self._add(EDGE, size, self._send(daemon.dicom_port, size, self._scenario.instances))
        _wait_indexed(daemon, known + self._scenario.instances)
        took = sum(map(processor_seconds, processes)) - before
        self._cost("associations/edge processor", size, took)

    def _warm(self, daemon: Daemon) -> None:
        """An association that does not count: the first loads what the others find loaded."""
        self._send(daemon.dicom_port, 1, 1)
        _wait_indexed(daemon, 1)

    def _peer(self, size: int) -> None:
        folder = self._work / "peer"
        with dcmtk.storescp(folder, "--fork", *dcmtk.SENDER_PDU, no_delay=True) as port:
            self._add(PEER, size, self._send(port, size, self._scenario.instances))
        kept = sum(1 for _ in folder.iterdir())
        shutil.rmtree(folder)
        if kept != self._scenario.instances:
            raise BenchFailed(f"storescp acknowledged {self._scenario.instances} instances and has {kept} files")

    def _send(self, port: int, size: int, instances: int) -> float:
        folder = self._work / "in"
        folders = self._slices.write(folder, instances, size)
        settle()
        seconds = dcmtk.send(folders, port, tuned=True).seconds
        shutil.rmtree(folder)
        return seconds

    def _add(self, system: str, size: int, seconds: float) -> None:
        self._cost(f"associations/{system}", size, seconds)
        each = 1000 * seconds / self._scenario.instances
        self._record.add(f"{size} {ASSOCIATIONS}/{system}", each, "ms/instance", higher_is_better=False)

    def _cost(self, curve: str, size: int, seconds: float) -> None:
        add_cost(self._record, curve, ASSOCIATIONS, size, 1000 * seconds, self._scenario.instances, "ms/instance")


def _wait_indexed(daemon: Daemon, wanted: float) -> None:
    """Until infer has looked at all, so that it does not work during the peer's turn."""
    give_up_at = time.monotonic() + _INDEX_SECONDS
    while daemon.metric(_INDEXED) < wanted:
        if time.monotonic() > give_up_at:
            raise BenchFailed(f"infer did not index {wanted:.0f} instances in {_INDEX_SECONDS:.0f} s: {daemon.tail()}")
        time.sleep(0.1)
