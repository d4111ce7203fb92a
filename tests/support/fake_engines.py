"""Engines for the fake TensorRT, made of built ones for ONNX Runtime: the same network, golden pair and card.

And what a child process needs in its environment to run them, or to have ONNX Runtime's CUDA provider.
"""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from support import host_cuda, host_kernels
from support.fake_tensorrt_runtime import fake_plan

from edge_runtime.engines.passport import PASSPORT_FILE, FileRecord, read_passport, write_passport

VERSION = "10.13.3.9"
SM = "8.9"


def as_tensorrt(built: Path, version: str = VERSION, sm: str = SM, **header: object) -> Path:
    """A folder beside this one of an engine for ONNX Runtime. `header`: of the plan."""
    folder = built.parent / built.name.replace("onnxruntime", "tensorrt")
    shutil.copytree(built, folder)
    passport, _ = read_passport((built / PASSPORT_FILE).read_bytes())
    plan = fake_plan((built / passport.engine.file).read_bytes(), **header)
    (folder / passport.engine.file).unlink()
    (folder / "engine.plan").write_bytes(plan)
    target = replace(
        passport.target, flavour="tensorrt", flavour_version=version, instruction_set=None, compute_capabilities=(sm,)
    )
    engine = FileRecord("engine.plan", hashlib.sha256(plan).hexdigest(), len(plan))
    (folder / PASSPORT_FILE).write_bytes(write_passport(replace(passport, engine=engine, target=target)))
    return folder


def environment(library: str, faults: str = "", **facts: object) -> dict[str, str]:
    """Of a child process with the emulated driver. `library`: tensorrt, or onnxruntime for its CUDA provider.

    The rest: see `host_cuda.environment`.
    """
    here = Path(__file__).parent
    path = [str(here / f"fake_{library}_module"), str(here.parent), os.environ.get("PYTHONPATH", "")]
    emulated = host_cuda.environment(host_kernels.library(), faults, **{"sm": SM, **facts})
    return {**emulated, "PYTHONPATH": os.pathsep.join(filter(None, path))}
