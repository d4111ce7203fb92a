"""The receiving process stays small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_receiving_imports_neither_pixels_nor_heavy_packages() -> None:
    script = (
        "import sys, edge_runtime.receive.server, edge_runtime.spool.instances;"
        "print(sorted({'numpy','pydicom','pynetdicom','sqlite3','highdicom','onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
