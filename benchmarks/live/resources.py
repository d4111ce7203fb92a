"""What a process holds: memory, threads, file descriptors; and whether that grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.record import BenchFailed
from benchmarks.site import memory_bytes
from benchmarks.statistics import median

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Resources:
    """`at`: where in the run, seconds or frames. rss_bytes is VmRSS (proc(5))."""

    at: float
    rss_bytes: int
    threads: int
    descriptors: int


def resources_of(pid: int, at: float) -> Resources:
    """What a process holds now. Raises BenchFailed where it has ended."""
    try:
        return Resources(
            at, memory_bytes(pid), len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))
        )
    except OSError as error:
        raise BenchFailed(f"process {pid} has ended while it was watched") from error


@dataclass(frozen=True)
class Growth:
    """What a process holds in each later part of a run more than in the first. The beginning of the run is left out."""

    megabytes: tuple[float, ...]
    threads: tuple[float, ...]
    descriptors: tuple[float, ...]
    slope: float  # MB for each unit of `Resources.at`: a straight line through all samples (least squares)


def growth(samples: Sequence[Resources], parts: int, warm_share: float) -> Growth:
    """What a process holds in equal parts of a run, by their medians, after a share of it that does not count.

    Raises:
        BenchFailed: there are too few samples.
    """
    first, last = samples[0].at, samples[-1].at
    counted = [one for one in samples if one.at >= first + warm_share * (last - first)]
    if len(counted) < 2 * parts:
        raise BenchFailed(f"{len(counted)} samples are too few for {parts} parts of a run; let it run longer")
    pieces = [counted[len(counted) * k // parts : len(counted) * (k + 1) // parts] for k in range(parts)]
    megabytes = [median([one.rss_bytes / MEGABYTE for one in piece]) for piece in pieces]
    threads = [median([one.threads for one in piece]) for piece in pieces]
    descriptors = [median([one.descriptors for one in piece]) for piece in pieces]
    slope = np.polyfit([one.at for one in counted], [one.rss_bytes / MEGABYTE for one in counted], 1)[0]
    return Growth(_above_first(megabytes), _above_first(threads), _above_first(descriptors), float(slope))


def _above_first(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(value - values[0] for value in values[1:])
