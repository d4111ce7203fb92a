"""The runtime of a TensorRT that computes on the processor, in host functions of an emulated CUDA driver's streams.

It holds to TensorRT's rules: what breaks one is refused as the library refuses it, or noted in `Told.violations`.
"""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

MAGIC = b"FAKEPLAN"
_ONNX_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8",
                "tensor(int64)": "int64"}  # fmt: skip
_CAPTURING = 1
_ERRORS = tuple(e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception))
"""That ONNX Runtime raises."""


def fake_plan(onnx: bytes, **header: Any) -> bytes:
    """A plan: what the fake deserializes.

    header: profiles [{input: [least, best, most]}], aux_streams, scratch_bytes, host (names of tensors on the host),
    bf16 (names of tensors of that type), layers (names).
    """
    told = json.dumps(header).encode()
    return MAGIC + len(told).to_bytes(4, "little") + told + onnx


@dataclass
class RuntimeTold:
    """What the runtime was told, and what it is to do."""

    refuses: tuple[str, str] | None = None  # code and text of an error, for every engine
    fails: tuple[str, str] | None = None  # of the next run
    no_driver: bool = False
    not_capturable: bool = False
    host_code_allowed: bool | None = None
    contexts: list[Any] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    compiled: int = 0


class Runtime:
    module: Any
    told: RuntimeTold

    def __init__(self, logger: Any) -> None:
        self.logger = logger
        self.error_recorder: Any = None
        self.engine_host_code_allowed = True
        if self.told.no_driver:
            logger.log(self.module.ILogger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def deserialize_cuda_engine(self, data: bytes) -> Any:
        self.told.host_code_allowed = self.engine_host_code_allowed
        problem = self.told.refuses
        if problem is None and not data.startswith(MAGIC):
            problem = ("UNSPECIFIED_ERROR", "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed")
        network = b""
        if problem is None:
            try:
                size = int.from_bytes(data[8:12], "little")
                header, network = json.loads(data[12 : 12 + size]), data[12 + size :]
                return self.module.ICudaEngine(self, header, _session(network), hash(data))
            except (ValueError, *_ERRORS) as error:
                problem = ("UNSPECIFIED_ERROR", f"Serialization Error in verifyHeader: {type(error).__name__}")
        report(self, *problem)
        return None


def report(runtime: Any, code: str, text: str) -> None:
    """As TensorRT does: to the recorder where there is one, else to the logger."""
    if runtime.error_recorder is not None:
        runtime.error_recorder.report_error(SimpleNamespace(name=code), text)
    else:
        runtime.logger.log(runtime.module.ILogger.ERROR, text)


def _session(network: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


class Engine:
    module: Any
    told: RuntimeTold

    def __init__(self, runtime: Any, header: dict[str, Any], session: Any, key: int) -> None:
        self.runtime, self.header, self.session, self.key = runtime, header, session, key
        self._tensors = {t.name: t for t in (*session.get_inputs(), *session.get_outputs())}
        self.names = list(self._tensors)
        self.inputs = [t.name for t in session.get_inputs()]
        self.num_io_tensors = len(self.names)
        self.num_optimization_profiles = len(header.get("profiles", [{}]))
        self.num_aux_streams = header.get("aux_streams", 0)
        self.device_memory_size_v2 = header.get("scratch_bytes", 1000)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self.module.TensorIOMode
        return modes.INPUT if name in self.inputs else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:
        return "BF16" if name in self.header.get("bf16", ()) else _ONNX_DTYPES[self._tensors[name].type]

    def get_tensor_location(self, name: str) -> Any:
        return "HOST" if name in self.header.get("host", ()) else self.module.TensorLocation.DEVICE

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(n if isinstance(n, int) else -1 for n in self._tensors[name].shape)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in self.header["profiles"][profile][name]]

    def create_runtime_config(self) -> Any:
        return self.module.IRuntimeConfig(self)

    def create_execution_context(self, how: Any = "STATIC") -> Any:
        strategies = self.module.ExecutionContextAllocationStrategy
        is_config = hasattr(how, "strategy")
        strategy = how.strategy if is_config else how
        context = self.module.IExecutionContext(self, strategy is strategies.USER_MANAGED, how if is_config else None)
        self.told.contexts.append(context)
        return context


class Config:
    """Of a context. TensorRT captures graphs by itself unless it is told not to."""

    module: Any
    told: RuntimeTold

    def __init__(self, engine: Any) -> None:
        self.engine, self.strategy = engine, "STATIC"
        self.cuda_graph_strategy: Any = "WHOLE_GRAPH_CAPTURE"
        self.dynamic_shapes_kernel_specialization_strategy: Any = "LAZY"
        self.cache: Any = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> Any:
        cache = self.module.IRuntimeCache()
        cache.key = self.engine.key
        return cache

    def set_runtime_cache(self, cache: Any) -> bool:
        self.cache = cache
        return True


class Cache:
    module: Any
    told: RuntimeTold
    key = 0
    kernels = b""

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"kernels"):
            return False
        self.kernels = bytes(blob)
        return True

    def serialize(self) -> bytes:
        return self.kernels


