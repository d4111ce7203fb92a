"""The bare engines on this processor, in turn: no recipe, no decoding, no files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.conversion import convert
from benchmarks.demo import ENGINES, build_engines
from benchmarks.networks import NAME, write_resnet18
from benchmarks.record import Record
from benchmarks.scenarios.schema import Engine
from benchmarks.site import work_folder
from benchmarks.statistics import Target, median
from converters.measure.latency import processor_name, summary
from edge_runtime.backends.registry import load_backend, load_device
from edge_runtime.device.base import Device
from edge_runtime.engines.golden import golden_image
from edge_runtime.engines.instruction_set import instruction_set
from edge_runtime.engines.verify import VerifiedEngine, verify
from edge_runtime.preprocess import compile_recipe

INT8_TARGET = Target(2.2, at_least=True)
"""On processors with VNNI; there is none for others."""
_BLOCK = 10
_WARM_UP = 5
_CALIBRATION, _HOLDOUT = 32, 64  # pictures

NOTES = [
    "compute: the network alone, between two events of its stream; the median of a round. Inputs and outputs lie in "
    "the host's memory, where the network reads and writes them: there is no H2D and no D2H.",
    "enqueue: what the caller waits for until the run is on its stream.",
    "Batch 1, one run after the other, ONNX Runtime with a thread a core and without spinning, on the golden input. "
    "The engines take turns in blocks of 10, in the other order every second round.",
]


def run(scenario: Engine, record: Record) -> None:
    """Build what is missing, warm up, then the rounds."""
    record.notes.extend(NOTES)
    threads = len(os.sched_getaffinity(0))
    device = load_device("onnxruntime", threads)
    with work_folder(scenario.work, record) as work, ExitStack() as stack:
        stack.callback(device.close)
        folders = {**_resnet18(scenario, work, record.reduced), **_reference(scenario)}
        verified = {name: verify(path, (), allow_unsigned=True, allow_ungated=True) for name, path in folders.items()}
        _describe(record, verified, threads)
        engines = {name: Bare(engine, device) for name, engine in verified.items()}
        for one in engines.values():
            stack.callback(one.close)
            one.run(_WARM_UP)
        found = {name: Runs() for name in engines}
        for number in range(1, scenario.rounds + 1):
            order = list(engines) if number % 2 else list(reversed(engines))
            this = _round({name: engines[name] for name in order}, scenario)
            _add_round(record, {name: this[name] for name in engines})
            for name, runs in this.items():
                found[name].add(runs)
            print(f"round {number} of {scenario.rounds} done", flush=True)
        record.details["compute of all runs"] = {name: _told(runs, threads) for name, runs in found.items()}


@dataclass
class Runs:
    """Times of single runs, in seconds."""

    compute: list[float] = field(default_factory=list)
    enqueue: list[float] = field(default_factory=list)

    def add(self, other: Runs) -> None:
        """Append the runs of another."""
        self.compute += other.compute
        self.enqueue += other.enqueue


class Bare:
    """A verified engine with its stream and buffers; the golden input lies in place."""

    def __init__(self, engine: VerifiedEngine, device: Device) -> None:
        self._session = load_backend("onnxruntime").load(engine.data, device)
        self._stream = device.stream()
        self._began, self._ended = device.event(), device.event()
        tensors = self._session.inputs + self._session.outputs
        self._buffers = {t.name: device.empty(t.shape, t.dtype) for t in tensors}
        card = engine.card
        prepared = next(iter(compile_recipe(card)(golden_image(engine.golden.seed), None, 0.0))).inputs[0].array
        device.upload(prepared, self._buffers[card.input.name], self._stream)
        self._stream.synchronize()

    def run(self, count: int) -> Runs:
        """So many runs, one after the other."""
        runs = Runs()
        for _ in range(count):
            self._stream.record(self._began)
            began = time.perf_counter()
            self._session.enqueue(self._buffers, self._stream)
            runs.enqueue.append(time.perf_counter() - began)
            self._stream.record(self._ended)
            self._stream.synchronize()
            runs.compute.append(self._ended.elapsed_seconds(self._began))
        return runs

    def close(self) -> None:
        """Free stream and network."""
        self._stream.close()
        self._session.close()


def _resnet18(scenario: Engine, work: Path, reduced: bool) -> dict[str, Path]:
    if not scenario.precisions:
        return {}
    model = work / NAME
    print(f"... building {NAME} in {', '.join(scenario.precisions)}", flush=True)
    write_resnet18(model, *((4, 16) if reduced else (_CALIBRATION, _HOLDOUT)))
    return {f"{NAME}-{one}": convert(model, "onnxruntime", one).folder for one in scenario.precisions}


def _reference(scenario: Engine) -> dict[str, Path]:
    """The folders that the scenario names; of the repository's own engines, FP32 is built where it is not current."""
    folders = [Path(one) for one in scenario.engines]
    own = [f.parent.name for f in folders if f.parent.parent == ENGINES and f.name == "onnxruntime-fp32"]
    build_engines(own)
    return {f"{f.parent.name}-{f.name.rpartition('-')[2]}": f for f in folders}


def _describe(record: Record, engines: Mapping[str, VerifiedEngine], threads: int) -> None:
    record.inputs["instruction_set"] = instruction_set()
    record.inputs["threads"] = threads
    record.inputs["engines"] = {
        name: {"sha256": e.identity.sha256, "precision": e.identity.precision, "backend": e.identity.backend}
        for name, e in engines.items()
    }
    record.checks["task metrics"] = {
        name: {m.name: m.value for m in e.passport.task_metrics}
        for name, e in engines.items()
        if e.passport.task_metrics
    }


def _round(engines: Mapping[str, Bare], scenario: Engine) -> dict[str, Runs]:
    """`runs` of each engine in blocks that take turns; an engine whose seconds are used up is passed over."""
    found = {name: Runs() for name in engines}
    waiting = set(engines)
    while waiting:
        for name in [name for name in engines if name in waiting]:
            runs = found[name]
            runs.add(engines[name].run(min(_BLOCK, scenario.runs - len(runs.compute))))
            if len(runs.compute) >= scenario.runs or sum(runs.compute) >= scenario.seconds:
                waiting.discard(name)
    return found


def _add_round(record: Record, found: Mapping[str, Runs]) -> None:
    for name, runs in found.items():
        record.add(f"{name}/compute", 1000 * median(runs.compute), "ms", higher_is_better=False)
        record.add(f"{name}/enqueue", 1000 * median(runs.enqueue), "ms", higher_is_better=False)
    vnni = instruction_set().endswith("_vnni")
    for precision, target in (("int8", INT8_TARGET if vnni else None), ("fp16", None)):
        of = (f"{NAME}-fp32/compute", f"{NAME}-{precision}/compute")
        if all(one in record.figures for one in of):
            record.add_ratio(f"{NAME}-fp32 : {precision}", of, higher_is_better=True, target=target)


def _told(runs: Runs, threads: int) -> dict[str, float | int | None]:
    """Percentiles over all rounds, in ms; None where there are too few runs to tell them."""
    found = summary(runs.compute, processor_name(), threads)
    told = {"p50": found.p50_seconds, "p90": found.p90_seconds, "p99": found.p99_seconds, "p99.9": found.p999_seconds}
    return {"runs": found.runs, **{p: None if s is None else round(1000 * s, 4) for p, s in told.items()}}
