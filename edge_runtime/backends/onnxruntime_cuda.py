"""ONNX Runtime's CUDA provider, bound to our streams and buffers: the GPU where TensorRT cannot be had."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from edge_runtime.backends.base import Shapes, TensorInfo, check_bindings
from edge_runtime.backends.onnxruntime import tensor_info
from edge_runtime.backends.smoke_network import SMOKE_INPUT, SMOKE_NETWORK
from edge_runtime.device.base import Buffer, Device, Stream
from edge_runtime.errors import BackendUnavailable, EngineError, EngineRejected, InferenceFailed, OutOfDeviceMemory

log = logging.getLogger("edge_runtime.backends.onnxruntime")

PROVIDER = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3
_SMOKE_TOLERANCE = 1e-3
_NOT_CAPTURABLE = "ONNX Runtime may allocate and wait within a run"

OPTIONS: Mapping[str, str] = {
    "arena_extend_strategy": "kSameAsRequested",  # grows by what is asked for, not to the next power of two
    "cudnn_conv_algo_search": "HEURISTIC",  # EXHAUSTIVE times them all, and may choose others at the next start
    "do_copy_in_default_stream": "1",  # copies on our stream: on one of its own they are not ordered with the rest
    "use_tf32": "0",  # FP32 engines were measured in FP32
}  # fmt: skip
"""The provider's options that do not depend on the device, as its documentation names them."""

SESSION_ENTRIES: Mapping[str, str] = {
    "session.disable_cpu_ep_fallback": "1",  # a node on the processor would wait for the GPU in the middle of a run
    "session.record_ep_graph_assignment_info": "1",
    "session.intra_op.allow_spinning": "0",
}
RUN_ENTRIES: Mapping[str, str] = {"disable_synchronize_execution_providers": "1"}
"""A run is ordered on its stream, and no more."""

MakeSession = Callable[[bytes, int], Any]
"""An InferenceSession of a network on the stream of a handle."""


