"""What a stage is expected to need: a high quantile of its recent runs."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_KEPT = 3
"""Runs that are remembered however long ago they were, for stages that run rarely."""

_LATEST = 5
"""Runs whose median raises the estimate at once when a stage becomes slow."""

_LONGEST_PROBE_INTERVAL = 16.0
"""The longest time between two probes, by the shortest."""


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to need, of how many runs that is known (0: from the build of the engine or scaled).

    `probe`: it may be tried once now, too slow or not, because nothing was observed for some time.
    """

    seconds: float
    samples: int
    probe: bool


@dataclass
class _Runs:
    """The recent runs of one stage, variant and bucket of regions, in the order of time and in that of length."""

    at: float
    probe_interval: float
    times: deque[tuple[float, float]] = field(default_factory=deque)
    lengths: list[float] = field(default_factory=list)
    latest: deque[float] = field(default_factory=lambda: deque(maxlen=_LATEST))
    probed: bool = False
    level: float = 0.0

    def add(self, now: float, seconds: float, remembered: int, quantile: float) -> None:
        self.at = now
        self.times.append((now, seconds))
        insort(self.lengths, seconds)
        self.latest.append(seconds)
        if len(self.times) > remembered:
            self._forget_oldest()
        self._measure(quantile)

    def forget_before(self, moment: float, quantile: float) -> None:
        if len(self.times) <= _KEPT or self.times[0][0] >= moment:
            return
        while len(self.times) > _KEPT and self.times[0][0] < moment:
            self._forget_oldest()
        self._measure(quantile)

    def forget_all(self) -> None:
        self.times.clear()
        self.lengths.clear()
        self.latest.clear()

    def _forget_oldest(self) -> None:
        _, seconds = self.times.popleft()
        del self.lengths[bisect_left(self.lengths, seconds)]

    def _measure(self, quantile: float) -> None:
        """The quantile, but never the one longest of several runs; at least what most of the latest runs took."""
        count = len(self.lengths)
        rank = min(math.ceil(quantile * count) - 1, count - 2)
        self.level = max(self.lengths[max(0, rank)], sorted(self.latest)[(len(self.latest) - 1) // 2])


class Estimates:
    """Of the stages of one pipeline, by variant and number of regions. Thread-safe.

    A stage that is left out because it is too slow would never be observed again: after `probe_seconds` without a run
    its estimate carries `probe`. What is known is forgotten where a probe was faster. Each probe doubles the time to
    the next one, up to sixteen times `probe_seconds`, until the stage runs without being probed.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        quantile: float = 0.95,
        window_seconds: float = 5.0,
        remembered: int = 200,
        probe_seconds: float = 1.0,
    ) -> None:
        if not 0 < quantile <= 1 or remembered < _KEPT or not window_seconds > 0 or not probe_seconds > 0:
            raise ValueError(f"quantile {quantile}, window {window_seconds} s of {remembered}, probe {probe_seconds} s")
        self._clock = clock
        self._quantile = quantile
        self._window = window_seconds
        self._remembered = remembered
        self._probe = probe_seconds
        self._began = clock()
        self._lock = threading.Lock()
        self._expected: dict[tuple[str, int], float] = {}
        self._tried: dict[tuple[str, int], float] = {}
        self._runs: dict[tuple[str, int], dict[int, _Runs]] = {}

    def expect(self, stage: str, variant: int, seconds: float) -> None:
        """What a run took when the engine was built: the estimate until something was observed."""
        with self._lock:
            self._expected[stage, variant] = seconds

    def observe(self, stage: str, variant: int, regions: int, seconds: float) -> float | None:
        """Remember a run. Returns its time by the estimate before, None if there was none."""
        now, size = self._clock(), _bucket(regions)
        with self._lock:
            before, _ = self._level((stage, variant), size, now)
            sizes = self._runs.setdefault((stage, variant), {})
            runs = sizes.get(size)
            if runs is None:
                runs = sizes[size] = _Runs(self._began, self._probe)
            self._judge_probe(runs, seconds, before)
            runs.add(now, seconds, self._remembered, self._quantile)
            self._tried.pop((stage, variant), None)
        return seconds / before if before > 0 else None

    def of(self, stage: str, variant: int, regions: int = 1) -> Estimate:
        """What a run over so many regions is expected to need. 0 s of 0 samples where nothing at all is known."""
        key, now, size = (stage, variant), self._clock(), _bucket(regions)
        with self._lock:
            seconds, runs = self._level(key, size, now)
            at, interval = (self._began, self._probe) if runs is None else (runs.at, runs.probe_interval)
            since = now - max(at, self._tried.get(key, at))
            return Estimate(seconds, 0 if runs is None else len(runs.times), since >= interval)

    def tried(self, stage: str, variant: int, regions: int) -> None:
        """A probe was granted now: there is no other until it was observed, or the time to the next has passed."""
        now, size = self._clock(), _bucket(regions)
        with self._lock:
            self._tried[stage, variant] = now
            runs = self._runs.get((stage, variant), {}).get(size)
            if runs is not None:
                runs.probed = True

    def _judge_probe(self, runs: _Runs, seconds: float, before: float) -> None:
        if not runs.probed:
            runs.probe_interval = self._probe
            return
        runs.probed = False
        runs.probe_interval = min(2 * runs.probe_interval, _LONGEST_PROBE_INTERVAL * self._probe)
        if seconds < before:
            runs.forget_all()

    def _level(self, key: tuple[str, int], size: int, now: float) -> tuple[float, _Runs | None]:
        sizes = self._runs.get(key)
        if not sizes:
            return self._expected.get(key, 0.0) * size, None
        runs = sizes.get(size)
        if runs is not None:
            runs.forget_before(now - self._window, self._quantile)
            return runs.level, runs
        nearest = min(sizes, key=lambda seen: (seen > size, abs(seen - size)))
        sizes[nearest].forget_before(now - self._window, self._quantile)
        return sizes[nearest].level * size / nearest, None


def study_estimates(clock: Callable[[], float] = time.monotonic) -> Estimates:
    """For a pipeline of studies: they run rarely, and a probe costs a deadline that matters more than a frame's."""
    return Estimates(clock, window_seconds=86_400.0, remembered=100, probe_seconds=600.0)


def _bucket(regions: int) -> int:
    """1, 2, 4, 8, ...: the upper end of the bucket that holds so many regions."""
    return 1 << (max(1, regions) - 1).bit_length()
