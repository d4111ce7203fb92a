"""What a start costs: memory of each role at rest, and time to readiness, with and without the golden runs."""

from __future__ import annotations

import re
import time
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.schema import Idle
from benchmarks.site import RESERVE_BYTES, children, memory_bytes, read_site, work_folder
from benchmarks.statistics import Target

MEGABYTE = 1_000_000
_WORKERS_SECONDS = 60.0
_GOLDEN = re.compile(r"engine answers its golden input as built .*\bengine=(\S+) .*\bseconds=([0-9.e-]+)")

NOTES = [
    "ready: from the start of the command to the first 200 of /readyz, asked every 20 ms. golden: the networks' time "
    "alone in their golden runs, as the log says; loading, preparing and comparing are not taken off.",
    "Memory is VmRSS, which counts shared pages in every process.",
]


def run(scenario: Idle, record: Record) -> None:
    """Start the daemon on an empty spool, once a round."""
    record.notes.extend(NOTES)
    workers = read_site(scenario.config, record).decode.workers
    with work_folder(scenario.work, record) as work:
        for number in range(1, scenario.rounds + 1):
            _round(scenario, record, work / f"spool-{number}", workers)
            print(f"round {number} of {scenario.rounds} done", flush=True)


def _round(scenario: Idle, record: Record, spool: Path, workers: int) -> None:
    daemon = Daemon(Path(scenario.config), spool, [f"spool.reserve_bytes={RESERVE_BYTES}"])
    began = time.monotonic()
    with daemon:
        daemon.wait_ready()
        ready = time.monotonic() - began
        golden = sum(seconds for _, seconds in golden_runs(daemon.log.read_text()))
        if golden == 0:
            raise BenchFailed("the daemon's log names no golden run")
        targets = scenario.targets
        less = ready - golden
        record.add("ready", ready, "s", higher_is_better=False, target=_at_most(targets.ready_seconds))
        record.add("golden", golden, "s", higher_is_better=False)
        record.add("ready less golden", less, "s", higher_is_better=False,
                   target=_at_most(targets.ready_less_golden_seconds))  # fmt: skip
        roles = daemon.role_pids()
        _wait_for_workers(roles["infer"], workers)
        time.sleep(scenario.settle_seconds)
        groups = {"supervisor": [daemon.pid], **{role: [pid] for role, pid in roles.items()}}
        groups["decode workers"] = children(roles["infer"])
        bounds = {"receive": targets.receive_megabytes, "infer": targets.infer_megabytes}
        for name, pids in groups.items():
            rss = sum(memory_bytes(pid) for pid in pids) / MEGABYTE
            record.add(f"rss/{name}", rss, "MB", higher_is_better=False, target=_at_most(bounds.get(name)))


def golden_runs(log: str) -> list[tuple[str, float]]:
    """Each engine's golden run that a daemon's log tells of, in order: its name, and the network's seconds."""
    return [(engine, float(seconds)) for engine, seconds in _GOLDEN.findall(log)]


def _wait_for_workers(infer: int, count: int) -> None:
    """They are started when infer is ready."""
    give_up_at = time.monotonic() + _WORKERS_SECONDS
    while len(children(infer)) < count:
        if time.monotonic() > give_up_at:
            raise BenchFailed(f"infer has not started its {count} decode workers in {_WORKERS_SECONDS:.0f} s")
        time.sleep(0.05)


def _at_most(bound: float | None) -> Target | None:
    return None if bound is None else Target(bound, at_least=False)
