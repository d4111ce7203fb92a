"""How much slower the first run after a pause is: 1 ms that becomes 18 ms when nothing was to be done for a while."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.demo import ENGINES, build_engines
from benchmarks.devices import engines_for
from benchmarks.live.bare import NEWEST, BareRunner, Request
from benchmarks.live.bench import LIVE_NOTES, LiveBench
from benchmarks.live.infer import LiveInfer
from benchmarks.load.arrivals import Mode
from benchmarks.measured import Accelerator
from benchmarks.provenance.engines import described
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.engine_runs import golden_input
from benchmarks.scenarios.idle_gap_schema import IdleGap
from benchmarks.site import work_folder
from benchmarks.statistics import median
from edge_runtime.backends.registry import load_backend, load_device
from edge_runtime.domain import Array
from edge_runtime.engines.runner import load_runner
from edge_runtime.engines.verify import VerifiedEngine, verify

EDGE, BARE = "edge", "bare"
NO_PAUSE = "no pause"
HOT_RUNS = 3
_DEADLINE_SECONDS = 2.0  # of a frame: so long that none is given up
_DISTINCT_FRAMES = 4

NOTES = [
    f"after a pause: {HOT_RUNS} runs one after the other, which do not count, then nothing for so long (the process "
    "sleeps), then one run, which counts; `no pause` is the same without the sleep. Batch 1, the golden input.",
    "edge: the verified engine as a stage of the runtime runs it, on a stream of its device, the input copied in. "
    "bare: InferenceSession.run with the same options, in the same process. The two take turns.",
    "a frame every so long: `pipeline` in live use, where nothing else is to be done between two frames. The first "
    "frame of each sequence does not count.",
    *LIVE_NOTES,
]

Run = Callable[[], object]


def run(scenario: IdleGap, record: Record) -> None:
    """Load what is measured, warm up, then the rounds."""
    record.notes.extend(NOTES if scenario.frames_every_seconds else NOTES[:2])
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        engine, threads = _verified(Path(scenario.engine)), scenario.threads or len(os.sched_getaffinity(0))
        systems, device = _systems(engine, threads, record, stack)
        bench = infer = None
        if scenario.frames_every_seconds:
            bench = LiveBench(scenario.pipeline, _DISTINCT_FRAMES, threads, work, record, stack)
            infer = bench.infer(EDGE, _DEADLINE_SECONDS)
        record.inputs["threads"] = threads
        record.inputs.setdefault("engines", {})[engine.identity.name] = described(engine)
        for number in range(1, scenario.rounds + 1):
            turn = 1 if number % 2 else -1
            for pause in scenario.pauses_seconds[::turn]:
                _after(pause, dict(list(systems.items())[::turn]), scenario.runs, record, device)
            if bench is not None and infer is not None:
                for gap in scenario.frames_every_seconds[::turn]:
                    _every(gap, bench, infer, scenario.runs, record, edge_first=turn > 0)
            add_ratios(record, [after(pause) for pause in scenario.pauses_seconds])
            add_ratios(record, [every(gap) for gap in scenario.frames_every_seconds])
            print(f"round {number} of {scenario.rounds} done", flush=True)


def after(pause: float) -> str:
    """The name of a pause in seconds."""
    return f"after {pause:g} s" if pause else NO_PAUSE


def every(gap: float) -> str:
    """The name of frames that come every `gap` seconds."""
    return f"a frame every {gap:g} s"


def after_pause(
    run: Run,
    pause: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Seconds of the first run after a pause, before which the system was busy."""
    for _ in range(HOT_RUNS):
        run()
    if pause:
        sleep(pause)
    began = clock()
    run()
    return clock() - began


def add_ratios(record: Record, cases: Sequence[str]) -> None:
    """Each case to the first, of every system; and edge to bare in each case."""
    for case in cases:
        for system in (EDGE, BARE):
            if case != cases[0] and f"{case}/{system}" in record.figures:
                of = (f"{case}/{system}", f"{cases[0]}/{system}")
                record.add_ratio(f"{case} : {cases[0]}/{system}", of, higher_is_better=False)
        if f"{case}/{BARE}" in record.figures:
            record.add_ratio(f"{case}/{EDGE} : {BARE}", (f"{case}/{EDGE}", f"{case}/{BARE}"), higher_is_better=False)


