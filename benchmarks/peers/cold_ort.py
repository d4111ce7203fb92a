"""What a plain script needs until its networks can answer: it imports ONNX Runtime, loads them, runs each once.

python cold_ort.py NETWORK.onnx ...      prints `ready` after the first run of each, `answered` after the second
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def command(networks: Sequence[Path]) -> list[str]:
    """The command line of the script."""
    return [sys.executable, __file__, *map(str, networks)]


def main() -> None:
    """Load all, run all, run all again."""
    sessions = [onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in sys.argv[1:]]
    inputs = [{one.name: np.zeros(one.shape, _DTYPES[one.type]) for one in s.get_inputs()} for s in sessions]
    for said in ("ready", "answered"):
        for session, values in zip(sessions, inputs, strict=True):
            session.run(None, values)
        print(said, flush=True)


if __name__ == "__main__":
    main()
