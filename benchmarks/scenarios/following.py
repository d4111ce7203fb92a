"""What a daemon says of its jobs while a scenario runs: its counts, and the moments in its log."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Iterator, Sequence

from benchmarks.daemon import Daemon
from benchmarks.record import BenchFailed

_LINE = re.compile(r"^(\S+Z) \w+ \w+: ([a-z ]+?)(?: \w+=|$)")
_ENDED = ("delivered", "parked", "refused", "cancelled")


def wait_delivered(daemon: Daemon, wanted: int, give_up_seconds: float, every_seconds: float = 0.25) -> None:
    """Wait until `wanted` jobs of the daemon's life are delivered.

    Raises:
        BenchFailed: a job ended otherwise, or the time is over.
    """
    give_up_at = time.monotonic() + give_up_seconds
    while True:
        counts = {state: int(daemon.metric("edge_jobs", state=state)) for state in _ENDED}
        if sum(counts.values()) - counts["delivered"]:
            raise BenchFailed(f"the daemon did not deliver all: {counts}; {daemon.tail()}")
        if counts["delivered"] >= wanted:
            return
        if time.monotonic() > give_up_at:
            raise BenchFailed(f"{wanted} results wanted after {give_up_seconds} s: {counts}; {daemon.tail()}")
        time.sleep(every_seconds)


def moments(lines: Sequence[str]) -> Iterator[tuple[str, float]]:
    """What each line of a daemon's log tells, with its time (Unix seconds)."""
    for line in lines:
        found = _LINE.match(line)
        if found:
            yield found[2], datetime.datetime.fromisoformat(found[1].replace("Z", "+00:00")).timestamp()
