"""CUDA by NVIDIA's own binding, cuda.bindings 12.9 to 13.x."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from edge_runtime.device.arguments import CudaFunction
from edge_runtime.device.base import Facts, Priority
from edge_runtime.device.binding import GraphCalls, HostBlock
from edge_runtime.device.calls import Calls
from edge_runtime.device.gpu import GpuDevice
from edge_runtime.device.memory import host_address
from edge_runtime.device.probe import version_with
from edge_runtime.device.settings import DEFAULTS, CudaSettings
from edge_runtime.device.thread_context import ThreadContext
from edge_runtime.domain import Array
from edge_runtime.errors import BackendUnavailable, CaptureFailed, DeviceError, DeviceLost

log = logging.getLogger("edge_runtime.device")


class CudaDevice(GpuDevice):
    """A GPU by cuda.bindings: graphs, priorities and kernels.

    Raises:
        BackendUnavailable: no driver, a driver that is too old, no such device, or the package is missing.
    """

    def __init__(self, settings: CudaSettings = DEFAULTS) -> None:
        version = version_with(settings.ordinal)
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise BackendUnavailable(
                f"the package cuda-bindings cannot be imported ({error}); for a driver of CUDA 13: pip install "
                "'cuda-bindings>=13', for one of CUDA 12: pip install 'cuda-bindings~=12.9'"
            ) from error
        super().__init__(CudaBinding(driver, settings, version), settings)


class CudaBinding:
    """`binding.Binding` over the module cuda.bindings.driver."""

    priorities = True

    def __init__(self, driver: Any, settings: CudaSettings, version: tuple[int, int]) -> None:
        self._driver, self._call = driver, Calls(driver)
        call = self._call
        call.cuInit(0)
        self._device = call.cuDeviceGet(settings.ordinal)
        self._spin = settings.wait == "spin"
        self._context = self._retain()
        self._current = ThreadContext(lambda: call.cuCtxSetCurrent(self._context))
        self.make_current = self._current.enter
        self.facts = self._facts(version)
        self.maps_host_memory = bool(self.facts.integrated) and self._attribute("CAN_MAP_HOST_MEMORY") == 1
        self.graphs: GraphCalls | None = CudaGraphs(driver, call)
        self.make_current()
        least, greatest = call.cuCtxGetStreamPriorityRange()
        self._levels = {Priority.NORMAL: least, Priority.HIGH: greatest}

    def _retain(self) -> Any:
        """The primary context, waiting as the settings say unless it is active already."""
        flags = self._driver.CUctx_flags
        wanted = int(flags.CU_CTX_SCHED_SPIN if self._spin else flags.CU_CTX_SCHED_BLOCKING_SYNC)
        found, active = self._call.cuDevicePrimaryCtxGetState(self._device)
        if not active:
            self._call.cuDevicePrimaryCtxSetFlags(self._device, wanted)
        elif found & int(flags.CU_CTX_SCHED_MASK) != wanted:
            log.warning("the device is in use in this process already: how streams wait stays as it is",
                        extra={"event": {"flags": found, "wanted": wanted}})  # fmt: skip
        return self._call.cuDevicePrimaryCtxRetain(self._device)

    def _attribute(self, name: str) -> int:
        attribute = getattr(self._driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._call.cuDeviceGetAttribute(attribute, self._device))

    def _facts(self, version: tuple[int, int]) -> Facts:
        call = self._call
        return Facts(
            name=_text(call.cuDeviceGetName(256, self._device)),
            kind="gpu",
            compute_capability=(
                self._attribute("COMPUTE_CAPABILITY_MAJOR"),
                self._attribute("COMPUTE_CAPABILITY_MINOR"),
            ),
            integrated=self._attribute("INTEGRATED") == 1,
            memory_bytes=int(call.cuDeviceTotalMem(self._device)),
            driver_version=version,
            pci_bus_id=_text(call.cuDeviceGetPCIBusId(32, self._device)),
        )

    def release(self) -> None:
        """CuDevicePrimaryCtxRelease."""
        self._current.leave()
        self._call.cuDevicePrimaryCtxRelease(self._device)

    def synchronize_context(self) -> None:
        """CuCtxSynchronize."""
        self._call.cuCtxSynchronize()

    def memory(self) -> tuple[int, int]:
        """Free and all memory in bytes."""
        free, total = self._call.cuMemGetInfo()
        return int(free), int(total)

    def allocate(self, size_bytes: int) -> tuple[Any, int]:
        """Device memory."""
        block = self._call.cuMemAlloc(size_bytes)
        return block, int(block)

    def free(self, block: Any) -> None:
        """Give device memory back."""
        self._call.cuMemFree(block)

    def pin(self, size_bytes: int, mapped: bool) -> HostBlock:
        """Pinned memory of the host."""
        flags = self._driver.CU_MEMHOSTALLOC_PORTABLE | (self._driver.CU_MEMHOSTALLOC_DEVICEMAP if mapped else 0)
        address = int(self._call.cuMemHostAlloc(size_bytes, flags))
        return HostBlock(address, address, int(self._call.cuMemHostGetDevicePointer(address, 0)) if mapped else 0)

    def unpin(self, block: Any) -> None:
        """Give pinned memory back."""
        self._call.cuMemFreeHost(block)

    def register(self, address: int, size_bytes: int) -> Any:
        """Pin memory that somebody else took."""
        self._call.cuMemHostRegister(address, size_bytes, self._driver.CU_MEMHOSTREGISTER_PORTABLE)
        return address

    def unregister(self, block: Any) -> None:
        """Let it be pinned no more."""
        self._call.cuMemHostUnregister(block)

    def create_stream(self, priority: Priority) -> tuple[Any, int]:
        """A non-blocking stream."""
        flag = int(self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        stream = self._call.cuStreamCreateWithPriority(flag, self._levels[priority])
        return stream, int(stream)

    def destroy_stream(self, stream: Any) -> None:
        """CuStreamDestroy."""
        self._call.cuStreamDestroy(stream)

    def synchronize_stream(self, stream: Any) -> None:
        """CuStreamSynchronize."""
        self._call.cuStreamSynchronize(stream)

    def idle(self, stream: Any) -> bool:
        """CuStreamQuery."""
        try:
            self._call.cuStreamQuery(stream)
        except DeviceError as error:
            if error.code != "CUDA_ERROR_NOT_READY":
                raise
            return False
        return True

    def wait_for_event(self, stream: Any, event: Any) -> None:
        """CuStreamWaitEvent."""
        self._call.cuStreamWaitEvent(stream, event, 0)

    def create_event(self) -> Any:
        """An event with timing, on which the host waits as the settings say."""
        return self._call.cuEventCreate(0 if self._spin else int(self._driver.CUevent_flags.CU_EVENT_BLOCKING_SYNC))

    def destroy_event(self, event: Any) -> None:
        """CuEventDestroy."""
        self._call.cuEventDestroy(event)

    def record(self, event: Any, stream: Any) -> None:
        """CuEventRecord."""
        self._call.cuEventRecord(event, stream)

    def synchronize_event(self, event: Any) -> None:
        """CuEventSynchronize."""
        self._call.cuEventSynchronize(event)

    def milliseconds(self, since: Any, until: Any) -> float:
        """CuEventElapsedTime."""
        return float(self._call.cuEventElapsedTime(since, until))

    def copy_in(self, source: Array, address: int, stream: Any) -> None:
        """CuMemcpyHtoDAsync."""
        self._call.cuMemcpyHtoDAsync(address, host_address(source), source.nbytes, stream)

    def copy_out(self, address: int, target: Array, stream: Any) -> None:
        """CuMemcpyDtoHAsync."""
        self._call.cuMemcpyDtoHAsync(host_address(target), address, target.nbytes, stream)

    def load_module(self, image: bytes) -> Any:
        """CuModuleLoadData."""
        return self._call.cuModuleLoadData(image)

    def unload_module(self, module: Any) -> None:
        """CuModuleUnload."""
        self._call.cuModuleUnload(module)

    def function(self, module: Any, name: str) -> CudaFunction:
        """`cuModuleGetFunction`; under lazy loading this is what loads the kernel."""
        return CudaFunction(self._call.cuModuleGetFunction(module, name.encode()))

    def launch(
        self,
        function: CudaFunction,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Any],
        stream: Any,
    ) -> None:
        """CuLaunchKernel."""
        with function.lock:
            packed = function.pack(arguments)
            self._call.cuLaunchKernel(function.handle, *grid, *block, 0, stream, packed, 0)


class CudaGraphs:
    """`binding.GraphCalls` over cuda.bindings."""

    def __init__(self, driver: Any, call: Calls) -> None:
        self._driver, self._call = driver, call

    def begin(self, stream: Any) -> None:
        """CuStreamBeginCapture."""
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call.cuStreamBeginCapture(stream, mode)

    def record_node(self, event: Any, stream: Any) -> None:
        """`cuEventRecordWithFlags`, external."""
        flag = int(self._driver.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL)
        self._call.cuEventRecordWithFlags(event, stream, flag)

    def end(self, stream: Any) -> Any:
        """`cuStreamEndCapture`, cuGraphInstantiate, cuGraphUpload."""
        try:
            graph = self._call.cuStreamEndCapture(stream)
        except CaptureFailed:
            self.abandon(stream)  # whether the capture is over then depends on the error
            raise
        try:
            executable = self._call.cuGraphInstantiate(graph, 0)
        finally:
            self._call.cuGraphDestroy(graph)
        try:
            self._call.cuGraphUpload(executable, stream)
        except DeviceError:
            self.destroy(executable)
            raise
        return executable

    def abandon(self, stream: Any) -> None:
        """`cuStreamEndCapture`; the graph, if there is one, goes."""
        try:
            graph = self._call.cuStreamEndCapture(stream)
        except DeviceLost:
            raise
        except DeviceError as error:
            log.debug("the capture was given up: %s", error)
            return
        if int(graph):
            self._call.cuGraphDestroy(graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """CuGraphLaunch."""
        self._call.cuGraphLaunch(graph, stream)

    def destroy(self, graph: Any) -> None:
        """CuGraphExecDestroy."""
        self._call.cuGraphExecDestroy(graph)


def _text(name: bytes) -> str:
    return name.split(b"\0")[0].decode(errors="replace")
