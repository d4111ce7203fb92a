"""An emulated NVML (nvml_driver/nvml.cpp), so that the real nvidia-ml-py runs where there is no GPU."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).parent / "nvml_driver/nvml.cpp"
_COMMAND = ("g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1")

L4 = {
    "name": "NVIDIA L4", "bus": "00000000:01:00.0", "utilization": 37, "memory_total": 24_152_899_584,
    "memory_used": 6_038_224_896, "power": 54_320, "power_limit": 72_000, "celsius": 61, "clock_graphics": 1995,
    "clock_memory": 6250, "most_graphics": 2040, "most_memory": 6251, "reasons": "0x4", "ecc_corrected": 3,
    "ecc_uncorrected": 0, "xids": 0, "xid": 79,
}  # fmt: skip
"""A card without a fan of its own, held back by its power limit. [not verified on hardware]"""

THOR = {"name": "NVIDIA Thor", "bus": "00000000:01:00.0", "utilization": 12}
"""An integrated GPU, whose driver tells hardly anything. [not verified on hardware]"""


@functools.cache
def driver() -> Path:
    """The folder of libnvidia-ml.so.1, for LD_LIBRARY_PATH."""
    mark = hashlib.sha256(SOURCE.read_bytes() + " ".join(_COMMAND).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"edge-nvml-{os.getuid()}" / mark
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    if not library.exists():
        made = folder / f"{os.getpid()}.so"
        subprocess.run([*_COMMAND, "-o", made, SOURCE], check=True)
        made.replace(library)
    return folder


def state(*gpus: Mapping[str, object], **values: object) -> str:
    """The text of a state file: each GPU's readings, and what holds for all."""
    lines = {"count": len(gpus), "driver": "580.95.05", **values}
    for number, gpu in enumerate(gpus):
        lines.update({f"{number}.{key}": value for key, value in gpu.items()})
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def write(path: Path, *gpus: Mapping[str, object], **values: object) -> None:
    """Replace the state file at once: a reader sees the old or the new one."""
    new = path.with_suffix(".new")
    new.write_text(state(*gpus, **values))
    new.replace(path)


def environment(path: Path) -> dict[str, str]:
    """Of a child process that is to find the emulated library."""
    return {"LD_LIBRARY_PATH": str(driver()), "EDGE_NVML_STATE": str(path)}


@functools.cache
def load() -> None:
    """Put the emulated library into this process, in the place of the driver's."""
    ctypes.CDLL(str(driver() / "libnvidia-ml.so.1"), ctypes.RTLD_GLOBAL)
