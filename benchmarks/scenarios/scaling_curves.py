"""What the parts of the scenario about growth share: the order of sizes, processor time, a point with its total."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.record import Record

_WHOLE_PROCESS = 2  # CPUCLOCK_SCHED of Linux


def visited(sizes: Sequence[int], number: int) -> list[int]:
    """The sizes in the order of round `number` (from 0): another each round, so that drift does not look like growth.

    Rotated by one a round, so that each size comes first once; then all of these reversed.
    """
    start = number % len(sizes)
    rotated = [*sizes[start:], *sizes[:start]]
    return rotated[::-1] if number // len(sizes) % 2 else rotated


def add_cost(record: Record, curve: str, axis: str, size: int, total: float, units: int, unit: str) -> None:
    """Add what one of `units` cost at a size; the total stands in the details.

    Raises:
        BenchFailed: the cost is not positive.
    """
    record.add_point(curve, axis, size, total / units, unit)
    kept = record.details.setdefault("totals", {}).setdefault(curve, {})
    kept.setdefault(str(size), []).append({"total": total, "units": units})


def processor_seconds(pid: int) -> float:
    """Processor time of a process with all its threads, those that have ended too, to the nanosecond.

    Its clock is that of clock_getcpuclockid(3); /proc has only hundredths of a second.

    Raises:
        OSError: there is no such process.
    """
    return time.clock_gettime(~pid << 3 | _WHOLE_PROCESS)
