"""`trtexec`, NVIDIA's own measurement of a TensorRT engine, and `tensorrt_rtx`, which is the same for TensorRT-RTX."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import BenchFailed
from benchmarks.scenarios.engine_times import Runs

PROGRAMS = {"tensorrt": "trtexec", "tensorrt_rtx": "tensorrt_rtx"}
"""By the flavour of the engine's passport."""

MODE = "transfers in, no CUDA graph, blocking wait, one stream"
_PLAIN = ("--includeDataTransfers", "--noCudaGraph", "--noSpinWait")
"""What asks for that mode where it is not the default: from TensorRT 11 on. Older ones do not know them."""

_WARM_UP_MS = 200
_GIVE_UP_SECONDS = 600.0
_FIELDS = {"h2d": "h2dMs", "compute": "computeMs", "d2h": "d2hMs"}


@dataclass(frozen=True)
class Trtexec:
    """The program, as it is installed here."""

    program: str
    options: tuple[str, ...]

    def run(self, engine: Path, count: int, work: Path) -> Runs:
        """Measure an engine's file: `count` runs after a warm-up, in MODE.

        trtexec keeps one run more on the stream, so that there is no `wall` of a single one.

        Raises:
            BenchFailed: the program failed, or what it exported is not understood.
        """
        times = work / f"{engine.name}.times.json"
        times.unlink(missing_ok=True)
        command = [
            self.program, f"--loadEngine={engine}", f"--exportTimes={times}", f"--iterations={count}", "--duration=0",
            f"--warmUp={_WARM_UP_MS}", *self.options,
        ]  # fmt: skip
        _call(command)
        try:
            text = times.read_text()
        except OSError as error:
            raise BenchFailed(f"{self.program} exported no times of {engine}: {error}") from error
        return parse_times(text, _WARM_UP_MS)


def find(flavour: str) -> Trtexec:
    """The program for engines of a flavour, with the options that bring it into MODE.

    Raises:
        FileNotFoundError: it is not on PATH.
        BenchFailed: it does not say which options it has.
    """
    name = PROGRAMS[flavour]
    program = shutil.which(name)
    if program is None:
        raise FileNotFoundError(f"{name} is not on PATH")
    offered = _call([program, "--help"])
    return Trtexec(program, tuple(option for option in _PLAIN if option in offered))


def parse_times(text: str, warm_up_ms: float) -> Runs:
    """The runs of a file of `--exportTimes`, without those that began to compute before `warm_up_ms`.

    The file is a list of objects whose times are in ms: startEnqMs, endEnqMs, startH2dMs, ..., computeMs, d2hMs,
    latencyMs (NVIDIA/TensorRT, samples/common/sampleReporting.cpp, exportJSONTrace). Older versions
    export the warm-up too.

    Raises:
        BenchFailed: it is no such list, or no run is left.
    """
    try:
        entries: Sequence[dict[str, Any]] = json.loads(text)
        counted = [one for one in entries if one["startComputeMs"] >= warm_up_ms]
        seconds = {name: [float(one[key]) / 1000 for one in counted] for name, key in _FIELDS.items()}
        enqueue = [(float(one["endEnqMs"]) - float(one["startEnqMs"])) / 1000 for one in counted]
    except (ValueError, TypeError, KeyError) as error:
        raise BenchFailed(f"times that trtexec exported are not understood: {type(error).__name__} {error}") from error
    if not counted:
        raise BenchFailed(f"of {len(entries)} runs that trtexec exported none began after {warm_up_ms:g} ms of warm-up")
    return Runs(**seconds, enqueue=enqueue)


def _call(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIVE_UP_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchFailed(f"{command[0]} could not be run: {error}") from error
    if done.returncode != 0:
        raise BenchFailed(f"{' '.join(command)} ended with {done.returncode}: {(done.stdout + done.stderr)[-1000:]}")
    return done.stdout + done.stderr
