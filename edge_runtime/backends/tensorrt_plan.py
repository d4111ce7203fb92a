"""A deserialized TensorRT plan: its tensors, and the optimization profile that has the shapes of its card.

`trt`, `runtime`, `engine` and `context` are the library's objects; the names that are asked of them stand in
`tensorrt_api`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.backends.base import Shapes, TensorInfo
from edge_runtime.backends.tensorrt_api import Api
from edge_runtime.backends.tensorrt_log import Words, make_logger, make_recorder
from edge_runtime.errors import BackendUnavailable, EngineRejected, OutOfDeviceMemory


@dataclass(frozen=True, eq=False)
class Plan:
    """The engine and what must live as long as it does. Shapes may still be open (-1) in `outputs`."""

    api: Api
    words: Words
    keep: tuple[Any, ...]  # logger, recorder and runtime
    engine: Any
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    profile: int
    open_inputs: tuple[str, ...]  # whose shapes a context must be told
    aux_streams: int
    scratch_bytes: int  # that every context needs


def open_plan(api: Api, data: bytes, shapes: Shapes) -> Plan:
    """Deserialize verified bytes. `shapes`: of the inputs whose extents the plan leaves open.

    Raises:
        EngineRejected: the library does not take them; an input or output is of a kind that cannot be bound; or no
            profile has the shapes.
        OutOfDeviceMemory: the weights do not fit.
        BackendUnavailable: the library cannot work here.
    """
    trt, words = api.module, Words(api.package)
    logger = make_logger(trt, words)
    try:
        runtime = trt.Runtime(logger)
    except (TypeError, RuntimeError) as error:
        raise BackendUnavailable(f"{api.package} cannot work on this machine: {words.take()}") from error
    recorder = make_recorder(trt, words)
    runtime.error_recorder = recorder
    runtime.engine_host_code_allowed = False
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise refused(api, words, "deserialize_cuda_engine", "does not take this engine")
    inputs, outputs = _tensors(trt, engine)
    open_inputs = tuple(t.name for t in inputs if min(t.shape, default=1) < 1)
    fixed = tuple(_fixed(t, shapes) for t in inputs)
    profile = _profile(engine, fixed, open_inputs)
    scratch = int(engine.device_memory_size_v2)
    return Plan(api, words, (logger, recorder, runtime), engine, fixed, outputs, profile, open_inputs,
                int(engine.num_aux_streams), scratch)  # fmt: skip


def refused(api: Api, words: Words, call: str, what: str) -> Exception:
    """The error of a call that gave nothing, with what the library says of it."""
    codes = {code for code, _ in words.errors}
    said = words.take()
    if "FAILED_ALLOCATION" in codes or "out of memory" in said.lower():
        return OutOfDeviceMemory(call, "FAILED_ALLOCATION", said)
    return EngineRejected(f"{api.package} {what}: {said}")


def _tensors(trt: Any, engine: Any) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    found: dict[Any, list[TensorInfo]] = {trt.TensorIOMode.INPUT: [], trt.TensorIOMode.OUTPUT: []}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise EngineRejected(f"tensor {name!r} is read or written on the host, which no graph can hold; build the "
                                 "engine with fixed shapes")  # fmt: skip
        kind = engine.get_tensor_dtype(name)
        try:
            dtype = np.dtype(trt.nptype(kind)).name
        except TypeError as error:
            raise EngineRejected(f"tensor {name!r} is {kind}, which this backend does not bind") from error
        info = TensorInfo(name, tuple(engine.get_tensor_shape(name)), dtype)
        found[engine.get_tensor_mode(name)].append(info)
    return tuple(found[trt.TensorIOMode.INPUT]), tuple(found[trt.TensorIOMode.OUTPUT])


def _fixed(info: TensorInfo, shapes: Shapes) -> TensorInfo:
    """The input with the shape that it will have."""
    if min(info.shape, default=1) >= 1:
        return info
    wanted = shapes.get(info.name)
    if wanted is None:
        raise EngineRejected(f"tensor {info.name!r} has the shape {info.shape}; engines have fixed shapes, or a "
                             "profile with that of their card")  # fmt: skip
    if len(wanted) != len(info.shape) or any(n not in (-1, w) for n, w in zip(info.shape, wanted, strict=True)):
        raise EngineRejected(f"tensor {info.name!r} has the shape {info.shape}, expected {wanted}")
    return TensorInfo(info.name, wanted, info.dtype)


def _profile(engine: Any, inputs: tuple[TensorInfo, ...], open_inputs: tuple[str, ...]) -> int:
    """The optimization profile that was tuned for these shapes, else one that takes them."""
    taking: list[tuple[int, int]] = []  # how far it is from being tuned for them, and its number
    varying = [t for t in inputs if t.name in open_inputs]
    for number in range(engine.num_optimization_profiles if varying else 0):
        away = 0
        for info in varying:
            least, best, most = (tuple(shape) for shape in engine.get_tensor_profile_shape(info.name, number))
            if not all(a <= n <= b for a, n, b in zip(least, info.shape, most, strict=True)):
                break
            away += abs(math.prod(info.shape) - math.prod(best))
        else:
            taking.append((away, number))
    if varying and not taking:
        wanted = ", ".join(f"{t.name} {t.shape}" for t in varying)
        raise EngineRejected(f"no optimization profile of this engine takes {wanted}")
    return min(taking)[1] if taking else 0
