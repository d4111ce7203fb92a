"""A TensorRT that has names and no kernels: any version, on a device of its own. It builds nothing and runs anything.

It has what `edge_runtime.backends.tensorrt_api` lists, less what a test takes away, and records what it is told.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from support.fake_tensorrt_runtime import WORK, RuntimeTold

from edge_runtime.backends.tensorrt_api import BUILDER_NAMES, PROBED, RUNTIME_NAMES


@dataclass
class Told:
    """What the library was told, and what it is to do."""

    shapes: tuple[tuple[int, ...], ...] = ((1, 1, 4, 4),)
    outputs: int = 1
    problem: tuple[str, str, str] | None = None  # operator, node, description
    says: tuple[tuple[str, str], ...] = ()  # severity, message
    plan: bytes | None = b"plan"
    steps: int = 3
    dla_cores: int = 0
    device: bool = True
    foreign_cache: bool = False
    config: Any = None
    flags: int = 0
    calls: list[str] = field(default_factory=list)
    runtime: RuntimeTold = field(default_factory=RuntimeTold)


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


def fake(version: str, told: Told | None = None, without: tuple[str, ...] = (), name: str = "tensorrt") -> ModuleType:
    """The module of a version, without some names such as `ICudaEngine.create_runtime_config`."""
    told = told or Told()
    module: Any = ModuleType(name)
    _give_names(module)
    _give_work(module, told)
    _give_runtime(module, told.runtime)
    for path in without:
        _take_away(module, path)
    module.__version__ = version
    return module


def _give_names(module: Any) -> None:
    paths = [f"{owner}.{name}".lstrip(".") for names in (RUNTIME_NAMES, BUILDER_NAMES)
             for owner, members in names.items() for name in members]  # fmt: skip
    for path in [*paths, *(path for probed in PROBED.values() for path in probed)]:
        owner, _, attribute = path.rpartition(".")
        holder = getattr(module, owner, None) if owner else module
        if holder is None:
            holder = type(owner, (), {})
            setattr(module, owner, holder)
        if not hasattr(holder, attribute):
            setattr(holder, attribute, type(attribute, (), {}) if attribute[0].isupper() and not owner else attribute)


def _take_away(module: Any, path: str) -> None:
    owner, _, attribute = path.rpartition(".")
    if not owner:
        delattr(module, attribute)
        return
    for kind in getattr(module, owner).__mro__:
        if attribute in vars(kind):
            delattr(kind, attribute)


def _give_work(module: Any, told: Told) -> None:
    for severity in Severity:
        setattr(module.ILogger, severity.name, severity)
    module.NetworkDefinitionCreationFlag.STRONGLY_TYPED = 1
    members = {f"SM{n}": f"SM{n}" for n in (75, 80, 86, 89, 120, 121)}
    module.ComputeCapability = SimpleNamespace(__members__=members, **members)
    module.IBuilderConfig = _with(module.IBuilderConfig, _Config, told=told)
    cores = property(lambda _: told.dla_cores)
    module.Builder = _with(module.Builder, _Builder, told=told, config=module.IBuilderConfig, num_DLA_cores=cores)
    module.OnnxParser = _with(module.OnnxParser, _Parser, told=told)


def _give_runtime(module: Any, told: RuntimeTold) -> None:
    module.TensorIOMode.INPUT, module.TensorIOMode.OUTPUT = "INPUT", "OUTPUT"
    module.TensorLocation.DEVICE = "DEVICE"
    module.nptype = _nptype
    for name, work in WORK.items():
        setattr(module, name, _with(getattr(module, name), work, module=module, told=told))


def _nptype(kind: str) -> type:
    if kind == "BF16":
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return np.dtype(kind).type


def _with(base: type, work: type, **more: Any) -> Any:
    """A class of its own, with the methods of `work`."""
    methods = {name: value for name, value in vars(work).items() if name not in ("__dict__", "__weakref__")}
    return type(base.__name__, (base,), {**methods, **more})


class _Config:
    told: Told

    def __init__(self) -> None:
        self.capabilities: dict[int, str] = {}
        self.pools: dict[str, int] = {}
        self.flags: list[str] = []
        self.cache: Any = None

    def set_compute_capability(self, capability: str, index: int) -> bool:
        self.capabilities[index] = capability
        return index < self.num_compute_capabilities

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pools[pool] = size

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def create_timing_cache(self, data: bytes) -> Any:
        return SimpleNamespace(data=data, serialize=lambda: data + b"+measured")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache.data and self.told.foreign_cache and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.cache


class _Builder:
    told: Told
    config: type

    def __init__(self, logger: Any) -> None:
        if not self.told.device:
            logger.log(Severity.ERROR, "CUDA initialization failure with error: 100")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int) -> Any:
        told = self.told
        told.flags = flags
        inputs = [SimpleNamespace(name=f"input{i}", shape=shape) for i, shape in enumerate(told.shapes)]
        return SimpleNamespace(num_inputs=len(inputs), get_input=inputs.__getitem__, num_outputs=told.outputs)

    def create_builder_config(self) -> Any:
        self.told.config = self.config()
        return self.told.config

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        try:
            return self._build(config.progress_monitor)
        except BaseException as error:
            raise SystemError("an exception has passed through the library") from error

    def _build(self, monitor: Any) -> bytes | None:
        monitor.phase_start("Building engine", None, self.told.steps)
        for step in range(self.told.steps):
            self.told.calls.append(f"step {step}")
            if not monitor.step_complete("Building engine", step):
                return None
        monitor.phase_finish("Building engine")
        return self.told.plan


class _Parser:
    told: Told

    def __init__(self, network: Any, logger: Any) -> None:
        self.logger = logger
        self.num_errors = int(self.told.problem is not None)

    def parse(self, onnx: bytes) -> bool:
        for severity, message in self.told.says:
            self.logger.log(Severity[severity], message)
        return self.told.problem is None

    def get_error(self, index: int) -> Any:
        assert self.told.problem is not None
        operator, node, description = self.told.problem
        return SimpleNamespace(node_operator=lambda: operator, node_name=lambda: node, desc=lambda: description)
