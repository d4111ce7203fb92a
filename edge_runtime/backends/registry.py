"""Which backend runs engines, on which device, and why. Each is imported when it is chosen."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from edge_runtime import config
from edge_runtime.backends.base import Backend
from edge_runtime.device.base import Device
from edge_runtime.device.host import HostDevice
from edge_runtime.device.probe import asked
from edge_runtime.device.settings import CudaSettings
from edge_runtime.errors import BackendUnavailable

log = logging.getLogger("edge_runtime.backends")

ONNXRUNTIME, TENSORRT, TENSORRT_RTX = "onnxruntime", "tensorrt", "tensorrt_rtx"
CPU, CUDA = "cpu", "cuda"

FLAVOURS: Mapping[str, tuple[str, str]] = {
    TENSORRT: (
        "edge_runtime.backends.tensorrt:TensorrtBackend",
        "JetPack 6.1 or newer brings TensorRT (apt install python3-libnvinfer, and a virtual environment with "
        "--system-site-packages); for a card: pip install tensorrt",
    ),
    TENSORRT_RTX: ("edge_runtime.backends.tensorrt:TensorrtBackend", "run: pip install 'edge-runtime[tensorrt-rtx]'"),
    ONNXRUNTIME: ("edge_runtime.backends.onnxruntime:OnnxRuntimeBackend", "run: pip install edge-runtime"),
}
"""What a passport calls the library: also its package's name. The backend as module:class, and what installs it."""

_ON_CUDA = "edge_runtime.backends.onnxruntime_cuda:OnnxRuntimeCudaBackend"
_BINDINGS: Mapping[str, tuple[str, str, str]] = {
    "cuda-python": (
        "edge_runtime.device.cuda:CudaDevice", "cuda.bindings",
        "run: pip install 'edge-runtime[cuda13]', on JetPack 6 'edge-runtime[cuda12]'",
    ),
    "pycuda": ("edge_runtime.device.pycuda:PycudaDevice", "pycuda", "run: pip install pycuda"),
}  # fmt: skip
_PROVIDER_LIBRARY = "capi/libonnxruntime_providers_cuda.so"
_CPU_ONLY = "the installed onnxruntime is the build for processors; see docs/gpu.md for those with CUDA"


@dataclass(frozen=True)
class Choice:
    """What runs engines. `reasons`: why, and why not what comes before it."""

    flavour: str  # onnxruntime | tensorrt | tensorrt_rtx
    device: str  # cpu | cuda
    reasons: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What the folders of its engines are called, before the precision."""
        return self.flavour.replace("_", "-")


def available(name: str) -> bool:
    """Whether a package is installed, such as `tensorrt` or `cuda.bindings`; says nothing of devices."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def choose(engines: config.Engines) -> Choice:
    """What the configuration stands for on this machine. Loads no library and opens no device.

    auto: TensorRT, where it is installed, the driver is usable, and all engines that were built were built for it too;
    else ONNX Runtime, on the GPU where its CUDA provider and the driver are there, else on the processor.

    Raises:
        BackendUnavailable: what is asked for is not to be had here; says why.
    """
    reasons: list[str] = []
    if engines.device != CPU and engines.backend != ONNXRUNTIME:
        flavour = _tensorrt(engines, reasons)
        if flavour is not None:
            return Choice(flavour, CUDA, tuple(reasons))
    if engines.backend in (TENSORRT, TENSORRT_RTX):
        raise BackendUnavailable(f"engines.backend is {engines.backend}: {'; '.join(reasons)}")
    if not available(ONNXRUNTIME):
        raise BackendUnavailable("; ".join([*reasons, f"{ONNXRUNTIME} is not installed; {FLAVOURS[ONNXRUNTIME][1]}"]))
    if engines.device == CPU:
        return Choice(ONNXRUNTIME, CPU, ("engines.device is cpu",))
    problem = _no_driver(engines) or _no_provider()
    if problem is None:
        return Choice(ONNXRUNTIME, CUDA, (*reasons, "onnxruntime has its CUDA provider"))
    if engines.device == CUDA:
        raise BackendUnavailable(f"engines.device is cuda: {'; '.join(dict.fromkeys([*reasons, problem]))}")
    return Choice(ONNXRUNTIME, CPU, tuple(dict.fromkeys([*reasons, problem])))


