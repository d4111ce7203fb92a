"""The processor time of this program and of all that it started, however they were started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Process:
    """Of proc(5)'s stat. ticks: user and system time of it and of the children that it has waited for."""

    parent: int
    started: int
    ticks: int


class Programs:
    """A process and its descendants, found by their parents, so that own sessions and groups do not hide them.

    What was once seen is followed to its end, also where its parent has ended; what lost its parent before it was seen
    is foreign. Only new processes cost a look: foreign ones are looked at once.
    """

    def __init__(self, root: int, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._root = root
        self._own: dict[int, _Process] = {}
        self._foreign: set[int] = set()
        self._orphans_ticks = 0  # of those that ended, and that none of ours can have waited for

    def seconds(self) -> float:
        """Processor time so far: of the living, of the children they have waited for, and of orphans to their end."""
        listed = {int(entry) for entry in os.listdir(self._proc) if entry.isdigit()}
        self._foreign &= listed
        found = {pid: read for pid in listed - self._foreign if (read := self._read(pid)) is not None}
        own = {pid: one for pid, one in found.items() if pid == self._root or self._is_known(pid, one)}
        waiting = set(found) - set(own)
        while born := {pid for pid in waiting if found[pid].parent in own}:
            own.update({pid: found[pid] for pid in born})
            waiting -= born
        self._foreign |= waiting
        ended = [one for pid, one in self._own.items() if pid not in own]
        self._orphans_ticks += sum(one.ticks for one in ended if one.parent not in self._own)
        self._own = own
        return (self._orphans_ticks + sum(one.ticks for one in own.values())) / TICKS_A_SECOND

    def _is_known(self, pid: int, process: _Process) -> bool:
        return pid in self._own and self._own[pid].started == process.started

    def _read(self, pid: int) -> _Process | None:
        try:
            fields = (self._proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended, or is hidden from us
            return None
        return _Process(int(fields[1]), int(fields[19]), sum(map(int, fields[11:15])))
