"""Bare ONNX Runtime: `InferenceSession.run` on the same input again and again, in a process of its own.

python -m benchmarks.peers.bare_ort THREADS      THREADS: a number, without spinning; or `defaults`, as it is installed
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.lines import LineProcess, answer_lines
from benchmarks.scenarios.engine_times import Runs

DEFAULTS = "defaults"
_SPUN_OUT_SECONDS = 0.1
"""After its runs: its threads spin on for a while, which is not to slow who comes next."""


class BareOrt(LineProcess):
    """The process; a context manager."""

    def __init__(self, threads: int | None, log: Path) -> None:
        """`threads` None: ONNX Runtime's defaults, which choose the threads and let them spin."""
        argument = DEFAULTS if threads is None else str(threads)
        super().__init__("bare ONNX Runtime", "benchmarks.peers.bare_ort", [argument], log)

    def __enter__(self) -> BareOrt:
        return self

    def load(self, name: str, engine: Path, prepared: npt.NDArray[Any], work: Path) -> None:
        """Load a network and its input, which is written to `work`. Raises BenchFailed where that is not possible."""
        file = work / f"{name}-input.npy"
        np.save(file, prepared)
        self.ask({"do": "load", "name": name, "engine": str(engine.resolve()), "input": str(file)})

    def run(self, name: str, count: int) -> Runs:
        """So many runs, one after the other. Raises BenchFailed where the process has ended."""
        return Runs(wall=self.ask({"do": "run", "name": name, "count": count})["seconds"])

    def answer(self, name: str, output: str, work: Path) -> npt.NDArray[Any]:
        """A network's output of that name. Raises BenchFailed where the process has ended."""
        file = work / f"{name}-output.npy"
        self.ask({"do": "answer", "name": name, "output": output, "file": str(file)})
        answer: npt.NDArray[Any] = np.load(file)
        return answer


class _Networks:
    """The child's networks by name."""

    def __init__(self, threads: str) -> None:
        self._threads = threads
        self._loaded: dict[str, tuple[Any, dict[str, npt.NDArray[Any]]]] = {}

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Do what a request says."""
        if asked["do"] == "load":
            session = self._session(asked["engine"])
            self._loaded[asked["name"]] = session, {session.get_inputs()[0].name: np.load(asked["input"])}
            return {}
        session, feed = self._loaded[asked["name"]]
        if asked["do"] == "answer":
            np.save(asked["file"], session.run([asked["output"]], feed)[0])
            return {}
        seconds = [_seconds(session, feed) for _ in range(asked["count"])]
        if self._threads == DEFAULTS:
            time.sleep(_SPUN_OUT_SECONDS)
        return {"seconds": seconds}

    def _session(self, engine: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if self._threads != DEFAULTS:
            options.intra_op_num_threads = int(self._threads)
            options.inter_op_num_threads = 1
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(engine, options, providers=["CPUExecutionProvider"])


def _seconds(session: Any, feed: dict[str, npt.NDArray[Any]]) -> float:
    began = time.perf_counter()
    session.run(None, feed)
    return time.perf_counter() - began


if __name__ == "__main__":
    answer_lines(_Networks(sys.argv[1]).answer)
