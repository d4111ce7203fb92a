"""Live frames: what the runtime adds to the same recipes and engines in sequence; and from a camera to the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.devices import CUDA
from benchmarks.live.bare import NEWEST, Done, Request
from benchmarks.live.bench import LIVE_NOTES, ROLE_MODULE, CpuTime, LiveBench
from benchmarks.live.infer import LiveInfer, Played
from benchmarks.live.waterfall import PARTS_NOTE, add_parts, parts_of
from benchmarks.load.arrivals import Mode
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.camera import begin_camera
from benchmarks.scenarios.live_schema import Video
from benchmarks.site import work_folder
from benchmarks.statistics import Target, median, percentile

HALF = "half load"
ADDED_TARGET = Target(1.0, at_least=False)
ADDED_P99_TARGET = Target(4.0, at_least=False)
SATURATED_TARGET = Target(0.95, at_least=True)
ALLOWED_SHARE, ALLOWED_MS = 0.05, 1.0
_OFFERED = 1.5  # times the capacity, to saturate
_PROBE_SECONDS = 2.0

_LOST_SHARE = 0.01
"""Of the frames: so many without a result would be all that a p99 looks at."""

NOTES = [
    *LIVE_NOTES,
    "added: the latency of edge less that of bare, frame by frame of a round; the median, and p99. allowed: 5 % of "
    "bare's median + 1 ms.",
    "half load: half as many frames a second as bare analyses one after the other, measured at the start.",
    f"saturated: edge is offered {_OFFERED:g} times what bare analysed in its last turn.",
    "frames left out: each latency is that of the next frame, by number, that is not among them.",
    PARTS_NOTE,
]


ON_A_GPU = (
    "On a GPU bare is the runtime's own pipeline in a process of its own, one frame after the other, without slot, "
    "scheduler and lanes."
)


def run(scenario: Video, record: Record, module: str = ROLE_MODULE) -> None:
    """A part that does not count, then the rounds. `module` is what runs as `infer`."""
    record.notes.extend(NOTES)
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        bench = LiveBench(scenario.pipeline, scenario.distinct, scenario.threads, work, record, stack, scenario.device)
        if scenario.device == CUDA:
            record.on_a_gpu()
            record.notes.append(ON_A_GPU)
        infer = bench.infer("edge", scenario.deadline_seconds, module)
        capacity = bench.fastest(min(_PROBE_SECONDS, scenario.seconds)).rate
        cases = rates(scenario, capacity, record)
        at_camera = begin_camera(scenario, capacity, bench.site, work, record, stack)
        for number in range(1, scenario.rounds + 1):
            for name, rate in cases.items():
                _latency(bench, infer, record, Case(name, rate, scenario.seconds, edge_first=number % 2 == 0))
            _saturated(bench, infer, record, scenario.saturated_seconds, edge_first=number % 2 == 0)
            if at_camera is not None:
                at_camera.round(number)
            print(f"round {number} of {scenario.rounds} done", flush=True)
        for outcome in ("superseded", "dropped", "late", "failed", "overtaken"):
            record.checks[f"frames of edge: {outcome}"] = int(infer.metric("edge_video_frames_total", outcome=outcome))


@dataclass(frozen=True)
class Case:
    """Frames a second for some seconds on each side, and who begins."""

    name: str
    rate: float
    seconds: float
    edge_first: bool


def rates(scenario: Video, capacity: float, record: Record) -> dict[str, float]:
    """Frames a second of each case."""
    record.checks["bare's frames a second, at the start"] = round(capacity, 1)
    asked = scenario.frames_per_second
    cases = {HALF: capacity / 2}
    if asked <= scenario.highest_load * capacity:
        cases[f"{asked:g}/s"] = asked
    else:
        record.problems.append(f"{asked:g} frames a second are {asked / capacity:.0%} of the capacity: not measured")
    return cases


def _latency(bench: LiveBench, infer: LiveInfer, record: Record, case: Case) -> None:
    request = Request(NEWEST, case.rate, case.seconds)
    edge = _edge(bench, infer, request, case.name) if case.edge_first else None
    cpu = CpuTime(bench.bare.pid)
    bare = bench.bare.play(request)
    bench.detail(f"{case.name}/bare, processor ms a frame", cpu.milliseconds(len(bare.numbers)))
    if edge is None:
        edge = _edge(bench, infer, request, case.name)
    add_latencies(record, case.name, edge, bare, case.rate)
    add_parts(record, f"{case.name}/edge", [parts_of(one) for one in edge.results])
    every = set(range(request.count))
    left_out = {"edge": every - {one.number for one in edge.results}, "bare": every - set(bare.numbers)}
    bench.detail(f"{case.name}/frames left out", {name: sorted(numbers) for name, numbers in left_out.items()})


def _edge(bench: LiveBench, infer: LiveInfer, request: Request, name: str) -> Played:
    cpu = CpuTime(infer.pid)
    played = infer.play(bench.frames, request.rate, request.count)
    bench.same_answers(played)
    bench.detail(f"{name}/edge, processor ms a frame", cpu.milliseconds(len(played.results)))
    bench.detail(f"{name}/published late by ms, p50 and p99", [1000 * percentile(played.lags, p) for p in (50, 99)])
    return played


def in_ms(played: Played) -> dict[int, float]:
    """Latencies by number of frame, in ms."""
    return dict(zip((one.number for one in played.results), _rounded(played.latencies), strict=True))


def _rounded(seconds: Sequence[float]) -> list[float]:
    return [round(1000 * one, 3) for one in seconds]


def added_ms(edge: Mapping[int, float], bare: Mapping[int, float]) -> list[float]:
    """What each frame that both have took longer."""
    return [edge[number] - bare[number] for number in edge.keys() & bare.keys()]


def add_latencies(record: Record, name: str, edge: Played, bare: Done, rate: float) -> None:
    """Add a round of one case, in which `rate` frames came a second.

    Raises:
        BenchFailed: the two sides have no frame in common.
    """
    ours, theirs = in_ms(edge), dict(zip(bare.numbers, _rounded(bare.latencies), strict=True))
    added = added_ms(ours, theirs)
    if not added:
        raise BenchFailed(f"{name}: edge has analysed {len(ours)} frames, bare {len(theirs)}, and none is the same")
    record.details.setdefault(f"{name}/frames that both analysed", []).append(len(added))
    if edge.unanswered > _LOST_SHARE * len(edge.lags):
        record.problem(f"{name}: {edge.unanswered} of {len(edge.lags)} frames had no result of edge: its p99, and what "
                       "it adds, are of the others")  # fmt: skip
    record.add_latencies(f"{name}/edge", Mode.FIXED_RATE, edge.latencies, unanswered=edge.unanswered, rate=rate)
    unanswered = len(edge.lags) - len(bare.numbers)
    record.add_latencies(f"{name}/bare", Mode.FIXED_RATE, bare.latencies, unanswered=unanswered, rate=rate)
    middle = median(list(theirs.values()))
    figures: dict[str, tuple[float, Target | None]] = {
        "edge p50": (median(list(ours.values())), None),
        "bare p50": (middle, None),
        "edge p99": (percentile(list(ours.values()), 99), None),
        "bare p99": (percentile(list(theirs.values()), 99), None),
        "added p50": (median(added), None),
        "allowed p50": (ALLOWED_SHARE * middle + ALLOWED_MS, None),
        "added p99": (percentile(added, 99), ADDED_P99_TARGET),
    }
    for figure, (value, target) in figures.items():
        record.add(f"{name}/{figure}", value, "ms", higher_is_better=False, target=target, rate=rate)
    of = (f"{name}/added p50", f"{name}/allowed p50")
    record.add_ratio(f"{name}/added : allowed", of, higher_is_better=False, target=ADDED_TARGET)


def _saturated(bench: LiveBench, infer: LiveInfer, record: Record, seconds: float, *, edge_first: bool) -> None:
    analysed = record.figures["saturated/bare"].samples[-1] if edge_first else bench.fastest(seconds).rate
    rate = _OFFERED * analysed
    edge = infer.play(bench.frames, rate, max(1, round(rate * seconds)))
    bench.same_answers(edge)
    if edge_first:
        analysed = bench.fastest(seconds).rate
    for name, value in (("edge", len(edge.results) / edge.seconds), ("bare", analysed)):
        record.add(f"saturated/{name}", value, "frames/s", higher_is_better=True)
    of = ("saturated/edge", "saturated/bare")
    record.add_ratio("saturated/edge : bare", of, higher_is_better=True, target=SATURATED_TARGET)