def _systems(
    engine: VerifiedEngine, threads: int, record: Record, stack: ExitStack
) -> tuple[dict[str, Run], Accelerator]:
    """What runs, by name, and on what.

    Raises:
        BenchFailed: the two give different answers.
        EngineError: the engine cannot be used here.
    """
    flavour = engine.passport.target.flavour
    on_cpu = flavour == "onnxruntime"
    engines = engines_for(flavour, "auto", threads)
    device = load_device(engines)
    stack.callback(device.close)
    runner = load_runner(engine, load_backend(engines, device), device)
    stack.callback(runner.close)
    prepared = golden_input(engine)
    systems: dict[str, Run] = {EDGE: lambda: runner.run(prepared)}
    if on_cpu:
        bare = BareRunner(engine.data, threads)
        systems[BARE] = lambda: bare.run(prepared)
        _check_same(engine, runner.run(prepared), bare.run(prepared), record)
    else:
        record.problem(f"peer {BARE} was not measured: ONNX Runtime does not take an engine for {flavour}; name the "
                       "same network's engine for onnxruntime to compare with it")  # fmt: skip
    return systems, Accelerator.CPU if on_cpu else Accelerator.GPU


def _verified(folder: Path) -> VerifiedEngine:
    """The engine; one of the repository's own is built where it is not current."""
    if folder.parent.parent == ENGINES and folder.name == "onnxruntime-fp32":
        build_engines([folder.parent.name])
    return verify(folder, (), allow_unsigned=True, allow_ungated=True)


def _check_same(engine: VerifiedEngine, ours: Array, theirs: Array, record: Record) -> None:
    difference = float(np.max(np.abs(ours.astype(np.float64) - theirs)))
    record.checks["largest difference of the outputs, edge and bare"] = difference
    if not difference <= engine.card.tolerance:
        raise BenchFailed(f"engine {engine.card.name}: bare ONNX Runtime's output differs from the runtime's by "
                          f"{difference:g}, the card allows {engine.card.tolerance:g}")  # fmt: skip


def _after(pause: float, systems: Mapping[str, Run], runs: int, record: Record, device: Accelerator) -> None:
    """A round of one pause: the systems take turns run by run."""
    found: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(runs):
        for name, call in systems.items():
            found[name].append(after_pause(call, pause))
    for name, seconds in found.items():
        _add(record, f"{after(pause)}/{name}", Mode.SINGLE_STREAM, seconds, device=device, warm_up=HOT_RUNS * runs)


def _every(gap: float, bench: LiveBench, infer: LiveInfer, runs: int, record: Record, *, edge_first: bool) -> None:
    """A round of frames that come every `gap` seconds."""

    def edge() -> list[tuple[int, float]]:
        played = infer.play(bench.frames, 1 / gap, runs + 1)
        bench.same_answers(played)
        return [(one.number, one.latency) for one in played.results]

    def bare() -> list[tuple[int, float]]:
        done = bench.bare.play(Request(NEWEST, 1 / gap, (runs + 1) * gap))
        return list(zip(done.numbers, done.latencies, strict=True))

    sides = {EDGE: edge, BARE: bare}
    for name in (EDGE, BARE) if edge_first else (BARE, EDGE):
        counted = [latency for number, latency in sides[name]() if number > 0]
        if not counted:
            raise BenchFailed(f"{every(gap)}: {name} gave no result of {runs} frames; give more time between them")
        _add(record, f"{every(gap)}/{name}", Mode.FIXED_RATE, counted, warm_up=1, unanswered=runs - len(counted))


def _add(
    record: Record, name: str, mode: Mode, seconds: Sequence[float], *, device: Accelerator = Accelerator.CPU,
    warm_up: int, unanswered: int = 0,
) -> None:  # fmt: skip
    record.add_latencies(name, mode, seconds, device=device, warm_up=warm_up, unanswered=unanswered)
    record.add(name, 1000 * median(seconds), "ms", higher_is_better=False, device=device)
    if unanswered:
        record.problem(f"{name}: frames without a result: a newer one came before they began, or their deadline")
