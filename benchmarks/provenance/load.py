"""How busy the machine was during a run: samples of a thread, and what they add up to."""

from __future__ import annotations

import itertools
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.provenance.programs import TICKS_A_SECOND, Programs

EVERY_SECONDS = 1.0
WINDOW_SECONDS = 60.0
MOST_POINTS = 120
"""Of the time line."""
PRESSURES = ("cpu", "io", "memory")


@dataclass(frozen=True)
class Moment:
    """The counters of one moment, in seconds; busy and stolen: of the cores that this program may use.

    busy: user, nice, system and interrupt time. stolen: what a hypervisor gave to others. own: processor time of this
    program and all that it started. pressure: percent of the last ten seconds in which some task waited for it.
    """

    at: float
    busy: float
    stolen: float
    own: float
    load_average: float
    pressure: dict[str, float]


@dataclass(frozen=True)
class Shares:
    """Of the cores' time between two moments, each between 0 and 1; others: busy with what is not ours."""

    busy: float
    others: float
    stolen: float


def shares(begin: Moment, end: Moment, cores: int) -> Shares:
    """What became of the cores' time between two different moments."""
    whole = cores * (end.at - begin.at)
    busy, stolen = end.busy - begin.busy, end.stolen - begin.stolen

    def share(seconds: float) -> float:
        return round(min(1.0, max(0.0, seconds / whole)), 4)

    return Shares(share(busy), share(busy - (end.own - begin.own)), share(stolen))


def summary(moments: Sequence[Moment], cores: int) -> dict[str, Any]:
    """The load of a run for its result; at least two moments, in order.

    `worst_minute` is missing where the run was shorter than one.
    """
    whole = shares(moments[0], moments[-1], cores)
    each = [shares(a, b, cores) for a, b in _steps(moments, 0.5 * EVERY_SECONDS)] or [whole]
    minutes = [shares(a, b, cores) for a, b in _windows(moments)]

    def told(name: str) -> dict[str, float]:
        values = [getattr(one, name) for one in each]
        found = {"median": round(median(values), 4), "max": max(values), "whole_run": getattr(whole, name)}
        if minutes:
            found["worst_minute"] = max(getattr(one, name) for one in minutes)
        return found

    document: dict[str, Any] = {
        "every_seconds": EVERY_SECONDS, "samples": len(moments),
        "busy_share": told("busy"), "others_share": told("others"), "steal_share": told("stolen"),
        "load_average": _middle_and_most([one.load_average for one in moments]),
    }  # fmt: skip
    for name in PRESSURES:
        values = [one.pressure[name] for one in moments if name in one.pressure]
        if values:
            document[f"pressure_{name}_percent"] = _middle_and_most(values)
    return {**document, "time_line": _time_line(moments, cores)}


def _steps(moments: Sequence[Moment], least_seconds: float) -> list[tuple[Moment, Moment]]:
    """Neighbours, without the last one where it came so early that a tick of the clock would be a share."""
    return [(a, b) for a, b in itertools.pairwise(moments) if b.at - a.at >= least_seconds]


def _windows(moments: Sequence[Moment]) -> list[tuple[Moment, Moment]]:
    """From each moment to the first one that is a minute later."""
    times = [one.at for one in moments]
    ends = [bisect_left(times, at + WINDOW_SECONDS) for at in times]
    return [(moments[i], moments[end]) for i, end in enumerate(ends) if end < len(moments)]


def _time_line(moments: Sequence[Moment], cores: int) -> dict[str, list[float]]:
    """Columns: seconds from the start to a stretch's end, and the shares of the stretch."""
    last = len(moments) - 1
    count = min(MOST_POINTS, last)
    edges = [moments[round(i * last / count)] for i in range(count + 1)]
    stretches = [shares(a, b, cores) for a, b in itertools.pairwise(edges)]
    return {
        "until_seconds": [round(edge.at - moments[0].at, 1) for edge in edges[1:]],
        "busy_share": [one.busy for one in stretches],
        "others_share": [one.others for one in stretches],
        "steal_share": [one.stolen for one in stretches],
    }


def _middle_and_most(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(values), 2), "max": max(values)}


class LoadSampler:
    """Samples from its construction to `stop()`, in a thread that ends with the program at the latest."""

    def __init__(self, every_seconds: float = EVERY_SECONDS, proc: Path = Path("/proc")) -> None:
        self.moments: list[Moment] = []
        self.cpu_seconds = 0.0
        """Processor time of the sampling itself."""
        self._every = every_seconds
        self._proc = proc
        self._cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        self._programs = Programs(os.getpid(), proc)
        self._failed: str | None = None
        self._stopping = threading.Event()
        self._sample()
        self._thread = threading.Thread(target=self._run, name="load-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> str | None:
        """Take the last sample; why there are none from some moment on, or None. A second call changes nothing."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._thread.join()
            if self._failed is None:
                self._guarded()
        return self._failed

    def _run(self) -> None:
        while self._failed is None and not self._stopping.wait(self._every):
            self._guarded()

    def _guarded(self) -> None:
        began = time.thread_time()
        try:
            self._sample()
        except (OSError, ValueError, IndexError) as error:
            self._failed = f"{type(error).__name__}: {error}"
        self.cpu_seconds += time.thread_time() - began

    def _sample(self) -> None:
        own = self._programs.seconds()
        busy, stolen = processor_seconds((self._proc / "stat").read_text(), self._cores)
        pressure = {name: value for name in PRESSURES if (value := self._pressure(name)) is not None}
        self.moments.append(Moment(time.monotonic(), busy, stolen, own, os.getloadavg()[0], pressure))

    def _pressure(self, name: str) -> float | None:
        """`some avg10` of a pressure file (PSI, accounting/psi); None where the kernel has none."""
        try:
            first = (self._proc / "pressure" / name).read_text().split()
        except OSError:
            return None
        return float(first[1].removeprefix("avg10="))


def processor_seconds(stat: str, cores: set[str]) -> tuple[float, float]:
    """Busy and stolen seconds of some cores since the machine started, from /proc/stat (proc(5)).

    Guest time is in user and nice already; waiting for a disk is idle.
    """
    busy = stolen = 0
    for line in stat.splitlines():
        name, *fields = line.split(" ")
        if name in cores:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            busy += user + nice + system + irq + softirq
            stolen += steal
        elif not line.startswith("cpu"):
            break
    return busy / TICKS_A_SECOND, stolen / TICKS_A_SECOND
