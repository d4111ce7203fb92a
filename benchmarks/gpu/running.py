"""Runs a step in a process of its own: what it breaks, and a context that is lost, stays with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import bound

ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Ended:
    """How a process ended. `code` is None where its time was over; `said`: both of its outputs."""

    code: int | None
    seconds: float
    said: str

    @property
    def last_line(self) -> str:
        """The last that it said."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


def run(command: Sequence[str], environment: Mapping[str, str], seconds: float, log: Path) -> Ended:
    """Run a command until it ends, at most so long; all processes of its group end with it."""
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            bound(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(environment),
            start_new_session=True, cwd=ROOT,
        )  # fmt: skip
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    return Ended(code, time.monotonic() - began, log.read_text(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End whatever of the group is left, first politely."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
            if how is signal.SIGTERM:
                continue  # its children may still be there
