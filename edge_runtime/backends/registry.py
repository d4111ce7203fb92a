"""The backends by name. Each is imported when it is chosen."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from edge_runtime.backends.base import Backend
from edge_runtime.device.base import Device
from edge_runtime.errors import BackendUnavailable


@dataclass(frozen=True)
class Entry:
    """Where a backend and its device live, the package they need and what installs it."""

    backend: str  # module:class
    device: str  # module:class, called with the thread budget
    package: str
    install: str


BACKENDS: Mapping[str, Entry] = {
    "onnxruntime": Entry(
        "edge_runtime.backends.onnxruntime:OnnxRuntimeBackend",
        "edge_runtime.device.host:HostDevice",
        "onnxruntime",
        "pip install edge-runtime",
    ),
}
KNOWN_ABSENT = {"tensorrt": "this version of Edge Runtime has no TensorRT backend; set engines.backend to onnxruntime"}
PREFERENCE = ("tensorrt", "onnxruntime")


def available(name: str) -> bool:
    """Whether the backend's package is installed; says nothing of its devices."""
    entry = BACKENDS.get(name)
    return entry is not None and importlib.util.find_spec(entry.package) is not None


def choose(name: str) -> str:
    """The backend that a configuration's `auto`, `onnxruntime` or `tensorrt` stands for.

    Raises:
        BackendUnavailable: it is not in this version, or its package is missing.
    """
    if name != "auto":
        load_backend(name)
        return name
    found = next((candidate for candidate in PREFERENCE if available(candidate)), None)
    if found is None:
        hints = "; ".join(f"{key}: {entry.install}" for key, entry in BACKENDS.items())
        raise BackendUnavailable(f"no backend is installed ({hints})")
    return found


def load_backend(name: str) -> Backend:
    """Import and construct a backend.

    Raises:
        BackendUnavailable: it is not known, or its package is missing. Any other ImportError is raised as it is.
    """
    entry = _entry(name)
    return cast("Backend", _load(entry.backend, name, entry)())


def load_device(name: str, threads: int) -> Device:
    """Construct the device that a backend runs on, with a thread budget (0: as many as cores)."""
    entry = _entry(name)
    return cast("Device", _load(entry.device, name, entry)(threads))


def _entry(name: str) -> Entry:
    if name in KNOWN_ABSENT:
        raise BackendUnavailable(f"backend {name}: {KNOWN_ABSENT[name]}")
    if name not in BACKENDS:
        raise BackendUnavailable(f"there is no backend {name!r}; there are: {', '.join(BACKENDS)}")
    return BACKENDS[name]


def _load(path: str, name: str, entry: Entry) -> type:
    module, _, attribute = path.partition(":")
    try:
        return cast("type", getattr(importlib.import_module(module), attribute))
    except ModuleNotFoundError as error:
        if error.name != entry.package:
            raise
        message = f"backend {name} needs the package {entry.package}, which is not installed; run: {entry.install}"
        raise BackendUnavailable(message) from error
