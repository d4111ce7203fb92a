"""What a check is, and how checks run: each on its own, within its time, whatever the world is like."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.telemetry.logs import describe

log = logging.getLogger("edge_runtime.doctor")


class Outcome(Enum):
    """`warn` is for what works now and is likely to hurt later; `FAIL` for what does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and what to do where that is not well."""

    outcome: Outcome
    what: str
    found: str
    todo: str = ""

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.OK) == bool(self.todo):
            raise ValueError(f"what is not ok says what to do, and what is ok does not: {self!r}")

    def __str__(self) -> str:
        line = f"{self.outcome.value:<4}  {self.what:<28}  {self.found}"
        return line + (f"  -> {self.todo}" if self.todo else "")


@dataclass(frozen=True)
class Site:
    """What is examined: a configuration and the file it came from. With `send`, objects go to the destinations."""

    config: Config
    file: Path
    send: bool = False


@dataclass(frozen=True)
class Probe:
    """Checks that belong together, and the longest that they may take."""

    name: str
    seconds: float
    run: Callable[[Site], Iterable[Check]]


def ok(what: str, found: str) -> Check:
    """A check that is well."""
    return Check(Outcome.OK, what, found)


def warn(what: str, found: str, todo: str) -> Check:
    """A check that works now and is likely to hurt later."""
    return Check(Outcome.WARN, what, found, todo)


def fail(what: str, found: str, todo: str) -> Check:
    """A check that found what does not work."""
    return Check(Outcome.FAIL, what, found, todo)


def examine(site: Site, probes: Sequence[Probe]) -> Iterator[Check]:
    """Run the probes one after the other. One that raises or does not end is a FAIL of its own and stops no other."""
    for probe in probes:
        yield from _within_time(probe, site)


def _within_time(probe: Probe, site: Site) -> Iterator[Check]:
    found: queue.SimpleQueue[Check | None] = queue.SimpleQueue()
    threading.Thread(target=_run, args=(probe, site, found), name=f"doctor {probe.name}", daemon=True).start()
    deadline = time.monotonic() + probe.seconds
    while True:
        try:
            check = found.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            yield fail(probe.name, f"no end within {probe.seconds:.0f} s", "look for a disk or a network that hangs")
            return
        if check is None:
            return
        yield check


def _run(probe: Probe, site: Site, found: queue.SimpleQueue[Check | None]) -> None:
    try:
        for check in probe.run(site):
            found.put(check)
    except Exception as error:  # a check that meets the world must not end the others
        log.exception("check failed", extra={"event": {"check": probe.name}})
        found.put(fail(probe.name, f"could not be examined: {describe(error)}", "mend this first, then run it again"))
    finally:
        found.put(None)
