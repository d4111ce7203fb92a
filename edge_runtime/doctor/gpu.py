"""The GPUs: what the driver says of each now, and the power mode of a Jetson, which is read and never set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.telemetry.gpu.files import nvpmodel
from edge_runtime.telemetry.gpu.reading import Gpu, Reading
from edge_runtime.telemetry.gpu.sources import find_gpus

_ROOT = Path("/")


def examine_gpus(_site: Site) -> Iterator[Check]:
    """One line a GPU; none on a computer without."""
    found = find_gpus(_ROOT)
    try:
        if found.trouble:
            yield warn("GPU telemetry", found.trouble, "mend the driver or install nvidia-ml-py; try nvidia-smi")
        readings = found.read().readings
        for gpu in found.gpus:
            yield gpu_check(gpu, readings.get(gpu.label, Reading()))
        if found.board is not None:
            yield power_mode(nvpmodel(_ROOT), found.board.clocks_are_fixed())
    finally:
        found.close()


def gpu_check(gpu: Gpu, reading: Reading) -> Check:
    """Whether it answers, and is as fast as it can be."""
    what, found = f"GPU {gpu.label}", f"{gpu.name}, driver {gpu.driver}" if gpu.driver else gpu.name
    if reading.lost:
        return fail(what, f"{found}: {reading.lost}", "see journalctl -k for Xid, restart the computer")
    if reading.temperature_celsius is not None:
        found += f", {reading.temperature_celsius:.0f} degrees C"
    if reading.memory_total_bytes is not None and reading.memory_used_bytes is not None:
        found += f", {reading.memory_used_bytes / 1e9:.1f} of {reading.memory_total_bytes / 1e9:.1f} GB in use"
    slowed = [reason for reason, active in reading.throttled.items() if active]
    if slowed:
        return warn(what, f"{found}, throttled: {', '.join(slowed)}", "look at cooling and power supply")
    return ok(what, f"{found}, not throttled" if reading.throttled else found)


def power_mode(mode: str | None, clocks_are_fixed: bool | None) -> Check:
    """What `nvpmodel` and `jetson_clocks` have set."""
    clocks = {True: "the GPU's clock is fixed", False: "the GPU's clock varies with its load"}
    parts = [f"nvpmodel {mode}" if mode is not None else "nvpmodel does not tell its mode"]
    if clocks_are_fixed is not None:
        parts.append(clocks[clocks_are_fixed])
    return ok("power mode", ", ".join(parts))
