"""Many series at once: how many a minute, against the bare engines on the same images, and is memory flat?"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from benchmarks.daemon import Daemon
from benchmarks.peers import dcmtk
from benchmarks.places import Answers, FolderPlace, answers
from benchmarks.record import BenchFailed, Record
from benchmarks.sampler import Sample, Sampler, cpu_seconds
from benchmarks.scenarios.following import moments, wait_delivered
from benchmarks.scenarios.schema import Queue
from benchmarks.scenarios.series import phantoms
from benchmarks.sequential import Sequential
from benchmarks.site import RESERVE_BYTES, children, read_site, settle, work_folder, write_variant
from benchmarks.slices import write_again
from benchmarks.statistics import Target

MEGABYTE = 1_000_000
UNIT = "series/min"
ENGINES_TARGET = Target(0.9, at_least=True)
GROWTH_TARGET = Target(20.0, at_least=False)
_DEADLINE_SECONDS = 86_400.0
_POLL_SECONDS = 1.0
_CURVE_POINTS = 50

NOTES = [
    "edge: from the first 'series complete' of the daemon's log, when all images were received, to the time stamp of "
    "the last result file in the folder. What it decoded before is part of its design: it uses the quiet time.",
    "engines: the time inside InferenceSession.run alone, one thread a core, of one process that analyses the same "
    "series one after the other with nothing in between; sequential: all that this process does for them.",
    "cpu: user and system time of each role from the first 'series complete' to the last result; sequential/cpu: of "
    "that process. 'cores in use' is the share of all cores' time that the daemon's processes took.",
    "infer growth: the most that infer holds (VmRSS) after the named number of series, less what it held then.",
    "The deadline is a day here, for behind a queue optional stages would be left out, and the work would not compare.",
]


def run(scenario: Queue, record: Record) -> None:
    """A queue that does not count, with each distinct series once, then the rounds."""
    dcmtk.require_dcmtk()
    record.notes.extend(NOTES)
    read_site(scenario.config, record)
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        bench = _Bench(scenario, record, work, stack)
        bench.queue("warm", scenario.distinct)
        for number in range(1, scenario.rounds + 1):
            edge, bare = bench.queue(f"round-{number}", scenario.series, edge_first=number % 2 == 1)
            add_round(record, scenario.series, edge, bare)
            print(f"round {number} of {scenario.rounds} done", flush=True)


@dataclass(frozen=True)
class Edge:
    """What the daemon did with one queue. growth_bytes: of infer, after `settled_after` series."""

    seconds: float
    engine_seconds: float
    cpu_seconds: dict[str, float]
    cpu_seconds_before: dict[str, float]
    rss_bytes: dict[str, list[int]]
    growth_bytes: int
    received_in_time: bool


@dataclass(frozen=True)
class Bare:
    """What the process without a runtime did with the same queue."""

    steps: dict[str, float]
    cpu_seconds: float


class _Bench:
    """The daemon and the bare process side by side, given one queue after the other."""

    def __init__(self, scenario: Queue, record: Record, work: Path, stack: ExitStack) -> None:
        self._scenario = scenario
        self._record = record
        self._work = work
        self._phantoms = phantoms(scenario.distinct, scenario.slices, scenario.matrix, work)
        self._edge_place, self._bare_place = FolderPlace(work / "at-edge"), FolderPlace(work / "at-sequential")
        overrides = [f"spool.reserve_bytes={RESERVE_BYTES}"]
        self._daemon = stack.enter_context(Daemon(self._variant("edge", self._edge_place), work / "spool", overrides))
        self._daemon.wait_ready()
        variant = self._variant("sequential", self._bare_place)
        self._sequential = stack.enter_context(Sequential(variant, work / "sequential.log"))
        self._delivered = 0

    def _variant(self, name: str, place: FolderPlace) -> Path:
        pipeline: dict[str, object] = {
            "send_to": [place.document["name"]],
            "complete_after_seconds": self._scenario.quiet_seconds,
            "deadline_seconds": _DEADLINE_SECONDS,
        }
        return write_variant(self._scenario.config, self._work / f"{name}.yaml", pipeline, [place.document])

    def queue(self, name: str, count: int, edge_first: bool = True) -> tuple[Edge, Bare]:
        """Have both sides do the same series, one side after the other, under UIDs never seen before.

        Raises:
            BenchFailed: a series was not delivered, or the two sides did not do the same.
        """
        incoming = self._work / name
        series = [self._write(index, name, incoming) for index in range(count)]
        settle()
        senders = sorted({one.parent for one in series})
        if edge_first:
            edge, bare = self._edge(senders, count), self._bare(series)
        else:
            bare, edge = self._bare(series), self._edge(senders, count)
        alike = same_answers(answers(self._edge_place.files()), answers(self._bare_place.files()), count)
        self._record.checks.update(alike)
        shutil.rmtree(incoming)
        return edge, bare

    def _write(self, index: int, name: str, incoming: Path) -> Path:
        original: Sequence[Dataset] = self._phantoms[index % len(self._phantoms)]
        sender = incoming / str(index % self._scenario.associations)
        return write_again(original, sender / f"{index:03d}", f"{name}-{index}")

    def _edge(self, senders: Sequence[Path], count: int) -> Edge:
        daemon, place = self._daemon, self._edge_place
        place.forget()
        told = len(daemon.log.read_text().splitlines())
        engines_before = daemon.metric("edge_engine_seconds_sum")
        roles = daemon.role_pids()
        groups = {
            "supervisor": [daemon.pid], **{role: [pid] for role, pid in roles.items()},
            "decode workers": children(roles["infer"]),
        }  # fmt: skip
        with Sampler(groups) as sampler:
            dcmtk.send(senders, daemon.dicom_port, tuned=True)
            sent_at = time.time()
            self._delivered += count
            wait_delivered(daemon, self._delivered, self._scenario.give_up_seconds, _POLL_SECONDS)
        ended = place.last_arrival()
        events = list(moments(daemon.log.read_text().splitlines()[told:]))
        began = min(at for what, at in events if what == "series complete")
        concluded = sorted(at for what, at in events if what == "job concluded")
        first, start, end = sampler.samples[0], sampler.at(began), sampler.at(ended)
        settled_at = concluded[min(self._scenario.settled_after, count) - 1]
        return Edge(
            seconds=ended - began,
            engine_seconds=daemon.metric("edge_engine_seconds_sum") - engines_before,
            cpu_seconds={name: end.cpu_seconds[name] - start.cpu_seconds[name] for name in groups},
            cpu_seconds_before={name: start.cpu_seconds[name] - first.cpu_seconds[name] for name in groups},
            rss_bytes={name: [one.rss_bytes[name] for one in sampler.samples] for name in groups},
            growth_bytes=growth_bytes(sampler.samples, "infer", settled_at),
            received_in_time=sent_at <= began,
        )

    def _bare(self, series: Sequence[Path]) -> Bare:
        self._bare_place.forget()
        steps: dict[str, float] = {}
        before = cpu_seconds(self._sequential.pid)
        for one in series:
            out = self._work / f"out-{one.parent.parent.name}-{one.name}"
            for step, seconds in self._sequential.analyse(one, out).items():
                steps[step] = steps.get(step, 0.0) + seconds
        return Bare(steps, cpu_seconds(self._sequential.pid) - before)


def growth_bytes(samples: Sequence[Sample], role: str, settled_at: float) -> int:
    """The most that a role holds after a moment (Unix seconds), less what it held then; 0 where it never grew."""
    later = [sample.rss_bytes[role] for sample in samples if sample.at >= settled_at] or [samples[-1].rss_bytes[role]]
    return max(later) - later[0]


def same_answers(edge: Answers, bare: Answers, count: int) -> dict[str, int]:
    """How many series came out, and came out alike.

    Raises:
        BenchFailed: not all did, with the same stages run and the same answers on both sides.
    """
    same = sum(1 for uid, said in edge.items() if bare.get(uid) == said)
    positive = sum(1 for said in edge.values() if any(part[-1] == "positive" for part in said))
    if not len(edge) == same == count:
        raise BenchFailed(f"of {count} series {len(edge)} were delivered, {same} with sequential's answers")
    return {"series delivered": len(edge), "with the same answers as sequential": same, "positive": positive}


def add_round(record: Record, count: int, edge: Edge, bare: Bare) -> None:
    """Add a round of `count` series to the record."""
    rates = {"edge": edge.seconds, "engines": bare.steps["inference"], "sequential": sum(bare.steps.values())}
    for name, seconds in rates.items():
        record.add(name, 60 * count / seconds, UNIT, higher_is_better=True)
    for peer, target in (("engines", ENGINES_TARGET), ("sequential", None)):
        record.add_ratio(f"edge : {peer}", ("edge", peer), higher_is_better=True, target=target)
    growth = edge.growth_bytes / MEGABYTE
    record.add("infer growth", growth, "MB", higher_is_better=False, target=GROWTH_TARGET)
    share = sum(edge.cpu_seconds.values()) / (len(os.sched_getaffinity(0)) * edge.seconds)
    record.add("cores in use", share, "share", higher_is_better=True)
    seconds_of = {
        "edge/in engines": edge.engine_seconds,
        **{f"cpu/{role}": seconds for role, seconds in edge.cpu_seconds.items()},
        "sequential/cpu": bare.cpu_seconds,
        **{f"sequential/{step}": seconds for step, seconds in bare.steps.items()},
    }
    for name, seconds in seconds_of.items():
        record.add(name, seconds, "s", higher_is_better=False)
    _add_memory(record, edge.rss_bytes)
    record.details.setdefault("cpu seconds while the series arrive", []).append(edge.cpu_seconds_before)
    if not edge.received_in_time:
        record.problems.append("a job began before all series were received: raise quiet_seconds")


def _add_memory(record: Record, rss_bytes: dict[str, list[int]]) -> None:
    curve = [round(size / MEGABYTE, 1) for size in rss_bytes["infer"]]
    megabytes = {f"rss/{role}/most": max(sizes) / MEGABYTE for role, sizes in rss_bytes.items()}
    for name, size in (*megabytes.items(), ("rss/infer/before", curve[0]), ("rss/infer/after", curve[-1])):
        record.add(name, size, "MB", higher_is_better=False)
    some = curve[:: max(1, len(curve) // _CURVE_POINTS)]
    record.details.setdefault("infer's resident megabytes over time", []).append(some)