class OnnxRuntimeCudaBackend:
    """The provider on the GPU number `ordinal`. `memory_limit_bytes`: of each session's arena; 0: what it needs."""

    name = "onnxruntime"

    def __init__(self, ordinal: int = 0, memory_limit_bytes: int = 0) -> None:
        self.version: str = f"{onnxruntime.__version__} CUDA"
        self._ordinal, self._limit = ordinal, memory_limit_bytes
        self._tried = False

    def load(self, engine: bytes, device: Device, _shapes: Shapes | None = None, /) -> OnnxRuntimeCudaSession:
        """Make a session of verified bytes. See `Backend.load`.

        Raises:
            BackendUnavailable: the provider does not work here; it takes not every node of the network; or the device
                is none of its.
            OutOfDeviceMemory: the network does not fit.
        """
        if device.facts.kind != "gpu":
            raise BackendUnavailable(f"ONNX Runtime's CUDA provider runs on a GPU, not on {device.name}")
        if PROVIDER not in onnxruntime.get_available_providers():
            raise BackendUnavailable(f"onnxruntime {onnxruntime.__version__} is built without CUDA; see docs/gpu.md")
        device.free_bytes()  # the device's context is the calling thread's from here on
        if not self._tried:
            self._smoke(device)
            self._tried = True
        return OnnxRuntimeCudaSession(engine, self._make_session, device, self._ordinal)

    def _make_session(self, network: bytes, handle: int) -> Any:
        providers: list[Any] = [(PROVIDER, provider_options(self._ordinal, handle, self._limit))]
        try:
            session = onnxruntime.InferenceSession(
                network, _session_options(SESSION_ENTRIES), providers=providers, enable_fallback=False
            )
        except Exception as error:
            raise self._explained(network, str(error)) from error
        if PROVIDER not in session.get_providers():
            raise BackendUnavailable(
                f"onnxruntime {onnxruntime.__version__} fell back to {', '.join(session.get_providers())}: its CUDA "
                "libraries do not load here; see docs/gpu.md, or set engines.device to cpu"
            )
        return session

    def _explained(self, network: bytes, said: str) -> Exception:
        """Why no session could be made."""
        if "out of memory" in said.lower() or "failed to allocate memory" in said.lower():
            return OutOfDeviceMemory("InferenceSession", "out of memory", said)
        if "fallback to CPU EP has been explicitly disabled" in said:
            return BackendUnavailable(
                f"the CUDA provider of onnxruntime {onnxruntime.__version__} does not run every node of this network"
                f"{self._on_the_processor(network)}; build it for TensorRT, or set engines.device to cpu"
            )
        return EngineRejected(f"ONNX Runtime {self.version} does not take this engine: {said}")

    def _on_the_processor(self, network: bytes) -> str:
        """The nodes that the provider leaves to the processor, as far as the library tells."""
        if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
            return ""  # before 1.24
        options = _session_options({**SESSION_ENTRIES, "session.disable_cpu_ep_fallback": "0"})
        providers: list[Any] = [(PROVIDER, {"device_id": str(self._ordinal)}), _CPU]
        try:
            parts = onnxruntime.InferenceSession(
                network, options, providers=providers
            ).get_provider_graph_assignment_info()
        except Exception as error:
            raise EngineRejected(f"ONNX Runtime {self.version} does not take this engine: {error}") from error
        nodes = [f"{n.name} ({n.op_type})" for p in parts if p.ep_name == _CPU for n in p.get_nodes()]
        return f": {', '.join(nodes[:5])}" if nodes else ""

    def _smoke(self, device: Device) -> None:
        """Run a small convolution on the GPU and on the processor: that a provider is listed proves nothing.

        Raises:
            BackendUnavailable: it fails or answers otherwise.
        """
        reference = onnxruntime.InferenceSession(SMOKE_NETWORK, _session_options({}), providers=[_CPU])
        (expected,) = reference.run(None, {"x": SMOKE_INPUT})
        stream = device.stream()
        try:
            session = OnnxRuntimeCudaSession(SMOKE_NETWORK, self._make_session, device, self._ordinal)
            given, found = (device.staging(a.shape, a.dtype.name) for a in (SMOKE_INPUT, expected))
            buffers = {"x": device.empty(given.shape, "float32"), "y": device.empty(found.shape, "float32")}
            np.copyto(given, SMOKE_INPUT)
            device.upload(given, buffers["x"], stream)
            session.enqueue(buffers, stream)
            device.download(buffers["y"], found, stream)
            stream.synchronize()
            session.close()
        except (InferenceFailed, EngineRejected) as error:
            raise BackendUnavailable(f"onnxruntime {onnxruntime.__version__} lists {PROVIDER}, which does not work on "
                                     f"{device.name}: {error}") from error  # fmt: skip
        finally:
            stream.close()
        difference = float(np.abs(found - expected).max())
        if not difference <= _SMOKE_TOLERANCE:
            raise BackendUnavailable(f"{PROVIDER} of onnxruntime {onnxruntime.__version__} computes wrongly on "
                                     f"{device.name}: it differs from the processor by {difference:.3g}")  # fmt: skip


