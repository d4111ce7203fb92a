"""CUDA by pycuda, for sites that have it: the same surface without graphs and without priorities.

pycuda destroys a thing of a context only in a thread in which it has pushed that context itself, and aborts a process
whose thread ends with a context pushed. So the context is pushed for as long as something is made or destroyed and
popped again; work is given to streams under cuCtxSetCurrent, as any other library does it.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edge_runtime.device.base import Facts, Priority
from edge_runtime.device.binding import GraphCalls, HostBlock
from edge_runtime.device.calls import NAMES, failure
from edge_runtime.device.gpu import GpuDevice
from edge_runtime.device.memory import GpuBuffer, host_address
from edge_runtime.device.probe import version_with
from edge_runtime.device.settings import DEFAULTS, CudaSettings
from edge_runtime.device.thread_context import ThreadContext
from edge_runtime.domain import Array
from edge_runtime.errors import BackendUnavailable, DeviceError

log = logging.getLogger("edge_runtime.device")

_SCHED_SPIN, _SCHED_BLOCKING_SYNC, _SCHED_MASK = 1, 4, 7  # CUctx_flags
_NON_BLOCKING = 1  # CUstream_flags
_MESSAGE = re.compile(r"(\w+) failed: (.*)", re.DOTALL)  # of pycuda's errors

USED_NAMES = {
    "": ("Context", "Device", "Error", "Event", "Stream", "get_driver_version", "init", "mem_alloc", "mem_get_info",
         "memcpy_dtoh_async", "memcpy_htod_async", "module_from_buffer", "pagelocked_empty"),
    "Context": ("detach", "handle", "pop", "push", "synchronize"),
    "Device": ("compute_capability", "get_attribute", "name", "pci_bus_id", "retain_primary_context", "total_memory"),
    "DeviceAllocation": ("free",),
    "Event": ("record", "synchronize", "time_since"),
    "Function": ("__call__",),
    "Module": ("get_function",),
    "PagelockedHostAllocation": ("free", "get_device_pointer"),
    "Stream": ("handle", "is_done", "synchronize", "wait_for_event"),
    "device_attribute": ("CAN_MAP_HOST_MEMORY", "INTEGRATED"),
    "event_flags": ("BLOCKING_SYNC",),
    "host_alloc_flags": ("DEVICEMAP", "PORTABLE"),
}  # fmt: skip
"""Of pycuda.driver, by class, the module's own under ""."""


class PycudaDevice(GpuDevice):
    """A GPU by pycuda: kernels; no graphs, no priorities.

    Raises:
        BackendUnavailable: no driver, a driver that is too old, no such device, or the package is missing.
    """

    def __init__(self, settings: CudaSettings = DEFAULTS) -> None:
        version = version_with(settings.ordinal)
        try:
            driver = importlib.import_module("pycuda.driver")
        except ImportError as error:
            raise BackendUnavailable(f"the package pycuda cannot be imported ({error}); it is built from source: "
                                     "pip install pycuda, with the CUDA toolkit's nvcc on PATH") from error  # fmt: skip
        super().__init__(PycudaBinding(driver, settings, version), settings)


