"""The kernels compiled for the host: one library, built once for each state of the sources, and launched by ctypes."""

import ctypes
import fcntl
import hashlib
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from edge_runtime.device.host import HostBuffer, HostDevice

_ROOT = Path(__file__).parents[2]
SOURCES = _ROOT / "edge_runtime" / "kernels"
_OPTIONS = ("-DEDGE_HOST", "-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def library() -> Path:
    """The shared library of all kernels; it exports `edge_host_NAME` and `edge_host_NAME_sizes` of each."""
    return build("".join(f'#include "{source}"\n' for source in sorted(SOURCES.glob("*.cu"))))


def launch(
    name: str,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    *arguments: np.ndarray | np.generic,
    of: Path | None = None,
):
    """Run one kernel to its end: of an array the address is handed over, of a NumPy scalar the value.

    `of`: the library, unless it is that of all kernels.
    """
    kernels = _load() if of is None else ctypes.CDLL(str(of))
    values = [_value(argument) for argument in arguments]
    sizes = ctypes.c_char.in_dll(kernels, f"edge_host_{name}_sizes")
    assert ctypes.string_at(ctypes.addressof(sizes)) == bytes(ctypes.sizeof(v) for v in values), (
        f"{name} takes {list(ctypes.string_at(ctypes.addressof(sizes)))} bytes"
    )
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    getattr(kernels, f"edge_host_{name}")((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), pointers)


def layout(source: str, struct: str, names: tuple[str, ...]) -> tuple[tuple[int, ...], int]:
    """Offsets of the fields of a struct of a source file, such as frame.cu, and its size, in bytes."""
    offsets = ", ".join(f"offsetof({struct}, {name})" for name in names)
    text = f'#include <cstddef>\n#include "{SOURCES / source}"\n'
    text += f'extern "C" {{ std::size_t edge_layout[] = {{{offsets}, sizeof({struct})}}; }}\n'
    built = ctypes.CDLL(str(build(text)))
    *fields, size = (ctypes.c_size_t * (len(names) + 1)).in_dll(built, "edge_layout")
    return tuple(fields), size


class HostKernels:
    """In the place of `edge_runtime.kernels.Kernels`; a launch is a piece of a host stream's work."""

    def __init__(self, device: HostDevice):
        self.device = device

    def kernel(self, name: str) -> "_HostKernel":
        assert hasattr(_load(), f"edge_host_{name}"), f"there is no kernel {name}"
        return _HostKernel(name)

    def launch(self, name, threads, arguments, stream):
        self.kernel(name).launch(threads, (1, 1, 1), arguments, stream)


class _HostKernel:
    def __init__(self, name: str):
        self._name = name

    def launch(self, grid, block, arguments, stream):
        values = [a.array if isinstance(a, HostBuffer) else a for a in arguments]
        stream.submit(lambda: launch(self._name, grid, block, *values))


@cache
def _load() -> ctypes.CDLL:
    return ctypes.CDLL(str(library()))


def _value(argument: np.ndarray | np.generic):
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous
        return ctypes.c_void_p(argument.ctypes.data)
    return (ctypes.c_char * argument.nbytes).from_buffer_copy(argument.tobytes())


@cache
def build(text: str) -> Path:
    """A shared library of this C++ text; built by the first of the test processes that asks, kept by its hash."""
    files = sorted(SOURCES.glob("*.cu*"))
    key = hashlib.sha256(repr((text, _OPTIONS, [f.read_bytes() for f in files])).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("EDGE_TEST_BUILD", _ROOT / ".pytest_cache" / "host-kernels"))
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / f"{key}.so"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                source, made = Path(scratch, "kernels.cpp"), Path(scratch, "kernels.so")
                source.write_text(text)
                compiler = os.environ.get("CXX", "g++")
                subprocess.run([compiler, *_OPTIONS, str(source), "-o", str(made)], check=True)
                made.rename(built)
    return built
