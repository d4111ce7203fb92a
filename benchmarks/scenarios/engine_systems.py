"""What is measured of each engine: the engine in the runtime's backend, bare ONNX Runtime, trtexec."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.devices import CUDA, engines_for
from benchmarks.measured import Accelerator
from benchmarks.peers import trtexec
from benchmarks.peers.bare_ort import BareOrt
from benchmarks.peers.trtexec import Trtexec
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios.engine_runs import Bare
from benchmarks.scenarios.engine_schema import ONNXRUNTIME, ONNXRUNTIME_DEFAULTS, TRTEXEC, Engine
from benchmarks.scenarios.engine_times import Runs
from edge_runtime.backends.registry import load_backend, load_device
from edge_runtime.device.base import Device
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.errors import BackendUnavailable

EDGE = "edge"
WARM_UP = 5

Run = Callable[[int], Runs]


@dataclass
class Measured:
    """The systems of one engine. `inline` take turns in blocks; trtexec measures on its own, once a round."""

    device: Accelerator
    bare: Bare | None = None
    inline: dict[str, Run] = field(default_factory=dict)  # the first is EDGE, where there is a backend
    trtexec: Run | None = None

    @property
    def any(self) -> bool:
        """Whether there is a system that runs it here."""
        return bool(self.inline) or self.trtexec is not None


class Systems:
    """Opens the systems of all engines; what cannot be had is named in the record's problems."""

    def __init__(self, scenario: Engine, threads: int, work: Path, record: Record, stack: ExitStack) -> None:
        self._scenario, self._threads, self._work = scenario, threads, work
        self._record, self._stack = record, stack
        self._devices: dict[str, Device] = {}
        self._peers: dict[str, BareOrt] = {}
        self._programs: dict[str, Trtexec | None] = {}

    def open(self, engines: Mapping[str, VerifiedEngine]) -> dict[str, Measured]:
        """By engine; warmed up.

        Raises:
            BenchFailed: nothing can be measured here, or bare ONNX Runtime gives another answer.
        """
        found = {name: self._measured(name, engine) for name, engine in engines.items()}
        if not any(one.any for one in found.values()):
            raise BenchFailed("no engine can be measured here; the other problems say why")
        for one in found.values():
            for run in one.inline.values():
                run(WARM_UP)
        return found

    def _measured(self, name: str, engine: VerifiedEngine) -> Measured:
        flavour = engine.passport.target.flavour
        on_gpu = flavour != ONNXRUNTIME or self._scenario.device == CUDA
        measured = Measured(Accelerator.GPU if on_gpu else Accelerator.CPU)
        try:
            measured.bare = self._bare(engine, flavour)
            measured.inline[EDGE] = measured.bare.run
        except BackendUnavailable as error:
            self._record.problem(f"engine {name} was not measured in the runtime: {error}")
        if flavour == ONNXRUNTIME and not on_gpu:
            for kind in (ONNXRUNTIME, ONNXRUNTIME_DEFAULTS):
                if kind in self._scenario.peers:
                    measured.inline[kind] = self._onnxruntime(kind, name, engine, measured.bare)
        if flavour in trtexec.PROGRAMS and TRTEXEC in self._scenario.peers:
            measured.trtexec = self._trtexec(flavour, name, engine)
        return measured

    def _bare(self, engine: VerifiedEngine, backend: str) -> Bare:
        engines = engines_for(backend, self._scenario.device, self._threads)
        if backend not in self._devices:
            device = self._devices[backend] = load_device(engines)
            self._record.details.setdefault("devices", {})[backend] = dataclasses.asdict(device.facts)
            self._stack.callback(self._devices[backend].close)
        library = load_backend(engines, self._devices[backend])
        bare = Bare(engine, library, self._devices[backend])
        self._stack.callback(bare.close)
        return bare

    def _onnxruntime(self, kind: str, name: str, engine: VerifiedEngine, bare: Bare | None) -> Run:
        if kind not in self._peers:
            threads = self._threads if kind == ONNXRUNTIME else None
            self._peers[kind] = self._stack.enter_context(BareOrt(threads, self._work / f"{kind}.log"))
        peer = self._peers[kind]
        assert bare is not None  # both need the same package
        peer.load(name, engine.folder / engine.passport.engine.file, bare.prepared, self._work)
        theirs = peer.answer(name, engine.card.output.name, self._work)
        difference = float(np.max(np.abs(theirs.astype(np.float64) - bare.answer().astype(np.float64))))
        if not difference <= engine.card.tolerance:
            raise BenchFailed(f"engine {name}: the outputs of bare ONNX Runtime and of the runtime differ by "
                              f"{difference:g}, the card allows {engine.card.tolerance:g}")  # fmt: skip
        self._record.checks.setdefault("largest difference of the outputs", {})[f"{name}/{kind}"] = difference
        return lambda count: peer.run(name, count)

    def _trtexec(self, flavour: str, name: str, engine: VerifiedEngine) -> Run | None:
        if flavour not in self._programs:
            self._programs[flavour] = self._program(flavour)
        program = self._programs[flavour]
        if program is None:
            return None
        file = self._work / f"{name}.engine"
        file.write_bytes(engine.data)  # what was verified, whatever becomes of the folder
        return lambda count: program.run(file, count, self._work)

    def _program(self, flavour: str) -> Trtexec | None:
        try:
            return trtexec.find(flavour)
        except FileNotFoundError as error:
            which = "TensorRT" if flavour == "tensorrt" else "TensorRT-RTX"
            self._record.problem(f"peer {trtexec.PROGRAMS[flavour]} was not measured: {error}; install it: it comes "
                                 f"with NVIDIA's packages of {which}, in its bin folder")  # fmt: skip
            return None
