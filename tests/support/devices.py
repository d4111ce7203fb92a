"""Every kind of device for a test, on the emulated driver; on the machine's own where EDGE_TEST_DRIVER is "real"."""

import os
import subprocess
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import host_cuda

from edge_runtime.device.host import HostDevice

REAL = os.environ.get("EDGE_TEST_DRIVER") == "real"
KINDS = ("host", "cuda", "integrated", "pycuda")

_SCALE = "extern \"C\" __global__ void scale(float* out, const float* in, int count, float factor) {\n" \
    "  int i = blockIdx.x * blockDim.x + threadIdx.x;\n  if (i < count) out[i] = factor * in[i];\n}\n"  # fmt: skip
_HOST_SCALE = """extern "C" {
void edge_host_scale(const unsigned*, const unsigned*, void** arguments) {
  float* out = *(float**)arguments[0];
  const float* in = *(const float**)arguments[1];
  for (int i = 0; i < *(int*)arguments[2]; ++i) out[i] = *(float*)arguments[3] * in[i];
}
unsigned char edge_host_scale_sizes[] = {8, 8, 4, 4, 0};
}
"""


def open_device(kind, folder, settings=None, **facts):
    """A device of this kind; a driver that is emulated begins anew. `folder`: for kernels, kept by the caller."""
    if kind == "host":
        return HostDevice()
    from edge_runtime.device.settings import CudaSettings

    if REAL:
        if kind == "integrated":
            pytest.skip("what kind of GPU it is cannot be chosen")
        if kind == "pycuda" and find_spec("pycuda") is None:
            pytest.skip("pycuda is not installed")
    else:
        host_cuda.load()
        _reset(kernels=library(folder), integrated=kind == "integrated", **facts)
        import_module("support.fake_pycuda").install()
    module, name = ("pycuda", "PycudaDevice") if kind == "pycuda" else ("cuda", "CudaDevice")
    return getattr(import_module(f"edge_runtime.device.{module}"), name)(settings or CudaSettings())


def close(device):
    """Close it, and leave the driver as it was found."""
    device.close()
    if device.facts.kind == "gpu" and not REAL:
        _reset()


def _reset(**facts):
    """The emulated driver begins anew: what devices left to arrays is none of its memory any more."""
    from edge_runtime.device import memory, probe

    _forgotten.extend(memory.Holdings._left)
    memory.Holdings._left.clear()
    host_cuda.reset(**facts)
    probe.driver.cache_clear()


_forgotten = []


@cache
def library(folder: Path) -> Path:
    """The kernel `scale` compiled for the host."""
    (folder / "scale.cpp").write_text(_HOST_SCALE)
    subprocess.run(["g++", "-shared", "-fPIC", "scale.cpp", "-o", "scale.so"], cwd=folder, check=True)
    return folder / "scale.so"


def image(device) -> bytes:
    """The kernel `scale` (out, in, count, factor) for a device."""
    if not REAL:
        return b"\x7fELF"
    from cuda.bindings import nvrtc

    program = nvrtc.nvrtcCreateProgram(_SCALE.encode(), b"scale.cu", 0, [], [])[1]
    architecture = "--gpu-architecture=sm_{}{}".format(*device.facts.compute_capability)
    assert nvrtc.nvrtcCompileProgram(program, 1, [architecture.encode()])[0] == 0
    cubin = bytearray(nvrtc.nvrtcGetCUBINSize(program)[1])
    assert nvrtc.nvrtcGetCUBIN(program, cubin)[0] == 0
    return bytes(cubin)


def append(stream, work):
    """Let a stream do a Python function."""
    give = stream.submit if hasattr(stream, "submit") else stream.host_function
    give(work)
