"""The arguments of a kernel as cuLaunchKernel wants them."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_runtime.device.memory import GpuBuffer
from edge_runtime.errors import EngineError

_FORMATS = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
            "f2": "e", "f4": "f", "f8": "d", "b1": "?"}  # fmt: skip
_SLOT_BYTES = 8


class CudaFunction:
    """A kernel and memory for its arguments, used again by each launch with arguments of the same types."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.lock = threading.Lock()  # of that memory: the driver copies it before cuLaunchKernel returns
        self._layouts: dict[tuple[type, ...], _Layout] = {}

    def pack(self, arguments: Sequence[Any]) -> int:
        """Address of the array of pointers that cuLaunchKernel calls kernelParams."""
        kinds = tuple(map(type, arguments))
        layout = self._layouts.get(kinds)
        if layout is None:
            layout = self._layouts[kinds] = _Layout(kinds)
        layout.format.pack_into(layout.values, 0, *[a.address if type(a) is GpuBuffer else a for a in arguments])
        return layout.address


class _Layout:
    """One slot of eight bytes an argument, and a pointer to each."""

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self.format = struct.Struct("=" + "".join(map(_slot, kinds)))
        self.values = ctypes.create_string_buffer(max(1, len(kinds)) * _SLOT_BYTES)
        first = ctypes.addressof(self.values)
        self._pointers = (ctypes.c_void_p * max(1, len(kinds)))(*(first + i * _SLOT_BYTES for i in range(len(kinds))))
        self.address = ctypes.addressof(self._pointers)


def _slot(kind: type) -> str:
    if kind is GpuBuffer:
        return "Q"
    code = np.dtype(kind).str[1:]
    if code not in _FORMATS:
        raise EngineError(f"a kernel takes no {kind.__name__} by value")
    return _FORMATS[code] + f"{_SLOT_BYTES - int(code[1:])}x"
