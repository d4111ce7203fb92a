"""A device and the library that runs an engine on it, chosen as the runtime chooses them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.measured import Accelerator
from edge_runtime import config
from edge_runtime.backends.base import Backend
from edge_runtime.backends.registry import load_backend, load_device
from edge_runtime.device.base import Device

ONNXRUNTIME = "onnxruntime"
CUDA = "cuda"


@dataclass(frozen=True)
class Opened:
    """A device with the library for engines of one flavour."""

    backend: Backend
    device: Device

    @property
    def accelerator(self) -> Accelerator:
        """Under which name its figures stand."""
        return accelerator_of(self.device)


def accelerator_of(device: Device) -> Accelerator:
    """Under which name the figures of a device stand."""
    return Accelerator.GPU if device.facts.kind == "gpu" else Accelerator.CPU


@contextlib.contextmanager
def open_for(flavour: str, device: str = "auto", threads: int = 0) -> Iterator[Opened]:
    """Open what runs engines of a flavour; `device`: auto (ONNX Runtime's are for the processor) | cpu | cuda.

    Raises:
        BackendUnavailable: a package or a driver is missing.
    """
    engines = engines_for(flavour, device, threads)
    opened = load_device(engines)
    try:
        yield Opened(load_backend(engines, opened), opened)
    finally:
        opened.close()


def engines_for(flavour: str, device: str, threads: int) -> config.Engines:
    """The configuration that chooses it."""
    on_cpu = flavour == ONNXRUNTIME and device == "auto"
    return config.Engines(backend=flavour, device="cpu" if on_cpu else device, threads=threads)


def on(engines: config.Engines, device: str) -> config.Engines:
    """The same engines, on this device unless it is `auto`."""
    return engines if device == "auto" else dataclasses.replace(engines, device=device)
