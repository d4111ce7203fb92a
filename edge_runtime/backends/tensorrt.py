"""TensorRT 10.3 to 11.x and TensorRT-RTX 1.x: execution contexts over one engine, each with memory of its own.

`context` is the library's object; the names that are asked of it stand in `tensorrt_api`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_runtime.backends.base import LayerTime, Shapes, TensorInfo, check_bindings
from edge_runtime.backends.tensorrt_api import load_api
from edge_runtime.backends.tensorrt_cache import KernelCache, cache_file
from edge_runtime.backends.tensorrt_context import ALIGNMENT, Loaded, make_context, output_tensors
from edge_runtime.backends.tensorrt_plan import open_plan
from edge_runtime.backends.tensorrt_profile import make_profiler, medians
from edge_runtime.device.base import Buffer, Device, Stream
from edge_runtime.errors import BackendUnavailable, EngineError, InferenceFailed

log = logging.getLogger("edge_runtime.backends.tensorrt")


class TensorrtBackend:
    """`tensorrt` or `tensorrt_rtx`. `cache`: the folder that keeps what TensorRT-RTX compiles; None: nowhere."""

    def __init__(self, module: str = "tensorrt", cache: Path | None = None) -> None:
        self._api = load_api(module)
        self._cache = cache
        self.name: str = self._api.name
        self.version: str = self._api.version
        if self._api.note is not None:
            log.warning(self._api.note)

    def load(self, engine: bytes, device: Device, shapes: Shapes | None = None, /) -> TensorrtSession:
        """Make a session of verified bytes. `shapes`: of inputs whose extents the engine leaves open.

        Raises as `Backend.load`, and OutOfDeviceMemory.
        """
        if device.facts.kind != "gpu":
            raise BackendUnavailable(f"{self._api.package} runs on a GPU, not on {device.name}")
        device.free_bytes()  # the device's context is the calling thread's from here on
        plan = open_plan(self._api, engine, shapes or {})
        kernels = None
        if self._api.runtime_cache and self._cache is not None:
            file = cache_file(self._cache, engine, device.facts.compute_capability, self.version)
            kernels = KernelCache(file)
        return TensorrtSession(Loaded(plan, device, kernels))


class TensorrtSession:
    """One execution context, for runs on one stream at a time."""

    def __init__(self, loaded: Loaded) -> None:
        plan, device = loaded.plan, loaded.device
        self._loaded = loaded
        self._scratch = device.empty((plan.scratch_bytes + ALIGNMENT,), "uint8") if plan.scratch_bytes else None
        self._aux = [device.stream() for _ in range(plan.aux_streams)]
        self._context: Any = make_context(loaded, self._scratch)
        self.inputs: tuple[TensorInfo, ...] = plan.inputs
        self.outputs = output_tensors(plan, self._context)
        self.device_memory_bytes: int = plan.scratch_bytes
        self._checked: dict[tuple[tuple[str, int], ...], Mapping[str, Buffer]] = {}
        self._addresses: tuple[tuple[str, int], ...] = ()
        self._stream: Stream | None = None
        self._handed = device.event()
        self._ran = False

    @property
    def not_capturable(self) -> str:
        """Why a run cannot be recorded in a graph now; empty where it can."""
        context, api = self._context, self._loaded.plan.api
        if context is None or self._stream is None or not self._ran:
            return "the network has not run yet: its first run sets it up"
        if api.stream_capturable and not context.is_stream_capturable(self._stream.handle):
            return f"{api.package} says that this network cannot be captured"
        return ""

    def enqueue(self, bindings: Mapping[str, Buffer], stream: Stream) -> None:
        """Append one run to the stream and return at once. See `Session.enqueue`.

        Raises:
            InferenceFailed: the library did not take the run; with its words.
            DeviceLost: nor will it take any other.
        """
        context = self._open_context()
        self._bind(bindings)
        if stream is not self._stream:
            self._go_to(stream)
        if self._aux:
            context.set_aux_streams([one.handle for one in self._aux])
        if not context.execute_async_v3(stream.handle):
            raise self._failure("a run")
        if not self._ran:
            self._ran = True
            if self._loaded.kernels is not None:
                self._loaded.kernels.store()

    def another(self) -> TensorrtSession:
        """One more execution context over the same weights, with memory of its own."""
        self._open_context()
        return TensorrtSession(self._loaded)

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Times of the layers, each the median of `runs` runs after one, in the order in which they run.

        On a context, stream and buffers of its own; what else the device does meanwhile is in the times.
        """
        self._open_context()
        session, device = TensorrtSession(self._loaded), self._loaded.device
        stream = device.stream()
        try:
            buffers = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
            found: list[tuple[str, float]] = []
            for number in range(runs + 1):
                if number == 1:
                    session._watch(found)
                session.enqueue(buffers, stream)
                stream.synchronize()
            return medians(found)
        finally:
            session.close()
            stream.close()

    def close(self) -> None:
        """Free the context once its runs have ended, and the engine with its last one; a second call does nothing."""
        if self._context is None:
            return
        if self._stream is not None:
            try:
                self._stream.synchronize()
            except EngineError as error:  # whoever waits for the stream is told as well
                log.info("a network was closed on a stream that had failed", extra={"event": {"error": str(error)}})
        self._context = None
        for stream in self._aux:
            stream.close()
        self._aux, self._scratch = [], None
        self._checked.clear()

    def _open_context(self) -> Any:
        if self._context is None:
            raise EngineError("this session is closed")
        return self._context

    def _bind(self, bindings: Mapping[str, Buffer]) -> None:
        """Tell the context the buffers' addresses, where they are not those of the run before."""
        addresses = tuple((name, buffer.address) for name, buffer in bindings.items())
        if addresses == self._addresses:
            return
        if addresses not in self._checked:
            check_bindings(self.inputs + self.outputs, bindings)
            self._checked[addresses] = dict(bindings)
        context, self._addresses = self._context, ()
        for name, address in addresses:
            if not context.set_tensor_address(name, address):
                raise self._failure(f"the address of tensor {name!r}")
        self._addresses = addresses

    def _go_to(self, stream: Stream) -> None:
        """A context has one memory: its next run, on another stream, waits for its last one."""
        if self._stream is not None:
            self._stream.record(self._handed)
            stream.wait(self._handed)
        self._stream = stream

    def _watch(self, found: list[tuple[str, float]]) -> None:
        context = self._open_context()
        context.profiler = make_profiler(self._loaded.plan.api.module, found)

    def _failure(self, what: str) -> Exception:
        """What the library says; where the device itself is lost, the call below raises that."""
        said = self._loaded.plan.words.take()
        self._loaded.device.free_bytes()
        return InferenceFailed(f"{self._loaded.plan.api.package} failed in {what}: {said}")
