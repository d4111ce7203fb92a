"""ONNX Runtime on the CPU: the backend that runs everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from edge_runtime.backends.base import Shapes, TensorInfo, check_bindings
from edge_runtime.device.base import Buffer, Device, Stream
from edge_runtime.device.host import HostDevice
from edge_runtime.device.host_stream import HostStream
from edge_runtime.errors import BackendUnavailable, EngineError, EngineRejected, InferenceFailed

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_ERRORS_ONLY = 3


class OnnxRuntimeSession:
    """A network in ONNX Runtime. Runs go straight from and to the bound buffers, without a copy."""

    not_capturable = ""
    device_memory_bytes = 0

    def __init__(self, session: Any) -> None:
        self.inputs = tuple(tensor_info(tensor) for tensor in session.get_inputs())
        self.outputs = tuple(tensor_info(tensor) for tensor in session.get_outputs())
        self._session = session
        self._known: dict[tuple[tuple[str, int], ...], tuple[Any, dict[str, Buffer]]] = {}

    def enqueue(self, bindings: Mapping[str, Buffer], stream: Stream) -> None:
        """Append one run to the stream and return at once. See `Session.enqueue`."""
        session = self._session
        if session is None:
            raise EngineError("this session is closed")
        if not isinstance(stream, HostStream):
            raise EngineError("ONNX Runtime's CPU provider runs on a stream of the host")
        binding = self._bound(session, bindings)

        def run() -> None:
            try:
                session.run_with_iobinding(binding)
            except Exception as error:
                raise InferenceFailed(f"ONNX Runtime failed in a run: {error}") from error

        stream.submit(run)

    def _bound(self, session: Any, bindings: Mapping[str, Buffer]) -> Any:
        """The library's view of these buffers, made once for each set of them; it keeps them alive."""
        key = tuple((name, buffer.address) for name, buffer in bindings.items())
        known = self._known.get(key)
        if known is not None:
            return known[0]
        check_bindings(self.inputs + self.outputs, bindings)
        binding = session.io_binding()
        for tensor in self.inputs:
            buffer = bindings[tensor.name]
            binding.bind_input(tensor.name, "cpu", 0, np.dtype(tensor.dtype), tensor.shape, buffer.address)
        for tensor in self.outputs:
            buffer = bindings[tensor.name]
            binding.bind_output(tensor.name, "cpu", 0, np.dtype(tensor.dtype), tensor.shape, buffer.address)
        self._known[key] = (binding, dict(bindings))
        return binding

    def another(self) -> OnnxRuntimeSession:
        """This one: ONNX Runtime takes runs of several threads."""
        return self

    def close(self) -> None:
        """Free the network; a second call does nothing."""
        self._session = None
        self._known.clear()


class OnnxRuntimeBackend:
    """ONNX Runtime's CPU execution provider."""

    name = "onnxruntime"

    def __init__(self) -> None:
        self.version: str = onnxruntime.__version__

    def load(self, engine: bytes, device: Device, _shapes: Shapes | None = None, /) -> OnnxRuntimeSession:
        """Make a session of verified bytes. See `Backend.load`."""
        if not isinstance(device, HostDevice):
            raise BackendUnavailable(f"ONNX Runtime's CPU provider runs on the host, not on {device.name}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = device.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Threads that spin between runs take the cores from receiving and decoding, and gain nothing measurable here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # One block for all activations costs a 256^3 network 0.5 GB more at no gain in time.
        options.enable_mem_pattern = False
        try:
            session = onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EngineRejected(f"ONNX Runtime {self.version} does not take this engine: {error}") from error
        return OnnxRuntimeSession(session)


def tensor_info(tensor: Any) -> TensorInfo:
    """What the library says of an input or output. Raises EngineRejected where it cannot be bound."""
    if tensor.type not in _DTYPES:
        raise EngineRejected(f"tensor {tensor.name!r} is {tensor.type}, which this backend does not bind")
    if not all(isinstance(n, int) and n > 0 for n in tensor.shape):
        raise EngineRejected(f"tensor {tensor.name!r} has the shape {tensor.shape}; engines have fixed shapes")
    return TensorInfo(tensor.name, tuple(tensor.shape), _DTYPES[tensor.type])