class OnnxRuntimeCudaSession:
    """A network whose runs are ordered on the stream that they are enqueued on.

    The library binds a session to one stream when it is made. So there is one for each stream that runs were enqueued
    on, made at the first of them; each holds the weights.
    """

    not_capturable = _NOT_CAPTURABLE

    def __init__(self, engine: bytes, make: MakeSession, device: Device, ordinal: int) -> None:
        self._engine, self._make, self._device, self._ordinal = engine, make, device, ordinal
        self._probe: Stream | None = device.stream()
        first = make(engine, self._probe.handle)
        self.inputs: tuple[TensorInfo, ...] = tuple(tensor_info(tensor) for tensor in first.get_inputs())
        self.outputs: tuple[TensorInfo, ...] = tuple(tensor_info(tensor) for tensor in first.get_outputs())
        self.device_memory_bytes = 0  # the library's arena is its own
        self._unbound: Any = first
        self._lanes: dict[int, _Lane] = {}
        self._closed = False
        self._options = onnxruntime.RunOptions()
        for key, value in RUN_ENTRIES.items():
            self._options.add_run_config_entry(key, value)

    def enqueue(self, bindings: Mapping[str, Buffer], stream: Stream) -> None:
        """Append one run to the stream and return at once. See `Session.enqueue`.

        Raises:
            InferenceFailed: the library did not take the run; with its words.
        """
        if self._closed:
            raise EngineError("this session is closed")
        check_once = self.inputs + self.outputs
        lane = self._lanes.get(stream.handle) or self._lane(check_once, bindings, stream)
        binding = lane.binding(check_once, bindings, self._ordinal)
        try:
            lane.session.run_with_iobinding(binding, self._options)
        except Exception as error:
            self._device.free_bytes()  # raises where the device itself is lost
            raise InferenceFailed(f"ONNX Runtime failed in a run: {error}") from error

    def _lane(self, tensors: Sequence[TensorInfo], bindings: Mapping[str, Buffer], stream: Stream) -> _Lane:
        check_bindings(tuple(tensors), bindings)
        if self._lanes:
            log.info("a network is loaded once more, for one more stream")
        lane = _Lane(self._make(self._engine, stream.handle), stream)
        self._lanes[stream.handle] = lane
        self._free_unbound()
        return lane

    def _free_unbound(self) -> None:
        """Give back what `__init__` loaded to see that the library takes the network."""
        self._unbound = None
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    def another(self) -> OnnxRuntimeCudaSession:
        """The same network for one more stream: loaded once more, with its weights."""
        if self._closed:
            raise EngineError("this session is closed")
        return OnnxRuntimeCudaSession(self._engine, self._make, self._device, self._ordinal)

    def close(self) -> None:
        """Free the network once its runs have ended; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for lane in self._lanes.values():
            try:
                lane.stream.synchronize()
            except EngineError as error:  # whoever waits for the stream is told as well
                log.info("a network was closed on a stream that had failed", extra={"event": {"error": str(error)}})
        self._lanes.clear()
        self._free_unbound()


class _Lane:
    """The library's session for one stream, and its view of the buffers, made once for each set of them."""

    def __init__(self, session: Any, stream: Stream) -> None:
        self.session, self.stream = session, stream
        self._known: dict[tuple[tuple[str, int], ...], tuple[Any, Mapping[str, Buffer]]] = {}

    def binding(self, tensors: tuple[TensorInfo, ...], bindings: Mapping[str, Buffer], ordinal: int) -> Any:
        """The library's IOBinding of these buffers, which it keeps alive."""
        key = tuple((name, buffer.address) for name, buffer in bindings.items())
        known = self._known.get(key)
        if known is not None:
            return known[0]
        check_bindings(tensors, bindings)
        binding, inputs = self.session.io_binding(), {t.name for t in self.session.get_inputs()}
        for tensor in tensors:
            bind = binding.bind_input if tensor.name in inputs else binding.bind_output
            bind(tensor.name, "cuda", ordinal, np.dtype(tensor.dtype), tensor.shape, bindings[tensor.name].address)
        self._known[key] = (binding, dict(bindings))
        return binding


def provider_options(ordinal: int, handle: int, memory_limit_bytes: int) -> dict[str, str]:
    """The CUDA provider's options for a session on one stream of one GPU."""
    own = {"device_id": str(ordinal), "user_compute_stream": str(handle)}
    if memory_limit_bytes:
        own["gpu_mem_limit"] = str(memory_limit_bytes)
    return {**own, **OPTIONS}


def _session_options(entries: Mapping[str, str]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options
