"""A device that fails when told to, in the roles of a daemon that is started with this folder on PYTHONPATH.

The file that FAILING_DEVICE names holds `WHERE KIND TIMES`. WHERE: `load`, when an engine is loaded; `run`, in every
run; `empty`, in runs whose input is all zero. KIND: see `fail`. TIMES: a number, or `*`. No file: all is well.
The arithmetic is that of ONNX Runtime on the host.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

VARIABLE = "FAILING_DEVICE"
ROLES = ("edge_runtime.roles.main", "edge_runtime.roles.trial")
WITH_A_DEVICE = ("infer", "studies", "load")


def due(where: str) -> str | None:
    """The kind of failure that is due here; it is counted."""
    file = Path(os.environ[VARIABLE])
    try:
        wanted, kind, times = file.read_text().split()
    except FileNotFoundError:
        return None
    if wanted != where:
        return None
    if times != "*":
        left = int(times) - 1
        file.with_suffix(".new").write_text(f"{wanted} {kind} {left}")
        file.with_suffix(".new").replace(file)
        if left == 0:
            file.unlink()
    return kind


def fail(kind: str) -> None:
    """Fail as a device does."""
    from edge_runtime.device.hang import on_hang
    from edge_runtime.errors import BackendUnavailable, DeviceError, DeviceLost, EngineRejected, OutOfDeviceMemory

    if kind == "hang":
        threading.Thread(target=on_hang, args=("synchronize of stream-1",), daemon=True).start()
        threading.Event().wait()
    raise {
        "lost": DeviceLost("cuStreamSynchronize", "CUDA_ERROR_ILLEGAL_ADDRESS"),
        "memory": OutOfDeviceMemory("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY", "8,000 bytes were asked, 10 are free"),
        "call": DeviceError("cuLaunchKernel", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"),
        "absent": BackendUnavailable("the driver sees no NVIDIA GPU: see lspci and nvidia-smi"),
        "target": EngineRejected(
            "engine bright: it was built for SM 8.9, this device is SM 8.6; run: edge-convert build"
        ),
    }[kind]


def take_over() -> None:
    """Put the failures into the backend."""
    from edge_runtime.backends import onnxruntime

    load, enqueue = onnxruntime.OnnxRuntimeBackend.load, onnxruntime.OnnxRuntimeSession.enqueue

    def failing_load(self: Any, *arguments: Any) -> Any:
        if kind := due("load"):
            fail(kind)
        return load(self, *arguments)

    def failing_enqueue(self: Any, bindings: Any, stream: Any) -> None:
        def run() -> None:
            empty = not bindings[self.inputs[0].name].array.any()
            if kind := (due("empty") if empty else None) or due("run"):
                fail(kind)

        stream.submit(run)
        enqueue(self, bindings, stream)

    onnxruntime.OnnxRuntimeBackend.load = failing_load
    onnxruntime.OnnxRuntimeSession.enqueue = failing_enqueue


def concerns_this_process() -> bool:
    """Whether this is a role that has a device."""
    words = sys.orig_argv
    return any(one in words and words[words.index(one) + 1] in WITH_A_DEVICE for one in ROLES)


if VARIABLE in os.environ and concerns_this_process():
    take_over()
