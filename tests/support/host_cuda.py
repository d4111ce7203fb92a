"""An emulated CUDA driver for tests: `libcuda.so.1`, built from tests/support/cuda_driver.

It does the driver API's work on the host: order, bookkeeping and failures are as on a GPU, speed is not. Facts, faults
and the log are chosen by the environment; see cuda_driver/faults.cpp.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_SOURCES = Path(__file__).with_name("cuda_driver")
_OPTIONS = ("-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fPIC", "-pthread")
_NAME = "libcuda.so.1"
_FACTS = ("sm", "integrated", "memory", "driver_version", "devices", "name", "log", "fault_file", "memory_taken")


@cache
def driver() -> Path:
    """The folder with libcuda.so.1; built by the first of the test processes that asks, kept by its hash.

    Raises RuntimeError where there is no C++ compiler.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise RuntimeError("the emulated CUDA driver needs a C++ compiler: install g++, or name one by CXX")
    files = sorted([*_SOURCES.glob("*.cpp"), *_SOURCES.glob("*.h")])
    key = hashlib.sha256(repr((_OPTIONS, [(f.name, f.read_bytes()) for f in files])).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("EDGE_TEST_BUILD", _ROOT / ".pytest_cache" / "host-cuda"))
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / key
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                _build(compiler, Path(scratch)).rename(built)
    return built


def environment(kernels: Path | None = None, faults: str = "", **facts: object) -> dict[str, str]:
    """What a child process needs in its environment to find the emulated driver.

    kernels: the library of host-compiled kernels. faults: see cuda_driver/faults.cpp.
    facts: sm="8.9", integrated=True, memory (bytes), driver_version=13000, devices=1, name, and files: log, fault_file,
    memory_taken.
    """
    others = os.environ.get("LD_LIBRARY_PATH", "")
    path = f"{driver()}{os.pathsep}{others}" if others else str(driver())
    return {"LD_LIBRARY_PATH": path, **_variables(kernels, faults, facts)}


@cache
def load() -> ctypes.CDLL:
    """Make this process use the emulated driver; before anything looks for libcuda.so.1. A second call does nothing."""
    return ctypes.CDLL(str(driver() / _NAME), mode=ctypes.RTLD_GLOBAL)


def reset(kernels: Path | None = None, faults: str = "", **facts: object) -> None:
    """Begin anew in this process, with other facts: as if nothing had been called yet, also after a sticky error.

    What was allocated before stays allocated, and streams that hang end.
    """
    for name in ("kernels", "faults", *_FACTS):
        os.environ.pop(f"EDGE_CUDA_{name.upper()}", None)
    os.environ.update(_variables(kernels, faults, facts))
    load().edge_cuda_reset()


def _variables(kernels: Path | None, faults: str, facts: dict[str, object]) -> dict[str, str]:
    unknown = sorted(set(facts) - set(_FACTS))
    if unknown:
        raise TypeError(f"the emulated driver has no {', '.join(unknown)}; there are {', '.join(_FACTS)}")
    chosen = {"kernels": kernels or "", "faults": faults, **facts}
    chosen = {name: int(value) if isinstance(value, bool) else value for name, value in chosen.items()}
    return {f"EDGE_CUDA_{name.upper()}": str(value) for name, value in chosen.items() if value != ""}


def _build(compiler: str, scratch: Path) -> Path:
    def compile_one(source: Path) -> str:
        made = str(scratch / f"{source.stem}.o")
        subprocess.run([compiler, *_OPTIONS, "-c", str(source), "-o", made], check=True)
        return made

    with ThreadPoolExecutor(2) as workers:
        objects = list(workers.map(compile_one, sorted(_SOURCES.glob("*.cpp"))))
    made = scratch / "made"
    made.mkdir()
    linked = ["-shared", "-pthread", f"-Wl,-soname,{_NAME}", "-o", str(made / _NAME), "-ldl"]
    subprocess.run([compiler, *objects, *linked], check=True)
    return made
