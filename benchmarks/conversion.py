"""One run of `edge-convert build` as a user starts it: how long, and how much memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import bound
from benchmarks.record import BenchFailed
from benchmarks.site import children, memory_bytes

MODULE = "converters.cli"
_EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class Conversion:
    """What a build made and took. peak_bytes: resident memory of the process and all that it started, at once."""

    folder: Path
    seconds: float
    peak_bytes: int


def convert(model: Path, target: str, precision: str, *options: str) -> Conversion:
    """Build a model's engine into its folder; `model` has the card.

    Raises:
        BenchFailed: the build failed; says what it said last.
    """
    folder = model / f"{target}-{precision}"
    command = [sys.executable, "-m", MODULE, "build", str(model), "--target", target]
    command += ["--precision", precision, "--output", str(folder), *options]
    log = model.parent / f"{folder.name}.log"
    began = time.monotonic()
    with log.open("wb") as said, subprocess.Popen(bound(command), stdout=said, stderr=said) as process:
        try:
            status, peak = _wait(process.pid)
            process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here
        except BaseException:
            process.terminate()
            raise
    seconds = time.monotonic() - began
    if process.returncode != 0:
        last = (log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
        raise BenchFailed(f"{' '.join(command[2:])} ended with {process.returncode}: {last}")
    return Conversion(folder, seconds, peak)


def _wait(pid: int) -> tuple[int, int]:
    """The wait status of a child, and the peak of its tree: sampled, and at least its own as the kernel counts it.

    The kernel's figure is VmHWM (proc(5)), for getrusage's holds that of the program which started the child.
    """
    peak = 0
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status, peak
        with contextlib.suppress(OSError, BenchFailed):  # it has ended meanwhile
            peak = max(peak, tree_bytes(pid), memory_bytes(pid, "VmHWM"))
        time.sleep(_EVERY_SECONDS)


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and of all that it started; what two of them share counts twice."""
    with contextlib.suppress(OSError, BenchFailed):  # it has ended meanwhile
        return memory_bytes(pid) + sum(map(tree_bytes, children(pid)))
    return 0
