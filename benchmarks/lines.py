"""A child process that answers each line of JSON with a line of JSON."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.child import bound
from benchmarks.record import BenchFailed


class LineProcess:
    """`python -m MODULE ARGUMENTS`, in which `answer_lines` runs; a context manager that kills it."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        self._name, self._log = name, log
        command = [sys.executable, "-m", module, *arguments]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                bound(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )

    def __enter__(self) -> LineProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer to a request. Raises BenchFailed, with the end of its log, where the process has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchFailed(f"the {self._name} process has ended: {self._log.read_text()[-1000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def answer_lines(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The child's part: answer each line until the input ends."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
