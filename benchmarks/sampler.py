"""What processes take while a scenario runs: resident memory and processor time, sampled from /proc."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.record import BenchFailed
from benchmarks.site import memory_bytes

EVERY_SECONDS = 0.2
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """By group of processes. at: Unix seconds; cpu_seconds: user and system time since the processes started."""

    at: float
    rss_bytes: dict[str, int]
    cpu_seconds: dict[str, float]


class Sampler:
    """Samples groups of processes in a thread; a context manager, at whose end a last sample is taken."""

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        self.samples: list[Sample] = []
        self._groups = groups
        self._failed: Exception | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self.samples.append(self._sample())
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Raises BenchFailed where a process has ended meanwhile."""
        self._stopping.set()
        self._thread.join()
        if self._failed is not None and error is None:
            raise BenchFailed("a process of the daemon has ended during the measurement") from self._failed

    def at(self, moment: float) -> Sample:
        """The first sample at or after a moment (Unix seconds), else the last."""
        index = bisect_left([sample.at for sample in self.samples], moment)
        return self.samples[min(index, len(self.samples) - 1)]

    def _run(self) -> None:
        try:
            while not self._stopping.wait(EVERY_SECONDS):
                self.samples.append(self._sample())
            self.samples.append(self._sample())
        except (OSError, BenchFailed) as error:
            self._failed = error

    def _sample(self) -> Sample:
        return Sample(
            time.time(),
            {name: sum(memory_bytes(pid) for pid in pids) for name, pids in self._groups.items()},
            {name: sum(cpu_seconds(pid) for pid in pids) for name, pids in self._groups.items()},
        )


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads (proc(5), stat fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
