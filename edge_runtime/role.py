"""One role as the supervisor knows it: its process, what it last said, and whether it hangs."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.restart_policy import RestartBudget
from edge_runtime.roles.link import send

ROLES = ("deliver", "report", "infer", "studies", "live", "capture", "receive")
"""In the order of starting; they stop in the reverse order. There is a `capture` for each source of video."""


def roles_of(sources: Sequence[str], studies_apart: bool) -> list[str]:
    """The names of the roles of a daemon: without video, those of DICOM; `capture-SOURCE` for each source."""
    left_out = set() if sources else {"live", "capture"}
    left_out |= set() if studies_apart else {"studies"}
    captures = [f"capture-{source}" for source in sources]
    return [name for kind in ROLES if kind not in left_out for name in (captures if kind == "capture" else [kind])]


BEAT_SECONDS = 20.0
"""A role whose main loop has not turned for this long, with nothing declared, has hung."""

START_SECONDS = 120.0
"""The same before a role is ready: a slow disk takes its time to load libraries."""

UNKILLABLE_SECONDS = 10.0
"""A killed process that is still there after this long ends with the computer."""

_SOON_SECONDS = 30.0

CANNOT_BE_ENDED = "cannot be ended: its process waits in the kernel for a device; restart the computer"


@dataclass
class Role:
    """One role and its process, when it has one."""

    name: str
    budget: RestartBudget = field(default_factory=RestartBudget)
    process: subprocess.Popen[bytes] | None = None
    end: socket.socket | None = None
    ready: bool = False
    was_ready: bool = False
    reasons: dict[str, str] = field(default_factory=dict)
    activities: dict[str, tuple[str, float]] = field(default_factory=dict)
    configuration: str = ""  # the file that it works with
    engines: dict[str, str] | None = None
    gpu: str | None = None  # the PCI address of the one that it works on
    gpu_lost: str | None = None  # why that one does not answer, by its driver
    beat_at: float = 0.0
    start_at: float = 0.0  # when to start it, while it has no process
    down_reason: str = "starting"
    last_words: str = ""  # of the process before, until this one is ready
    blamed: tuple[str, str] | None = None  # activity and item that made it hang
    killed_at: float | None = None
    drain_seconds: float | None = None  # while it is to end, for another process to take its place
    told_to_drain: bool = False
    untold: list[str] = field(default_factory=list)  # a configuration that it is to work with, until it was sent

    @property
    def kind(self) -> str:
        """Which of `ROLES` it is."""
        return self.name.partition("-")[0]

    def begin(self, process: subprocess.Popen[bytes], end: socket.socket, now: float) -> None:
        """The role has a new process."""
        self.down_reason = "starting" if self.drain_seconds is None else "reloading"
        if self.last_words:
            self.down_reason += f"; it ended with: {self.last_words}"
        self.process, self.end, self.ready, self.beat_at = process, end, False, now
        self.reasons, self.activities, self.blamed, self.killed_at = {}, {}, None, None
        self.configuration, self.engines, self.gpu, self.gpu_lost = "", None, None, None
        self.drain_seconds, self.told_to_drain, self.untold = None, False, []

    def hear(self, state: dict[str, Any]) -> None:
        """Take what the role says of itself."""
        self.ready, self.reasons, self.beat_at = state["ready"], state["reasons"], state["beat_at"]
        self.activities = {name: (item, until) for name, (item, until) in state["activities"].items()}
        self.configuration, self.engines = state["configuration"], state["engines"]
        self.gpu = state["gpu"]
        self.was_ready = self.was_ready or self.ready
        if self.ready:
            self.last_words = ""
        self.ready = self.ready and self.drain_seconds is None and self.killed_at is None

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why it is not fully ready while it runs: by its own words, and by the driver of its GPU."""
        return (*self.reasons.values(), *([self.gpu_lost] if self.gpu_lost else []))

    def kill(self, now: float) -> None:
        """End its process at once."""
        if self.process is not None:
            self.process.kill()
        self.killed_at, self.ready, self.down_reason = now, False, "hangs and is killed"

    def outlives_its_end(self, now: float) -> bool:
        """Whether it was killed and does not end: it waits in the kernel, for a device that does not answer."""
        return self.killed_at is not None and now > self.killed_at + UNKILLABLE_SECONDS

    def waits(self, now: float) -> bool:
        """Whether it has no process and waits for its next start."""
        return self.process is None and self.start_at > now

    def is_down(self, now: float) -> bool:
        """Whether it will not be there for long: its restarts are spent, or its process cannot be ended."""
        return self.down_reason == CANNOT_BE_ENDED or (self.process is None and self.start_at > now + _SOON_SECONDS)

    def leave(self, drain_seconds: float) -> None:
        """Let it finish what it has begun and end, for another process to take its place."""
        if self.process is not None and self.drain_seconds is None:
            self.drain_seconds, self.ready, self.down_reason = drain_seconds, False, "reloading"

    def tell(self) -> None:
        """Send what the role was not told yet, if it takes it now."""
        if self.end is not None and self.drain_seconds is not None and not self.told_to_drain:
            self.told_to_drain = send(self.end, {"stop": self.drain_seconds, "replaced": True})
        if self.end is not None and self.untold and send(self.end, {"configure": self.untold}):
            self.untold = []

    def hangs_at(self, now: float) -> tuple[str, str] | None:
        """The activity and item that are past their bound, ("main loop", "") where that stands still, or None."""
        late = next(((name, item) for name, (item, until) in self.activities.items() if now > until), None)
        bound = BEAT_SECONDS if self.ready else START_SECONDS
        silent = not self.activities and now - self.beat_at > bound
        return late or (("main loop", "") if silent else None)