class PycudaBinding:
    """`binding.Binding` over the module pycuda.driver. A handle that is destroyed is a list with the object in it."""

    priorities = False

    def __init__(self, driver: Any, settings: CudaSettings, version: tuple[int, int]) -> None:
        self.graphs: GraphCalls | None = None
        self._driver = driver
        self._library = ctypes.CDLL("libcuda.so.1")
        self._codes = _codes(self._library)
        self._spin = settings.wait == "spin"
        self._do(driver.init)
        device = self._do(driver.Device, settings.ordinal)
        self._set_flags(settings.ordinal)
        self._context = self._do(device.retain_primary_context)
        address = ctypes.c_void_p(self._context.handle)
        self._current = ThreadContext(lambda: self._plain("cuCtxSetCurrent", address))
        self.make_current = self._current.enter
        attribute = driver.device_attribute
        self.facts = Facts(
            name=self._do(device.name),
            kind="gpu",
            compute_capability=self._do(device.compute_capability),
            integrated=self._do(device.get_attribute, attribute.INTEGRATED) == 1,
            memory_bytes=int(self._do(device.total_memory)),
            driver_version=version,
            pci_bus_id=self._do(device.pci_bus_id),
        )
        can_map = self._do(device.get_attribute, attribute.CAN_MAP_HOST_MEMORY) == 1
        self.maps_host_memory = bool(self.facts.integrated) and can_map

    def _set_flags(self, ordinal: int) -> None:
        """How streams wait; pycuda has no call for it."""
        device, found, active = ctypes.c_int(), ctypes.c_uint(), ctypes.c_int()
        self._plain("cuDeviceGet", ctypes.byref(device), ordinal)
        self._plain("cuDevicePrimaryCtxGetState", device, ctypes.byref(found), ctypes.byref(active))
        wanted = _SCHED_SPIN if self._spin else _SCHED_BLOCKING_SYNC
        if not active.value:
            self._plain("cuDevicePrimaryCtxSetFlags_v2", device, wanted)
        elif found.value & _SCHED_MASK != wanted:
            log.warning("the device is in use in this process already: how streams wait stays as it is",
                        extra={"event": {"flags": found.value, "wanted": wanted}})  # fmt: skip

    def _plain(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._library, name)(*arguments):
            raise failure(name.removesuffix("_v2"), code)

    def _do(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except self._driver.Error as error:
            raise self._typed(error) from error

    def _typed(self, error: Exception) -> DeviceError:
        """The error by the driver's own description, as pycuda's errors have no code."""
        found = _MESSAGE.match(str(error))
        if found is None:
            return DeviceError("pycuda", type(error).__name__, str(error))
        call, text = found.groups()
        code = self._codes.get(text.split(" - ")[0].strip())
        return DeviceError(call, text) if code is None else failure(call, code)

    @contextmanager
    def _pushed(self) -> Iterator[None]:
        self._do(self._context.push)
        try:
            yield
        finally:
            self._do(self._driver.Context.pop)

    def release(self) -> None:
        """Give the primary context back."""
        self._do(self._context.push)
        self._do(self._context.detach)
        self._plain("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        self._current.leave()

    def synchronize_context(self) -> None:
        """`cuCtxSynchronize`."""
        self._do(self._driver.Context.synchronize)

    def memory(self) -> tuple[int, int]:
        """Free and all memory in bytes."""
        free, total = self._do(self._driver.mem_get_info)
        return int(free), int(total)

    def allocate(self, size_bytes: int) -> tuple[Any, int]:
        """Device memory."""
        with self._pushed():
            block = self._do(self._driver.mem_alloc, size_bytes)
        return [block], int(block)

    def free(self, block: Any) -> None:
        """Give device memory, or pinned memory, back."""
        with self._pushed():
            self._do(block.pop().free)

    unpin = free

    def pin(self, size_bytes: int, mapped: bool) -> HostBlock:
        """Pinned memory of the host."""
        flags = self._driver.host_alloc_flags
        chosen = flags.PORTABLE | (flags.DEVICEMAP if mapped else 0)
        with self._pushed():
            array = self._do(self._driver.pagelocked_empty, size_bytes, np.uint8, mem_flags=chosen)
            block = array.base
            device_address = int(self._do(block.get_device_pointer)) if mapped else 0
        return HostBlock([block], host_address(array), device_address)

    def register(self, _address: int, _size_bytes: int) -> Any:
        """Pycuda wants the array itself, and keeps it: not for memory that comes and goes."""
        raise DeviceError("cuMemHostRegister", "CUDA_ERROR_NOT_SUPPORTED", "pycuda pins arrays of its own only")

    def unregister(self, _block: Any) -> None:
        """Nothing was registered."""

    def create_stream(self, _priority: Priority) -> tuple[Any, int]:
        """A non-blocking stream."""
        with self._pushed():
            stream = self._do(self._driver.Stream, _NON_BLOCKING)
        return [stream], int(stream.handle)

    def destroy_stream(self, stream: Any) -> None:
        """Let go of the last reference."""
        with self._pushed():
            stream.clear()

    destroy_event = unload_module = destroy_stream

    def synchronize_stream(self, stream: Any) -> None:
        """`cuStreamSynchronize`."""
        self._do(stream[0].synchronize)

    def idle(self, stream: Any) -> bool:
        """`cuStreamQuery`."""
        return bool(self._do(stream[0].is_done))

    def wait_for_event(self, stream: Any, event: Any) -> None:
        """`cuStreamWaitEvent`."""
        self._do(stream[0].wait_for_event, event[0])

    def create_event(self) -> Any:
        """An event with timing, on which the host waits as the settings say."""
        with self._pushed():
            return [self._do(self._driver.Event, 0 if self._spin else self._driver.event_flags.BLOCKING_SYNC)]

    def record(self, event: Any, stream: Any) -> None:
        """`cuEventRecord`."""
        self._do(event[0].record, stream[0])

    def synchronize_event(self, event: Any) -> None:
        """`cuEventSynchronize`."""
        self._do(event[0].synchronize)

    def milliseconds(self, since: Any, until: Any) -> float:
        """`cuEventElapsedTime`."""
        return float(self._do(until[0].time_since, since[0]))

    def copy_in(self, source: Array, address: int, stream: Any) -> None:
        """`cuMemcpyHtoDAsync`."""
        self._do(self._driver.memcpy_htod_async, address, source, stream[0])

    def copy_out(self, address: int, target: Array, stream: Any) -> None:
        """`cuMemcpyDtoHAsync`."""
        self._do(self._driver.memcpy_dtoh_async, target, address, stream[0])

    def load_module(self, image: bytes) -> Any:
        """A module, and its functions behind it."""
        with self._pushed():
            return [self._do(self._driver.module_from_buffer, image)]

    def function(self, module: Any, name: str) -> tuple[Any, int]:
        """The module and the function's place in it: what goes with the module must not be kept anywhere else."""
        with self._pushed():
            module.append(self._do(module[0].get_function, name))
        return module, len(module) - 1

    def launch(
        self,
        function: tuple[Any, int],
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Any],
        stream: Any,
    ) -> None:
        """`cuLaunchKernel`; pycuda packs the arguments."""
        module, place = function
        self._do(module[place], *map(_argument, arguments), grid=grid, block=block, stream=stream[0])


def _argument(argument: Any) -> np.generic:
    if isinstance(argument, GpuBuffer):
        return np.uint64(argument.address)
    return np.uint8(argument) if isinstance(argument, np.bool_) else argument


def _codes(library: ctypes.CDLL) -> dict[str, int]:
    """The first code of each of the driver's descriptions."""
    codes: dict[str, int] = {}
    text = ctypes.c_char_p()
    for code in NAMES:
        if library.cuGetErrorString(code, ctypes.byref(text)) == 0 and text.value is not None:
            codes.setdefault(text.value.decode(errors="replace"), code)
    return codes
