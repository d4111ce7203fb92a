"""The repository's own engines, built once and used again by every test process."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path

from converters.cli import main as convert
from edge_runtime.engines.verify import verify
from edge_runtime.errors import EdgeRuntimeError

ROOT = Path(__file__).parents[2]


def built_engines(names: Sequence[str]) -> Path:
    """The repository's engines folder with these engines built and verified."""
    folder = ROOT / "engines"
    with (folder / names[-1] / "model.yaml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names:
            _build_missing(folder / name)
    return folder


def _build_missing(model: Path) -> None:
    built = model / "onnxruntime-fp32"
    try:
        verify(built, (), allow_unsigned=True)
    except EdgeRuntimeError:
        options = ["--target", "onnxruntime", "--precision", "fp32", "--output", str(built)]
        code = convert(["build", str(model), *options])
        assert code == 0, f"edge-convert build {model.name} ended with {code}"
