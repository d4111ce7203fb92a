"""Which driver the steps run on: that of NVIDIA, or the emulated one of the tests."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.conversion import convert
from benchmarks.gpu.running import ROOT

VARIABLE = "EDGE_TEST_DRIVER"
REAL, EMULATED = "real", "emulated"


def is_emulated() -> bool:
    """Whether this process was told to run on the emulated driver."""
    return os.environ.get(VARIABLE) == EMULATED


def environment(*, emulated: bool) -> dict[str, str]:
    """Of the processes that run the steps; the tests' own modules are on their path."""
    fakes = [str(ROOT / "tests/support/fake_tensorrt_module")] if emulated else []
    path = [str(ROOT), str(ROOT / "tests"), *fakes, *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {**os.environ, "PYTHONPATH": os.pathsep.join(path), VARIABLE: EMULATED if emulated else REAL}
    return {**told, **_support("host_cuda").environment(_support("host_kernels").library())} if emulated else told


def build_for_tensorrt(built: Path) -> None:
    """Beside an engine for ONNX Runtime build the same for TensorRT, where that is installed.

    Raises:
        BenchFailed: the build failed.
    """
    if is_emulated():
        _support("fake_engines").as_tensorrt(built)
    elif importlib.util.find_spec("tensorrt") is not None:
        convert(built.parent, "tensorrt", built.name.rpartition("-")[2])


def _support(name: str) -> Any:
    """A module of the tests."""
    if str(ROOT / "tests") not in sys.path:
        sys.path.insert(0, str(ROOT / "tests"))
    return importlib.import_module(f"support.{name}")
