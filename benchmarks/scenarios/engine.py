"""The bare engines, in turn: no recipe, no decoding, no files. Times as trtexec names them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.conversion import convert
from benchmarks.demo import ENGINES, build_engines
from benchmarks.load.arrivals import Load, Mode
from benchmarks.load.generator import Called, Loaded, run_load
from benchmarks.networks import NAME, write_resnet18
from benchmarks.peers import trtexec
from benchmarks.provenance import described
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.engine_runs import Bare
from benchmarks.scenarios.engine_schema import ONNXRUNTIME, Engine
from benchmarks.scenarios.engine_systems import EDGE, WARM_UP, Measured, Run, Systems
from benchmarks.scenarios.engine_times import BY_EVENTS, Runs
from benchmarks.site import work_folder
from benchmarks.statistics import Target, median
from edge_runtime.backends.base import LayerTime
from edge_runtime.engines.instruction_set import instruction_set
from edge_runtime.engines.verify import VerifiedEngine, verify

INT8_TARGET = Target(2.2, at_least=True)
"""On processors with VNNI; there is none for others."""
ONNXRUNTIME_TARGET = Target(1.05, at_least=False)
"""Of a run's time by the host's clock, against `InferenceSession.run` with the same threads."""
ALONE = "engine"
"""What the figures of a scenario with exactly one engine are called: so two engines can be compared."""
_BLOCK = 10
_SEED = 20_260_101
_LAYERS_PRINTED = 10
_LEAST_OFFLINE = 4  # samples
_CALIBRATION, _HOLDOUT = 32, 64  # pictures

NOTES = [
    "h2d, compute, d2h: between events of the stream, as trtexec; latency is their sum. enqueue: the host's time in "
    "the call that appends the network. wall: by the host's clock, from the first copy's call until the output is in "
    "the host's memory. Medians of a round; percentiles in `details` by trtexec's formula.",
    "On the processor h2d and d2h are copies in memory, made by the stream. The runtime itself copies the input once "
    "and reads the output where the network wrote it: there d2h is not paid. The stream is a thread there: wall holds "
    "the hand-over to it and back, which `InferenceSession.run` does not have.",
    "Batch 1, on the golden input. Single-stream: one run after the other, all systems in turn in blocks of up to 10, "
    "in the other order every second round. Offline: the next run is on the stream before the one before has ended.",
    "onnxruntime: `InferenceSession.run` in a process of its own, as many threads, no spinning. onnxruntime-defaults: "
    "as it is installed: it chooses its threads, and they spin. Compared by wall.",
    f"trtexec: {trtexec.MODE}; it keeps one run more on the stream. Compared by latency.",
]


def run(scenario: Engine, record: Record) -> None:
    """Build what is missing, warm up, then the rounds."""
    record.notes.extend(NOTES)
    threads = scenario.threads or len(os.sched_getaffinity(0))
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        folders = [*_resnet18(scenario, work, record.reduced), *_reference(scenario)]
        verified = {name: _verified(path) for name, path in named(folders, bool(scenario.precisions)).items()}
        measured = Systems(scenario, threads, work, record, stack).open(verified)
        describe(record, {name: verified[name] for name, one in measured.items() if one.any}, threads)
        for name, engine in record.inputs["engines"].items():
            engine["device"] = measured[name].device.value
        capacities = _capacities(measured, record)
        found: dict[str, Runs] = {}
        for number in range(1, scenario.rounds + 1):
            for name in list(measured) if number % 2 else list(reversed(measured)):
                _measure(name, measured[name], scenario, record, found, number)
                _load(name, measured[name], scenario, capacities.get(name, 0.0), record, number)
            _ratios(record, measured)
            record.details["summary of all runs, ms"] = {one: runs.summary() for one, runs in found.items()}
            print(f"round {number} of {scenario.rounds} done", flush=True)
        for name, one in measured.items():
            if scenario.layers and one.bare is not None:
                _tell_layers(name, one.bare.layers(scenario.layers), record)


def named(folders: Sequence[Path], several: bool) -> dict[str, Path]:
    """Built engines by name: NAME-PRECISION, with the target between where two would be called the same.

    A single one is called ALONE, unless there are `several` by nature.

    Raises:
        BenchFailed: a folder is given twice, or holds no built engine by its name.
    """
    for folder in folders:
        if "-" not in folder.name:
            raise BenchFailed(f"{folder} is no built engine; name a folder such as NAME/onnxruntime-fp32")
    if len(folders) == 1 and not several:
        return {ALONE: folders[0]}
    short = [f"{one.parent.name}-{one.name.rpartition('-')[2]}" for one in folders]
    names = [
        name if short.count(name) == 1 else f"{folder.parent.name}-{folder.name}"
        for name, folder in zip(short, folders, strict=True)
    ]
    for name in names:
        if names.count(name) > 1:
            raise BenchFailed(f"two engines are called {name}: {', '.join(map(str, folders))}; name only one of them")
    return dict(zip(names, folders, strict=True))


def _resnet18(scenario: Engine, work: Path, reduced: bool) -> list[Path]:
    if not scenario.precisions:
        return []
    model = work / NAME
    print(f"... building {NAME} in {', '.join(scenario.precisions)}", flush=True)
    write_resnet18(model, *((4, 16) if reduced else (_CALIBRATION, _HOLDOUT)))
    return [convert(model, "onnxruntime", one).folder for one in scenario.precisions]


def _reference(scenario: Engine) -> list[Path]:
    """The folders that the scenario names; of the repository's own engines, FP32 is built where it is not current."""
    folders = [Path(one) for one in scenario.engines]
    build_engines([f.parent.name for f in folders if f.parent.parent == ENGINES and f.name == "onnxruntime-fp32"])
    return folders


