"""The protocol of an inference library: load bytes that were verified, then enqueue runs on a stream.

A backend knows tensors. It never sees a threshold, a label or a model family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edge_runtime.device.base import Buffer, Device, Stream
from edge_runtime.errors import EngineError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class TensorInfo:
    """A network's input or output. `dtype` is NumPy's name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class LayerTime:
    """A layer, as the builder named it after fusing, and its time on the device."""

    name: str
    seconds: float


class Session(Protocol):
    """A loaded network with fixed shapes."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What goes in."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """What comes out."""

    def enqueue(self, bindings: Mapping[str, Buffer], stream: Stream) -> None:
        """Append one run to the stream and return at once. `bindings` has a buffer for every input and output.

        Raises:
            EngineError: a binding is missing, unknown, of another shape or element type, or the session is closed;
                nothing was enqueued. A failure of the run itself surfaces when the stream is synchronized.
        """

    @property
    def not_capturable(self) -> str:
        """Why a run cannot be recorded in a graph now; empty where it can."""

    @property
    def device_memory_bytes(self) -> int:
        """What a run needs of the device beside weights and bindings."""

    def another(self) -> Session:
        """One more execution context over the same weights, for runs on one more stream at the same time."""

    def close(self) -> None:
        """Free the network; a second call does nothing."""


@runtime_checkable
class Profiled(Protocol):
    """A session whose library tells how long each layer takes."""

    def profile(self, runs: int) -> tuple[LayerTime, ...]:
        """Medians of so many runs, on a context of its own, in the order in which the layers run."""


class Backend(Protocol):
    """An inference library."""

    @property
    def name(self) -> str:
        """The flavour that a passport names."""

    @property
    def version(self) -> str:
        """Full version of the library."""

    def load(self, engine: bytes, device: Device, shapes: Shapes | None = None, /) -> Session:
        """Make a session of verified bytes. `shapes`: of inputs whose extents the engine leaves open, by name.

        Raises:
            EngineRejected: the library does not take the engine.
            BackendUnavailable: the device is none that this library runs on.
            OutOfDeviceMemory: the network does not fit.
        """


def check_bindings(tensors: tuple[TensorInfo, ...], bindings: Mapping[str, Buffer]) -> None:
    """Raise `EngineError` unless `bindings` has exactly these tensors, each of its shape and element type."""
    names = {tensor.name for tensor in tensors}
    if unknown := sorted(set(bindings) - names):
        raise EngineError(f"the network has no tensor {unknown[0]!r}; it has: {', '.join(sorted(names))}")
    for tensor in tensors:
        buffer = bindings.get(tensor.name)
        if buffer is None:
            raise EngineError(f"tensor {tensor.name!r} has no buffer; bind every input and output")
        if buffer.dtype != tensor.dtype:
            raise EngineError(f"tensor {tensor.name!r} is {tensor.dtype}, its buffer is {buffer.dtype}")
        if buffer.shape != tensor.shape:
            raise EngineError(f"tensor {tensor.name!r} is {tensor.shape}, its buffer is {buffer.shape}")
