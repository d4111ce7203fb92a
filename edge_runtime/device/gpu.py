"""A GPU as a device, over either binding of the CUDA driver API."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge_runtime.device.base import Abilities, Argument, Buffer, Graph, Priority, Stream
from edge_runtime.device.binding import Binding
from edge_runtime.device.graph import capture, own_stream
from edge_runtime.device.hang import on_hang
from edge_runtime.device.memory import GpuBuffer, Holdings, Memory, host_address, is_pinned
from edge_runtime.device.settings import CudaSettings
from edge_runtime.device.stream import Core, GpuEvent, GpuStream
from edge_runtime.device.watchdog import Watchdog
from edge_runtime.domain import Array
from edge_runtime.errors import CaptureFailed, DeviceError, DeviceLost, EngineError

log = logging.getLogger("edge_runtime.device")


class GpuKernel:
    """A function of a loaded module."""

    def __init__(self, core: Core, module: GpuModule, function: Any) -> None:
        self._core, self._module, self._function = core, module, function

    def launch(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], arguments: Sequence[Argument], stream: Stream
    ) -> None:
        """Append one launch of `grid` blocks of `block` threads to a stream."""
        for argument in arguments:
            if not isinstance(argument, (GpuBuffer, np.generic)):
                raise EngineError(
                    f"a kernel takes buffers of its device and NumPy scalars, not {type(argument).__name__}"
                )
        on = own_stream(stream, self._core)
        on.enter().launch(self._function, grid, block, arguments, on.raw)
        if on.recording is not None:
            on.recording.kept.extend((self._module, *arguments))


class GpuModule:
    """Compiled kernels on the device."""

    def __init__(self, core: Core, image: bytes) -> None:
        self._core = core
        binding = core.enter()
        self._handle = binding.load_module(image)
        core.holdings.hold(self, binding.unload_module, self._handle)

    def kernel(self, name: str) -> GpuKernel:
        """The kernel of that name; raises DeviceError where there is none."""
        return GpuKernel(self._core, self, self._core.enter().function(self._handle, name))


class GpuDevice:
    """One GPU. Use `cuda.CudaDevice` or `pycuda.PycudaDevice`.

    `on_hang` is called by the watchdog's thread with what the host waits for; unless it is replaced, the process ends
    with the exit code of a lost device, because a kernel that does not return cannot be stopped otherwise.
    """

    concurrency = 2  # the copies of one image, and the kernels of another

    def __init__(self, binding: Binding, settings: CudaSettings) -> None:
        Holdings.collect_left()
        self.facts = binding.facts
        major, minor = binding.facts.compute_capability or (0, 0)
        self.name = f"{binding.facts.name} (SM {major}.{minor})"
        self.abilities = Abilities(
            graphs=binding.graphs is not None,
            priorities=binding.priorities,
            shared_memory=binding.maps_host_memory,
            kernels=True,
        )
        self.on_hang: Callable[[str], None] = self._end_process
        self._settings = settings
        watchdog = Watchdog(settings.hang_seconds, self._hangs)
        self._core = Core(binding, watchdog)
        self._memory = Memory(binding, self._core.holdings, self._collect)
        self._streams: list[GpuStream] = []

    @property
    def allocations(self) -> int:
        """How often memory was taken from the device or pinned on the host since it was opened."""
        return self._memory.allocations

    def stream(self, priority: Priority = Priority.NORMAL, /, *, immediate: bool = False) -> GpuStream:
        """A new stream. Where the binding has no priorities, each is a normal one; none is worked off by the caller."""
        del immediate
        stream = GpuStream(self._core, priority, f"stream-{len(self._streams)} ({priority.value})")
        self._streams.append(stream)
        return stream

    def event(self) -> GpuEvent:
        """A new event, not yet recorded."""
        return GpuEvent(self._core)

    def empty(self, shape: tuple[int, ...], dtype: str) -> GpuBuffer:
        """A new buffer with undefined content, at a multiple of 256 bytes. Raises OutOfDeviceMemory."""
        self._core.enter()
        return self._memory.buffer(shape, dtype)

    def staging(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A new array in pinned memory, undefined content. It stays readable as long as something refers to it."""
        self._core.enter()
        return self._memory.staging(shape, dtype)

    def pin(self, array: Array, /) -> Array | None:
        """The same memory, from which copies need no detour; None where it cannot be pinned, with a word in the log."""
        self._core.enter()
        try:
            return self._memory.registered(array)
        except DeviceLost:
            raise
        except DeviceError as error:
            log.info("memory is not pinned: pictures are copied once more", extra={"event": {"reason": str(error)}})
            return None

    def view(self, buffer: Buffer) -> Array | None:
        """The buffer as an array where host and device share memory, else None. It is read after a synchronize."""
        self._core.enter()
        return buffer.array if isinstance(buffer, GpuBuffer) else None

    def upload(self, array: Array, buffer: Buffer, stream: Stream) -> None:
        """Copy host to device in stream order; `array` stays untouched by the caller until then.

        From an array of `staging` the call returns at once. From any other the driver first copies it to pinned memory
        of its own and may wait for the stream before that: correct, but not overlapped. From the buffer's own view
        nothing is copied.
        """
        target, on = self._checked(array, buffer), own_stream(stream, self._core)
        if target.host_address != 0 and target.host_address == host_address(array):
            on.enter()
        elif array.size:
            self._copy(lambda binding: binding.copy_in(array, target.address, on.raw), array, target, on)

    def download(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Copy device to host in stream order; `array` is filled when the stream gets there.

        Into an array of `staging` the call returns at once; into any other the driver returns when the copy is done.
        """
        source, on = self._checked(array, buffer), own_stream(stream, self._core)
        if source.host_address != 0 and source.host_address == host_address(array):
            on.enter()
        elif array.size:
            self._copy(lambda binding: binding.copy_out(source.address, array, on.raw), array, source, on)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what `work` appends to `stream`, and to streams that wait for it, as a graph; nothing of it runs.

        The graph keeps what it uses alive. Raises CaptureFailed; the stream is then as it was before.
        """
        return capture(self._core, own_stream(stream, self._core), work)

    def load_module(self, image: bytes, /) -> GpuModule:
        """Load compiled kernels (a cubin). Raises DeviceError."""
        return GpuModule(self._core, image)

    def free_bytes(self) -> int | None:
        """Memory that is free on the device now, in bytes."""
        binding = self._core.enter()
        self._collect(False)
        return binding.memory()[0]

    def close(self) -> None:
        """Close every stream and free all memory; a second call does nothing."""
        if self._core.closed:
            return
        for stream in self._streams:
            stream.close()
        self._core.enter()
        self._core.closed = True
        self._core.holdings.close()
        self._core.watchdog.close()

    def _copy(self, copy: Callable[[Binding], None], array: Array, buffer: GpuBuffer, on: GpuStream) -> None:
        binding = on.enter()
        pinned = is_pinned(array)
        if on.recording is not None:
            if not pinned:
                raise CaptureFailed("copy", "pageable memory", "a graph copies from and to arrays of Device.staging")
            on.recording.kept.extend((array, buffer))
        if pinned:
            copy(binding)
            return
        self._core.watchdog.begin("a copy of pageable memory")
        try:
            copy(binding)
        finally:
            self._core.watchdog.end()

    def _checked(self, array: Array, buffer: Buffer) -> GpuBuffer:
        if not isinstance(buffer, GpuBuffer):
            raise EngineError("this buffer belongs to another device")
        if array.shape != buffer.shape or array.dtype.name != buffer.dtype:
            raise EngineError(
                f"cannot copy between {array.dtype} {array.shape} and a buffer of {buffer.dtype} {buffer.shape}"
            )
        if not array.flags.c_contiguous:
            raise EngineError("cannot copy an array that is not C-contiguous; use numpy.ascontiguousarray")
        return buffer

    def _collect(self, at_any_cost: bool) -> None:
        """Give back what is garbage, when no stream may still use it."""
        if not self._core.holdings.garbage or any(stream.recording for stream in self._streams):
            return
        if at_any_cost:
            self._core.binding.synchronize_context()
        elif not all(stream.idle for stream in self._streams):
            return
        self._core.holdings.collect()

    def _hangs(self, what: str) -> None:
        self.on_hang(what)

    def _end_process(self, what: str) -> None:
        log.critical("the device hangs; this process ends", extra={"event": {
            "device": self.name, "what": what, "seconds": self._settings.hang_seconds}})  # fmt: skip
        on_hang(what)
