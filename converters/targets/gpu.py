"""What the CUDA driver and the system tell of this machine's GPU. What cannot be told is absent."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INTEGRATED, _MAJOR, _MINOR = 18, 75, 76  # CUdevice_attribute
_DRIVER = "libcuda.so.1"
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """The first GPU of the machine."""

    name: str
    compute_capability: str  # such as "8.7"
    integrated: bool  # shares its memory with the processor


def first_gpu() -> Gpu | None:
    """The first GPU; None without a driver or a GPU."""
    try:
        return ask(ctypes.CDLL(_DRIVER))
    except OSError:
        return None


def ask(driver: Any) -> Gpu | None:
    """Ask the CUDA driver's library (cuInit, cuDeviceGet, ...); None where a call fails."""
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, _NAME_BYTES, device)
    )
    if failed:
        return None
    values = []
    for attribute in (_MAJOR, _MINOR, _INTEGRATED):
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
        values.append(value.value)
    return Gpu(name.value.decode(errors="replace"), f"{values[0]}.{values[1]}", bool(values[2]))


def jetpack(root: Path = Path("/")) -> str | None:
    """The installed JetPack, such as "6.2+b77"; else the Jetson Linux it rests on, such as "L4T 36.4.3"; else None."""
    try:
        status = (root / "var/lib/dpkg/status").read_text(errors="replace")
    except OSError:
        status = ""
    found = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", status, re.MULTILINE)
    if found:
        return found[1]
    try:
        release = (root / "etc/nv_tegra_release").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", release)
    return f"L4T {found[1]}.{found[2]}" if found else None
