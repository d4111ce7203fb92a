"""What the device of a GPU needs of a Python binding of the CUDA driver API; `cuda.py` and `pycuda.py` have one each.

Handles are whatever the binding uses. Every call raises the typed errors of `calls.failure`. Except for `make_current`,
a call is made in a thread in which the context is current.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge_runtime.device.base import Facts, Priority
from edge_runtime.domain import Array

Handle = Any


@dataclass(frozen=True)
class HostBlock:
    """Pinned memory of the host: what frees it, its address here, and on the device (0: not mapped)."""

    handle: Handle
    address: int
    device_address: int


class GraphCalls(Protocol):
    """CUDA graphs made by stream capture."""

    def begin(self, stream: Handle) -> None:
        """`cuStreamBeginCapture`, thread-local: other threads go on with whatever they do."""

    def record_node(self, event: Handle, stream: Handle) -> None:
        """Let each launch of the graph record the event here (CU_EVENT_RECORD_EXTERNAL)."""

    def end(self, stream: Handle) -> Handle:
        """`cuStreamEndCapture`, instantiate, upload: a graph that can be launched."""

    def abandon(self, stream: Handle) -> None:
        """End a capture that failed; raises nothing that says so once more."""

    def launch(self, graph: Handle, stream: Handle) -> None:
        """CuGraphLaunch."""

    def destroy(self, graph: Handle) -> None:
        """CuGraphExecDestroy."""


class Binding(Protocol):
    """The CUDA driver API on the primary context of one device."""

    facts: Facts
    maps_host_memory: bool  # the device reads pinned host memory in place
    graphs: GraphCalls | None
    priorities: bool

    def make_current(self) -> None:
        """Let the calls of this thread go to the primary context."""

    def release(self) -> None:
        """Give the primary context back. The last call."""

    def synchronize_context(self) -> None:
        """CuCtxSynchronize."""

    def memory(self) -> tuple[int, int]:
        """Free and all memory in bytes: cuMemGetInfo."""

    def allocate(self, size_bytes: int) -> tuple[Handle, int]:
        """`cuMemAlloc`: what frees it, and its address, a multiple of 256."""

    def free(self, block: Handle) -> None:
        """CuMemFree."""

    def pin(self, size_bytes: int, mapped: bool) -> HostBlock:
        """`cuMemHostAlloc`, portable."""

    def unpin(self, block: Handle) -> None:
        """CuMemFreeHost."""

    def register(self, address: int, size_bytes: int) -> Handle:
        """`cuMemHostRegister`, portable: of memory that somebody else took."""

    def unregister(self, block: Handle) -> None:
        """CuMemHostUnregister."""

    def create_stream(self, priority: Priority) -> tuple[Handle, int]:
        """A non-blocking stream, and the address of its CUstream."""

    def destroy_stream(self, stream: Handle) -> None:
        """CuStreamDestroy."""

    def synchronize_stream(self, stream: Handle) -> None:
        """CuStreamSynchronize."""

    def idle(self, stream: Handle) -> bool:
        """CuStreamQuery."""

    def wait_for_event(self, stream: Handle, event: Handle) -> None:
        """CuStreamWaitEvent."""

    def create_event(self) -> Handle:
        """An event with timing."""

    def destroy_event(self, event: Handle) -> None:
        """CuEventDestroy."""

    def record(self, event: Handle, stream: Handle) -> None:
        """CuEventRecord."""

    def synchronize_event(self, event: Handle) -> None:
        """CuEventSynchronize."""

    def milliseconds(self, since: Handle, until: Handle) -> float:
        """CuEventElapsedTime."""

    def copy_in(self, source: Array, address: int, stream: Handle) -> None:
        """CuMemcpyHtoDAsync of a whole C-contiguous array."""

    def copy_out(self, address: int, target: Array, stream: Handle) -> None:
        """CuMemcpyDtoHAsync into a whole C-contiguous array."""

    def load_module(self, image: bytes) -> Handle:
        """CuModuleLoadData."""

    def unload_module(self, module: Handle) -> None:
        """CuModuleUnload."""

    def function(self, module: Handle, name: str) -> Handle:
        """`cuModuleGetFunction`, as `launch` wants it."""

    def launch(
        self,
        function: Handle,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[Any],
        stream: Handle,
    ) -> None:
        """CuLaunchKernel. An argument is a NumPy scalar, or something with an `address`."""
