"""A frame's whole way on a GPU: from pinned memory of the host to the answers, against the bare engines in turn."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.live.site import prepare_site
from benchmarks.load.arrivals import Mode
from benchmarks.measured import Accelerator
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.gpu_frame_bare import FrameTimes
from benchmarks.scenarios.gpu_frame_schema import GpuFrame
from benchmarks.scenarios.gpu_frame_sides import GRAPHS, Sides
from benchmarks.site import work_folder
from benchmarks.statistics import Target, median, percentile
from edge_runtime.config import Config
from edge_runtime.device.probe import asked
from edge_runtime.yaml_schema import read_schema

EDGE, BARE = "edge", "bare"
END_TO_END_TARGET = Target(1.05, at_least=False)
HOST_TARGET = Target(150.0, at_least=False)
"""Microseconds a frame, where the frame is launched as graphs."""
OVERLAPPED_TARGET = Target(0.95, at_least=True)
TAIL_TARGET = Target(1.3, at_least=False)
ALLOCATIONS_TARGET = Target(0.0, at_least=False)
_WARM_UP = 20  # frames

NOTES = [
    "edge: the pipeline as the runtime runs it, from a uint8 picture of 640 x 360 in pinned memory of the host until "
    "the findings are there. bare: the same engines, each as often as edge runs it on these frames: copy in of its "
    "prepared input from pinned memory, compute, copy out; one stream, one wait at the end, no recipe, no decoding.",
    "end to end: by the host's clock on both sides. by events: edge by the host's clock, bare between the events "
    "around its first copy in and its last copy out, as trtexec counts.",
    "host time: processor time of the thread in a frame; a blocking wait takes none, a spinning one would count.",
    "graphs, plain: with CUDA graphs, and without. overlapped: frames a second with several under way; bare keeps two.",
    "cost N: the towers of the networks N times as deep. The runtime's own part of a frame hardly depends on it.",
]


def run(scenario: GpuFrame, record: Record) -> None:
    """Each cost in turn: load both sides, warm up, then the rounds.

    Raises:
        BenchFailed: there is no GPU.
    """
    there = asked()
    if isinstance(there, str):
        raise BenchFailed(f"this scenario needs CUDA: {there}")
    record.notes.extend(NOTES)
    with work_folder(scenario.work, record) as work:
        costs = scenario.costs if scenario.pipeline == "synthetic" else (1,)
        for cost in costs:
            _measure(scenario, record, work / f"cost-{cost}", cost)


def _measure(scenario: GpuFrame, record: Record, work: Path, cost: int) -> None:
    work.mkdir()
    site = prepare_site(scenario.pipeline, work, record, scenario.distinct, "cuda", cost)
    record.on_a_gpu()
    config = read_schema(Config, site.config(work / "gpu.yaml", 1.0, backend=scenario.backend))
    with ExitStack() as stack:
        sides = stack.enter_context(Sides(config, site.frames, scenario.lanes))
        record.details[f"cost {cost}/device"] = sides.facts
        record.checks[f"cost {cost}/runs of the engines in a frame"] = sides.sequence
        record.checks[f"cost {cost}/frames with the same answers on GPU and CPU"] = sides.check()
        bench = _Bench(scenario, record, sides, f"cost {cost}")
        for number in range(1, scenario.rounds + 1):
            bench.round(number)
            print(f"cost {cost}: round {number} of {scenario.rounds} done", flush=True)


class _Bench:
    """The rounds of one cost."""

    def __init__(self, scenario: GpuFrame, record: Record, sides: Sides, name: str) -> None:
        self._scenario, self._record, self._sides, self._name = scenario, record, sides, name
        for mode, why in sides.fallbacks.items():
            record.problem(f"{name}: {mode}: {why}")
        for mode in sides.modes:
            sides.edge(mode, _WARM_UP)
            sides.bare(mode, _WARM_UP)
        record.details[f"{name}/what the pipeline did until then"] = sides.told.counts

    def round(self, number: int) -> None:
        """Each mode in turn, the sides in the other order every second round."""
        for mode in self._sides.modes[:: 1 if number % 2 else -1]:
            self._single_stream(mode, number)
            self._overlapped(mode, number)

    def _single_stream(self, mode: str, number: int) -> None:
        case, found, allocated = f"{self._name}, {mode}", {}, 0
        for side in (EDGE, BARE) if number % 2 else (BARE, EDGE):
            before = self._sides.allocations(mode)
            play = self._sides.edge if side == EDGE else self._sides.bare
            found[side] = play(mode, self._scenario.frames, self._scenario.seconds)
            if side == EDGE:
                allocated = self._sides.allocations(mode) - before
        for side, times in found.items():
            self._record.add_latencies(f"{case}/{side}", Mode.SINGLE_STREAM, times.wall, device=Accelerator.GPU,
                                       warm_up=0 if number > 1 else _WARM_UP)  # fmt: skip
            self._add(f"{case}/{side}", 1000 * median(times.wall), "ms")
            target = HOST_TARGET if mode == GRAPHS and side == EDGE and mode not in self._sides.fallbacks else None
            self._add(f"{case}/{side}, host time", 1e6 * median(times.host), "us", target)
        self._tail_and_ratios(case, found)
        counts = self._record.checks.setdefault("allocations in all counted frames", {})
        counts[case] = counts.get(case, 0) + allocated
        self._add(f"{case}/allocations a frame", allocated / len(found[EDGE].wall), "allocations", ALLOCATIONS_TARGET)

    def _tail_and_ratios(self, case: str, found: dict[str, FrameTimes]) -> None:
        walls = found[EDGE].wall
        self._add(f"{case}/p99 : p50", percentile(walls, 99) / median(walls), "ratio", TAIL_TARGET)
        self._add(f"{case}/bare by events", 1000 * median(found[BARE].device), "ms")
        for what, below in (("end to end, edge : bare", f"{case}/{BARE}"), ("by events", f"{case}/bare by events")):
            self._record.add_ratio(f"{case}/{what}", (f"{case}/{EDGE}", below), higher_is_better=False,
                                   target=END_TO_END_TARGET)  # fmt: skip

    def _overlapped(self, mode: str, number: int) -> None:
        case, seconds = f"{self._name}, {mode}", self._scenario.saturated_seconds
        for side in (EDGE, BARE) if number % 2 else (BARE, EDGE):
            play = self._sides.edge_overlapped if side == EDGE else self._sides.bare_overlapped
            self._record.add(f"{case}/overlapped {side}", play(mode, seconds), "frames/s", higher_is_better=True,
                             device=Accelerator.GPU)  # fmt: skip
        of = (f"{case}/overlapped {EDGE}", f"{case}/overlapped {BARE}")
        self._record.add_ratio(f"{case}/overlapped, edge : bare", of, higher_is_better=True, target=OVERLAPPED_TARGET)

    def _add(self, name: str, value: float, unit: str, target: Target | None = None) -> None:
        self._record.add(name, value, unit, higher_is_better=False, target=target, device=Accelerator.GPU)