def _verified(folder: Path) -> VerifiedEngine:
    """Of an engine for a card only its files are checked here: its library checks the card."""
    any_machine = not folder.name.startswith(f"{ONNXRUNTIME}-")
    return verify(folder, (), allow_unsigned=True, allow_ungated=True, any_machine=any_machine)


def describe(record: Record, engines: Mapping[str, VerifiedEngine], threads: int) -> None:
    """Note what was measured: each engine with its folder and what its passport says."""
    record.inputs["instruction_set"] = instruction_set()
    record.inputs["threads"] = threads
    record.inputs["engines"] = {
        name: {"folder": str(Path(e.folder.parent.name, e.folder.name)), **described(e)} for name, e in engines.items()
    }
    record.checks["task metrics"] = {
        name: {m.name: m.value for m in e.passport.task_metrics}
        for name, e in engines.items()
        if e.passport.task_metrics
    }


def _tell_layers(name: str, layers: Sequence[LayerTime], record: Record) -> None:
    """The time of each layer into the details; of the longest a line each."""
    if not layers:
        record.notes.append(f"engine {name}: its library tells no times of layers; TensorRT does")
        return
    record.details[f"{name}/layers, ms"] = [[layer.name, 1000 * layer.seconds] for layer in layers]
    whole = sum(layer.seconds for layer in layers) or 1.0
    for layer in sorted(layers, key=lambda one: one.seconds, reverse=True)[:_LAYERS_PRINTED]:
        share = 100 * layer.seconds / whole
        print(f"{name}: {1000 * layer.seconds:8.3f} ms {share:5.1f} %  {layer.name}", flush=True)


def _measure(
    name: str, measured: Measured, scenario: Engine, record: Record, found: dict[str, Runs], number: int
) -> None:
    """A round of single-stream runs of one engine's systems."""
    order = list(measured.inline) if number % 2 else list(reversed(measured.inline))
    runs = in_turn({one: measured.inline[one] for one in order}, scenario.runs, scenario.seconds)
    if measured.trtexec is not None:
        runs["trtexec"] = measured.trtexec(scenario.runs)
    for system, times in runs.items():
        own = "" if system == EDGE else f"{system} "
        for what, samples in ((what, getattr(times, what)) for what in (*BY_EVENTS, "wall")):
            if samples:
                record.add(f"{name}/{own}{what}", 1000 * median(samples), "ms", higher_is_better=False,
                           device=measured.device)  # fmt: skip
        record.add_latencies(f"{name} single-stream/{system}", Mode.SINGLE_STREAM, times.wall or times.latency,
                             device=measured.device, warm_up=0 if number > 1 else WARM_UP)  # fmt: skip
        found.setdefault(f"{name}/{system}", Runs()).add(times)
        if system == EDGE:
            record.add_stages(name, {"h2d": times.h2d, "compute": times.compute, "d2h": times.d2h})


