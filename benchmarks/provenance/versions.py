"""Versions of all that took part: packages, peers, and the source itself."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

from benchmarks.provenance.reading import Ask, ask

PACKAGES = (
    "edge-runtime", "numpy", "scipy", "pydicom", "pynetdicom", "highdicom", "onnxruntime", "onnxruntime-gpu",
    "python-gdcm", "Pillow", "onnx", "torch", "monai", "tensorrt", "tensorrt-rtx-cu13", "pycuda", "cuda-bindings",
    "av", "opencv-python-headless", "opencv-python", "matplotlib",
)  # fmt: skip


def packages() -> dict[str, str]:
    """Versions of Python packages; "absent" where one is not installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def peers(asks: Ask = ask) -> dict[str, str]:
    """Versions of programs of others; "absent" where one is not on PATH, "present" where it does not tell."""
    return {
        "dcmtk": asks(["dcmdump", "--version"]).first_line,
        "orthanc": asks(["Orthanc", "--version"]).first_line,
        "trtexec": "absent" if shutil.which("trtexec") is None else "present",
    }


def git_commit(asks: Ask = ask) -> str | None:
    """The commit of the source, with `+changes` where the tree differs from it; None outside a repository."""
    here = ["git", "-C", str(Path(__file__).parent)]
    head = asks([*here, "rev-parse", "HEAD"])
    if head.status != 0:
        return None
    changed = asks([*here, "status", "--porcelain", "--untracked-files=no"])
    return head.text + ("+changes" if changed.text else "")
