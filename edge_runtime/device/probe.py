"""Whether this machine has a usable CUDA driver, asked of libcuda.so.1 itself: no binding, no context."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import json
import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from edge_runtime.device.calls import advice_for, name_of
from edge_runtime.errors import BackendUnavailable

OLDEST_DRIVER = (12, 6)
"""The CUDA of JetPack 6.1, and of the oldest binding that is taken."""


ASK_SECONDS = 30.0
ASK_AGAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Driver:
    """A driver that answers. `version`: the newest CUDA it runs; `devices`: their names, by ordinal."""

    version: tuple[int, int]
    devices: tuple[str, ...]


@functools.cache
def driver() -> Driver | str:
    """The machine's driver, or why there is no usable one and what to do. Asked once a process.

    It initializes CUDA in this process: do not fork afterwards a process that is to use the device.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return _absent(error)
    if code := library.cuInit(0):
        advice = advice_for(code)
        return f"cuInit failed with {name_of(code)}" + (f"; {advice}" if advice else "")
    number, count = ctypes.c_int(), ctypes.c_int()
    if code := library.cuDriverGetVersion(ctypes.byref(number)):
        return f"cuDriverGetVersion failed with {name_of(code)}"
    version = (number.value // 1000, number.value % 1000 // 10)
    if version < OLDEST_DRIVER:
        found, needed = (".".join(map(str, one)) for one in (version, OLDEST_DRIVER))
        return f"the NVIDIA driver runs CUDA up to {found}, not {needed}; update it (Jetson: JetPack 6.1 or newer)"
    if code := library.cuDeviceGetCount(ctypes.byref(count)):
        return f"cuDeviceGetCount failed with {name_of(code)}"
    if count.value == 0:
        return f"the driver sees no device; {advice_for(100)}"
    return Driver(version, tuple(_name(library, ordinal) for ordinal in range(count.value)))


class _Asker:
    """Asks in processes of their own, and keeps an answer for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answer: Driver | str = ""
        self._asked_at = -math.inf

    def ask(self) -> Driver | str:
        """The last answer, where it is not too old."""
        with self._lock:
            if time.monotonic() > self._asked_at + ASK_AGAIN_SECONDS:
                self._answer = _answer_of_a_child()
                self._asked_at = time.monotonic()
            return self._answer

    def forget(self) -> None:
        """Ask anew the next time."""
        self._asked_at = -math.inf


_asker = _Asker()
_unanswered: list[subprocess.Popen[str]] = []
_COMMAND = (sys.executable, "-m", "edge_runtime.device.probe")


def asked() -> Driver | str:
    """As `driver`, asked by a process of its own: for those who must go on where a driver never answers.

    An answer is kept for `ASK_AGAIN_SECONDS`, so that a driver that was mended is found.
    """
    return _asker.ask()


def forget() -> None:
    """Ask anew the next time: the environment is another."""
    _asker.forget()
    driver.cache_clear()


def _answer_of_a_child() -> Driver | str:
    try:
        ctypes.CDLL("libcuda.so.1")  # loads it, and calls nothing
    except OSError as error:
        return _absent(error)
    process = subprocess.Popen(_COMMAND, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        said, _ = process.communicate(timeout=ASK_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        _unanswered.append(process)  # nobody waits for its end: it may be in a call of the kernel that never returns
        return f"the NVIDIA driver does not answer within {ASK_SECONDS:g} s; restart the computer"
    try:
        answer = json.loads(said)
        if isinstance(answer, str):
            return answer
        return Driver((answer["version"][0], answer["version"][1]), tuple(answer["devices"]))
    except (ValueError, KeyError, TypeError):
        return f"the process that asked the NVIDIA driver ended with {process.returncode}; see the kernel's log (dmesg)"


def _name(library: ctypes.CDLL, ordinal: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if library.cuDeviceGet(ctypes.byref(device), ordinal) or library.cuDeviceGetName(name, len(name), device):
        return f"device {ordinal}"
    return name.value.decode(errors="replace")


def _absent(error: OSError) -> str:
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return (f"libcuda.so.1 cannot be loaded in this container ({error}); start it with --gpus all (Jetson: "
                "--runtime nvidia) on a host with the NVIDIA driver and nvidia-container-toolkit")  # fmt: skip
    return f"libcuda.so.1 cannot be loaded ({error}); no NVIDIA driver is installed on this machine"


def version_with(ordinal: int) -> tuple[int, int]:
    """The driver's version, if it has a device of that ordinal.

    Raises:
        BackendUnavailable: why not, and what to do.
    """
    found = driver()
    if isinstance(found, str):
        raise BackendUnavailable(found)
    if ordinal >= len(found.devices):
        listed = ", ".join(f"{number}: {name}" for number, name in enumerate(found.devices))
        raise BackendUnavailable(f"there is no CUDA device {ordinal}; there are: {listed}")
    return found.version


if __name__ == "__main__":
    found_here = driver()
    sys.stdout.write(json.dumps(found_here if isinstance(found_here, str) else dataclasses.asdict(found_here)))
