"""What the device is, and whether bytes get there and back.

python -m benchmarks.gpu.facts OUT.json
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.outcome import Verdict, failed, not_run, passed
from edge_runtime.device.base import Device
from edge_runtime.errors import EdgeRuntimeError

_BYTES = 64 * 2**20


def read(found: dict[str, Any]) -> Verdict:
    """Of what `main` wrote."""
    if "absent" in found:
        return not_run(found["absent"], found)
    if "failed" in found:
        return failed(found["failed"], "", found)
    facts = found["facts"]
    figure = f"{facts['name']}, H2D {found['h2d_gigabytes_per_second']:.1f} GB/s, " \
             f"D2H {found['d2h_gigabytes_per_second']:.1f} GB/s"  # fmt: skip
    return passed(figure, found)


def main(out: Path) -> None:
    """Write what there is, or why there is nothing."""
    out.write_text(json.dumps(_found(), indent=1, default=str))


def _found() -> dict[str, Any]:
    from edge_runtime.device.probe import driver

    there = driver()
    if isinstance(there, str):
        return {"absent": there}
    try:
        return {"driver": dataclasses.asdict(there), **_smoke()}
    except (EdgeRuntimeError, ModuleNotFoundError) as error:
        return {"failed": f"{type(error).__name__}: {error}", "driver": dataclasses.asdict(there)}


def _smoke() -> dict[str, Any]:
    from edge_runtime.device.cuda import CudaDevice

    device = CudaDevice()
    try:
        found = {
            "facts": dataclasses.asdict(device.facts), "abilities": dataclasses.asdict(device.abilities),
            "free_bytes": device.free_bytes(),
        }  # fmt: skip
        return {**found, **_copies(device)}
    finally:
        device.close()


def _copies(device: Device) -> dict[str, Any]:
    """Of the second of two ways there and back; the first warms up.

    Raises:
        EngineError: what came back is not what went.
    """
    sent, back = (device.staging((_BYTES,), "uint8") for _ in range(2))
    sent[:] = np.random.default_rng(1).integers(0, 256, _BYTES, dtype=np.uint8)
    buffer, stream = device.empty((_BYTES,), "uint8"), device.stream()
    seconds = []
    for _ in range(2):
        began, there, home = (device.event() for _ in range(3))
        stream.record(began)
        device.upload(sent, buffer, stream)
        stream.record(there)
        device.download(buffer, back, stream)
        stream.record(home)
        stream.synchronize()
        seconds = [there.elapsed_seconds(began), home.elapsed_seconds(there)]
    began_wait = time.perf_counter()
    stream.synchronize()
    if not np.array_equal(sent, back):
        return {"failed": "64 MiB that were copied to the device and back are not the same"}
    rates = [_BYTES / max(one, 1e-9) / 1e9 for one in seconds]
    return {
        "h2d_gigabytes_per_second": rates[0], "d2h_gigabytes_per_second": rates[1],
        "empty_wait_microseconds": 1e6 * (time.perf_counter() - began_wait),
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