def _tensorrt(engines: config.Engines, reasons: list[str]) -> str | None:
    """TensorRT or TensorRT-RTX, where it can be used; why (not) goes to `reasons`."""
    asked = (engines.backend,) if engines.backend == TENSORRT_RTX else (TENSORRT, TENSORRT_RTX)
    installed = [flavour for flavour in asked if available(flavour)]
    if not installed:
        advice = "" if engines.backend == "auto" else f"; {FLAVOURS[asked[0]][1]}"
        reasons.append(f"{' and '.join(asked)} not installed{advice}")
        return None
    problem = _no_driver(engines)
    if problem is not None:
        reasons.append(problem)
        return None
    missing = {flavour: _not_built(Path(engines.path), flavour) for flavour in installed}
    complete = [flavour for flavour in installed if missing[flavour] == ()]
    if complete:
        reasons.append(f"every engine was built for {complete[0]}")
        return complete[0]
    if engines.backend != "auto":
        return min(installed, key=lambda flavour: len(missing[flavour] or ()))
    for flavour in installed:
        names = missing[flavour]
        reasons.append(f"{flavour}: no engine is built" if names is None
                       else f"not built for {flavour}: {', '.join(names)}")  # fmt: skip
    return None


def _not_built(engines: Path, flavour: str) -> tuple[str, ...] | None:
    """The engines that were built, and not for a flavour; None where nothing was built at all."""
    built: dict[str, set[str]] = {}
    for passport in engines.glob("*/*/passport.json"):
        target = passport.parent.name.rpartition("-")[0]
        built.setdefault(passport.parent.parent.name, set()).add(target)
    wanted = flavour.replace("_", "-")
    return tuple(sorted(name for name, targets in built.items() if wanted not in targets)) if built else None


def _no_driver(engines: config.Engines) -> str | None:
    found = asked()
    if isinstance(found, str):
        return found
    if engines.cuda.ordinal >= len(found.devices):
        return f"engines.cuda.ordinal is {engines.cuda.ordinal}, the driver has {len(found.devices)} devices"
    if _binding(engines.cuda.binding) is None:
        hints = "; ".join(f"{name}: {install}" for name, (_, _, install) in _BINDINGS.items())
        return f"no Python binding of the CUDA driver is installed ({hints})"
    return None


def _no_provider() -> str | None:
    spec = importlib.util.find_spec(ONNXRUNTIME)
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    return None if any((Path(folder) / _PROVIDER_LIBRARY).is_file() for folder in folders) else _CPU_ONLY


def _binding(asked: str) -> str | None:
    wanted = tuple(_BINDINGS) if asked == "auto" else (asked,)
    return next((name for name in wanted if available(_BINDINGS[name][1])), None)


def load_device(engines: config.Engines) -> Device:
    """Open the device that `choose` names, and say in the log which and why.

    Raises:
        BackendUnavailable: as `choose`, or the device cannot be opened.
    """
    choice = choose(engines)
    device = HostDevice(engines.threads) if choice.device == CPU else _cuda_device(engines.cuda)
    _tell(choice.flavour, device.name, "; ".join(choice.reasons))
    return device


@cache
def _tell(backend: str, device: str, because: str) -> None:
    """In the log, once a process."""
    log.info("engines run", extra={"event": {"backend": backend, "device": device, "because": because}})


def _cuda_device(cuda: config.Cuda) -> Device:
    name = _binding(cuda.binding)
    assert name is not None  # `choose` has seen it
    kind = _load(_BINDINGS[name][0])
    return cast("Device", kind(CudaSettings(cuda.ordinal, cuda.wait, cuda.hang_seconds)))


def load_backend(engines: config.Engines, device: Device) -> Backend:
    """The library of `choose`, for a device of `load_device`.

    Raises:
        BackendUnavailable: as `choose`, or its package is broken or too old.
    """
    choice = choose(engines)
    if choice.flavour != ONNXRUNTIME:
        return cast("Backend", _load(FLAVOURS[choice.flavour][0])(choice.flavour, cache_folder(engines)))
    if device.facts.kind == CPU:
        return cast("Backend", _load(FLAVOURS[ONNXRUNTIME][0])())
    return cast("Backend", _load(_ON_CUDA)(engines.cuda.ordinal, engines.cuda.memory_limit_bytes))


def open_on_cpu(threads: int = 0) -> tuple[Backend, HostDevice]:
    """ONNX Runtime on the processor, with a thread budget (0: as many as cores).

    Raises:
        BackendUnavailable: it is not installed.
    """
    engines = config.Engines(backend=ONNXRUNTIME, device=CPU, threads=threads)
    device = HostDevice(threads)
    return load_backend(engines, device), device


def cache_folder(engines: config.Engines) -> Path | None:
    """Where what a GPU's libraries compile for it is kept; None: nowhere, and each start compiles again."""
    named = engines.cuda.cache or os.environ.get("CACHE_DIRECTORY")  # which systemd makes, and names
    if named:
        return Path(named)
    folder = Path(engines.path)
    return folder / ".cache" if os.access(folder, os.W_OK) else None


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