class Context:
    module: Any
    told: RuntimeTold

    def __init__(self, engine: Any, user_managed: bool, config: Any) -> None:
        self.engine, self.config, self._user_managed = engine, config, user_managed
        self.memory: tuple[int, int | None] | None = None
        self.profiler: Any = None
        self.profile: int | None = None
        self.aux: list[int] | None = None
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.address_calls = 0
        self.ran = self._running = False

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "device_memory":
            self.memory = (value, None)
        object.__setattr__(self, name, value)

    def set_device_memory(self, address: int, size: int) -> None:
        self.memory = (address, size)

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile if stream and 0 <= profile < self.engine.num_optimization_profiles else None
        return self.profile is not None

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.get_tensor_profile_shape(name, self.profile)
        fits = all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True))
        if fits:
            self.shapes[name] = tuple(shape)
        return fits

    def infer_shapes(self) -> list[str]:
        return [name for name in self.engine.inputs if min(self.get_tensor_shape(name), default=1) < 1]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = self.shapes.get(name, self.engine.get_tensor_shape(name))
        if min(shape, default=1) >= 1 or name in self.engine.inputs:
            return shape
        given = {n: np.zeros(self.get_tensor_shape(n), self.engine.get_tensor_dtype(n)) for n in self.engine.inputs}
        if any(-1 in self.get_tensor_shape(n) for n in self.engine.inputs):
            return shape
        return tuple(self.engine.session.run([name], given)[0].shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.address_calls += 1
        if name not in self.engine.names or not address:
            report(self.engine.runtime, "INVALID_ARGUMENT", f"IExecutionContext::setTensorAddress: {name}")
            return False
        self.addresses[name] = address
        return True

    def set_aux_streams(self, handles: list[int]) -> None:
        self.aux = handles

    def is_stream_capturable(self, stream: int) -> bool:
        return bool(stream) and not self.told.not_capturable

    def execute_async_v3(self, stream: int) -> bool:
        problem = self.told.fails or self._problem(stream)
        self.told.fails = None
        if problem is not None:
            report(self.engine.runtime, *problem)
            return False
        self._compile()
        self.ran = True
        self.told.calls.append("execute_async_v3")
        _launch(stream, self._work(dict(self.addresses)))
        if self.profiler is not None:
            for layer in self.engine.header.get("layers", ("all of it",)):
                self.profiler.report_layer_time(layer, 0.25)
        return True

    def _problem(self, stream: int) -> tuple[str, str] | None:
        missing = [name for name in self.engine.names if name not in self.addresses]
        if missing:
            return "INVALID_STATE", f"IExecutionContext::enqueueV3: address of {missing[0]} is not set"
        if self.infer_shapes():
            return "INVALID_STATE", f"IExecutionContext::enqueueV3: shape of {self.infer_shapes()[0]} is not set"
        if self._user_managed and self.engine.device_memory_size_v2 and not self._has_memory():
            return "INVALID_STATE", "IExecutionContext::enqueueV3: no device memory, or not enough, or not aligned"
        if stream == 0:
            return "INVALID_ARGUMENT", "IExecutionContext::enqueueV3: the default stream"
        aux = self.aux or []
        if self.engine.num_aux_streams and len({*aux, stream}) != self.engine.num_aux_streams + 1:
            return "INVALID_ARGUMENT", "IExecutionContext::enqueueV3: auxiliary streams are missing or not different"
        if not self.ran and _capturing(stream):
            return "INVALID_STATE", "IExecutionContext::enqueueV3: the first run sets up, it cannot be captured"
        return None

    def _has_memory(self) -> bool:
        if self.memory is None or not self.memory[0] or self.memory[0] % 256:
            return False
        return self.memory[1] is None or self.memory[1] >= self.engine.device_memory_size_v2

    def _compile(self) -> None:
        """TensorRT-RTX compiles the kernels that its cache has not."""
        cache = None if self.config is None else self.config.cache
        if self.ran or (cache is not None and cache.kernels):
            return
        self.told.compiled += 1
        if cache is not None:
            cache.kernels = b"kernels"

    def _work(self, addresses: dict[str, int]) -> Any:
        arrays = {name: self._array(name, address) for name, address in addresses.items()}
        session, inputs = self.engine.session, self.engine.inputs
        outputs = [name for name in self.engine.names if name not in inputs]

        def work() -> None:
            if self._running:
                self.told.violations.append("two runs of one context at the same time")
            self._running = True
            try:
                answers = session.run(outputs, {name: arrays[name] for name in inputs})
                for name, answer in zip(outputs, answers, strict=True):
                    arrays[name][...] = answer
            except _ERRORS as error:
                self.told.violations.append(f"{type(error).__name__}: {error}")
            finally:
                self._running = False

        return work

    def _array(self, name: str, address: int) -> Any:
        dtype, shape = np.dtype(self.engine.get_tensor_dtype(name)), self.get_tensor_shape(name)
        size = int(np.prod(shape)) * dtype.itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


def _launch(stream: int, work: Any) -> None:
    from edge_runtime.device.host_functions import launch

    launch(stream, work, once=False)  # a graph runs it again and again


def _capturing(stream: int) -> bool:
    status = ctypes.c_int()
    code = ctypes.CDLL("libcuda.so.1").cuStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(status))
    assert code == 0, f"cuStreamIsCapturing gave {code}"
    return status.value == _CAPTURING


WORK = {"Runtime": Runtime, "ICudaEngine": Engine, "IExecutionContext": Context, "IRuntimeConfig": Config,
        "IRuntimeCache": Cache}  # fmt: skip
"""What does the work, by the library's names."""
