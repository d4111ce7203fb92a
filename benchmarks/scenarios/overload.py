"""Twice as many live frames as there is capacity for: how many results are in time, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.live.bare import FIFO, NEWEST, Done, Request
from benchmarks.live.bench import LIVE_NOTES, LiveBench
from benchmarks.live.infer import LiveInfer, Played
from benchmarks.live.site import DEADLINE_KEY
from benchmarks.load.arrivals import Mode
from benchmarks.record import Record
from benchmarks.scenarios.live_schema import Overload
from benchmarks.site import work_folder
from benchmarks.statistics import Target, median, percentile

IN_TIME_TARGET = Target(0.99, at_least=True)
DELIVERED_TARGET = Target(0.85, at_least=True)
_ROOM = 1.6  # a fixed deadline is measured where it is at least so many times what a frame takes
_PROBE_SECONDS = 2.0
_OUTCOMES = ("in_time", "superseded", "dropped", "late", "failed", "overtaken")

NOTES = [
    *LIVE_NOTES,
    "in time: the share of the delivered results that had been received when the deadline of their frame had passed. "
    "delivered: those in time, by what the bare peer, one frame after the other, analysed in the same time at the "
    "beginning of the round.",
    "fifo: a reader that puts each frame into a queue, and the bare peer that takes one after the other. newest: the "
    "bare peer takes the newest frame whenever it is free. Neither knows of deadlines, so both are judged by each.",
]


def run(scenario: Overload, record: Record) -> None:
    """A part that does not count, then the rounds."""
    record.notes.extend(NOTES)
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        bench = LiveBench(scenario.pipeline, scenario.distinct, scenario.threads, work, record, stack)
        needed = median(bench.fastest(min(_PROBE_SECONDS, scenario.seconds)).latencies)
        deadlines = choose_deadlines(scenario, needed, record)
        infers = {
            name: bench.infer(f"edge-{index}", seconds) for index, (name, seconds) in enumerate(deadlines.items())
        }
        for number in range(1, scenario.rounds + 1):
            _round(bench, infers, record, scenario, deadlines, number)
            print(f"round {number} of {scenario.rounds} done", flush=True)
        for name, infer in infers.items():
            counts = {o: int(infer.metric("edge_video_frames_total", outcome=o)) for o in _OUTCOMES}
            record.checks[f"{name}/frames of edge"] = counts


def choose_deadlines(scenario: Overload, needed_seconds: float, record: Record) -> dict[str, float]:
    """The deadlines by name, in seconds."""
    runs, fixed = scenario.deadline_runs, scenario.deadline_seconds
    found = {f"{runs:g} x service": runs * needed_seconds}
    if fixed >= _ROOM * needed_seconds:
        found[f"{1000 * fixed:g} ms"] = fixed
    else:
        took = f"a frame takes {1000 * needed_seconds:.1f} ms"
        record.problems.append(f"{took}: a deadline of {1000 * fixed:g} ms leaves no room and is not measured")
    record.checks["deadlines, ms"] = {name: round(1000 * seconds, 1) for name, seconds in found.items()}
    record.checks["what bare needs for a frame, ms"] = round(1000 * needed_seconds, 2)
    return found


def _round(
    bench: LiveBench,
    infers: dict[str, LiveInfer],
    record: Record,
    scenario: Overload,
    deadlines: dict[str, float],
    number: int,
) -> None:
    """The capacity, which sets the load, then all systems: the other way round in every second round."""
    capacity = bench.fastest(scenario.seconds).rate
    record.add("bare", capacity, "frames/s", higher_is_better=True)
    rate = scenario.load * capacity
    count = max(1, round(rate * scenario.seconds))
    for name in [*infers, FIFO, NEWEST][:: 1 if number % 2 else -1]:
        if name in infers:
            played = infers[name].play(bench.frames, rate, count)
            bench.same_answers(played)
            add_edge(record, name, played, deadlines[name], capacity * scenario.seconds)
            record.add_latencies(f"{name}/edge", Mode.FIXED_RATE, played.latencies, unanswered=played.unanswered)
        else:
            done = bench.bare.play(Request(name, rate, scenario.seconds))
            add_peer(record, name, done, deadlines, capacity * scenario.seconds)
            record.add_latencies(name, Mode.FIXED_RATE, done.latencies, unanswered=count - len(done.numbers))


def add_edge(record: Record, name: str, played: Played, deadline_seconds: float, possible: float) -> None:
    """Add the runtime's part of a round; `possible` frames could have been analysed in its time."""
    _add(record, f"{name}/edge", played.latencies, deadline_seconds, possible, (IN_TIME_TARGET, DELIVERED_TARGET))


def add_peer(record: Record, mode: str, done: Done, deadlines: dict[str, float], possible: float) -> None:
    """Add a peer's part of a round, judged by each deadline."""
    for name, deadline in deadlines.items():
        _add(record, f"{name}/{mode}", done.latencies, deadline, possible, (None, None))
    if mode == FIFO:
        record.add(f"{mode}/latency of the last frame", 1000 * done.latencies[-1], "ms", higher_is_better=False)


def _add(
    record: Record,
    name: str,
    latencies: Sequence[float],
    deadline_seconds: float,
    possible: float,
    targets: tuple[Target | None, Target | None],
) -> None:
    in_time = sum(one <= deadline_seconds for one in latencies)
    share = in_time / len(latencies) if latencies else 0.0
    record.add_deadline(name, deadline_seconds, len(latencies), len(latencies) - in_time, DEADLINE_KEY)
    record.add(f"{name}, in time", share, "share", higher_is_better=True, target=targets[0])
    record.add(f"{name}, delivered", in_time / possible, "share", higher_is_better=True, target=targets[1])
    if latencies:
        record.add(f"{name}, p99", 1000 * percentile(latencies, 99), "ms", higher_is_better=False)
    else:
        record.problem(f"{name}: no frame had a result in a round, so there is no latency")