def in_turn(systems: Mapping[str, Run], count: int, seconds: float) -> dict[str, Runs]:
    """`count` runs of each in blocks that take turns; one whose seconds are used up is passed over."""
    found = {name: Runs() for name in systems}
    waiting = set(systems)
    while waiting:
        for name in [name for name in systems if name in waiting]:
            runs = found[name]
            runs.add(systems[name](min(_block(runs.wall, seconds), count - len(runs.wall))))
            if len(runs.wall) >= count or sum(runs.wall) >= seconds:
                waiting.discard(name)
    return found


def _block(walls: Sequence[float], seconds: float) -> int:
    """Runs of the next block: up to _BLOCK, and no longer than a fifth of all seconds; the first is of one."""
    return max(1, min(_BLOCK, int(seconds / 5 * len(walls) / sum(walls)))) if walls else 1


def _capacities(measured: Mapping[str, Measured], record: Record) -> dict[str, float]:
    """Runs a second of each engine, one after the other: what the loads of all rounds are made from."""
    bare = {name: one.bare for name, one in measured.items() if one.bare is not None}
    found = {name: 1 / median(one.run(WARM_UP).wall) for name, one in bare.items()}
    record.details["capacity before the first round, runs a second"] = found
    return found


def _load(name: str, measured: Measured, scenario: Engine, capacity: float, record: Record, number: int) -> None:
    """The loads beside single-stream, of the runtime alone."""
    if measured.bare is None:
        return
    for mode in map(Mode, scenario.loads):
        loaded = _loaded(mode, measured.bare, scenario, capacity, number)
        record.add_loaded(f"{name} {mode.value}/{EDGE}", loaded, device=measured.device)
        if mode is Mode.OFFLINE:
            record.add(f"{name}/offline throughput", loaded.throughput, "runs/s", higher_is_better=True,
                       device=measured.device)  # fmt: skip
        elif loaded.latencies:
            record.add(f"{name}/{mode.value} p50", 1000 * median(loaded.latencies), "ms", higher_is_better=False,
                       device=measured.device, rate=loaded.load.rate)  # fmt: skip


def _loaded(mode: Mode, bare: Bare, scenario: Engine, capacity: float, number: int) -> Loaded:
    seconds = scenario.load_seconds
    if mode is Mode.SERVER:
        rate = scenario.server_rate or scenario.server_share * capacity
        load = Load(mode, seconds=seconds, rate=rate, seed=_SEED + number)
        with Called(lambda _: _run_one(bare), workers=1) as system:
            return run_load(load, system)
    several = Called(lambda samples: bare.saturate(len(samples)))
    if mode is Mode.OFFLINE:
        samples = max(_LEAST_OFFLINE, min(scenario.offline_samples, round(seconds * capacity)))
        return run_load(Load(mode, samples_per_query=samples), several)
    return run_load(Load(mode, seconds=seconds, samples_per_query=scenario.samples_per_query), several)


def _run_one(bare: Bare) -> None:
    bare.run(1)


def _ratios(record: Record, measured: Mapping[str, Measured]) -> None:
    vnni = instruction_set().endswith("_vnni")
    for precision, target in (("int8", INT8_TARGET if vnni else None), ("fp16", None)):
        _ratio(record, f"{NAME}-fp32 : {precision}", f"{NAME}-fp32/compute", f"{NAME}-{precision}/compute", target,
               higher_is_better=True)  # fmt: skip
    for name, one in measured.items():
        for peer in [peer for peer in one.inline if peer != EDGE]:
            target = ONNXRUNTIME_TARGET if peer == ONNXRUNTIME else None
            _ratio(record, f"{name}/edge : {peer}", f"{name}/wall", f"{name}/{peer} wall", target)
        _ratio(record, f"{name}/edge : trtexec", f"{name}/latency", f"{name}/trtexec latency", None)


def _ratio(
    record: Record, name: str, top: str, bottom: str, target: Target | None, *, higher_is_better: bool = False
) -> None:
    if top in record.figures and bottom in record.figures:
        record.add_ratio(name, (top, bottom), higher_is_better=higher_is_better, target=target)
