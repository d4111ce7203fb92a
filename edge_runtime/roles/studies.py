"""studies: works on series beside live frames, in a process of its own that gives way to them.

Where a run of a study's engine is longer than a live frame can wait, the kernel shares the processor out: this process
has a low priority, until a study is past its deadline. Then it competes as an equal, until the last such has ended.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.roles.infer import run_studies
from edge_runtime.roles.link import Link
from edge_runtime.spool.spool import Spool, open_spool
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.studies")

NICENESS = 15
LOOK_EVERY_SECONDS = 1.0


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Work on studies until stopped."""
    spool = open_spool(config)
    priority = Priority(spool, metrics)
    priority.lower()
    run_studies("studies", config, link, metrics, spool, priority.look)


class Priority:
    """The priority of this process, its threads and its decode processes, by how late its studies are."""

    def __init__(self, spool: Spool, metrics: Metrics) -> None:
        self._spool = spool
        self._metrics = metrics
        self._looked_at = 0.0
        self._raised = False
        self._refused = False
        metrics.set("edge_schedule_study_priority", 0.0)

    def lower(self) -> None:
        """Give way to live frames."""
        _set_niceness(NICENESS)
        self._raised = False
        self._metrics.set("edge_schedule_study_priority", 0.0)

    def look(self) -> None:
        """Now and then: is a study past its deadline?"""
        now = time.monotonic()
        if now < self._looked_at + LOOK_EVERY_SECONDS:
            return
        self._looked_at = now
        late = [job for job in self._spool.jobs.in_state("pending", "running") if time.time() > job.deadline_at]
        if late and not self._raised:
            self._raise(late[0].pipeline)
        elif self._raised and not late:
            self.lower()

    def _raise(self, pipeline: str) -> None:
        if self._refused:
            return
        try:
            _set_niceness(0)
        except PermissionError:
            self._refused = True
            log.warning("a study is past its deadline, and this process may not raise its priority; see LimitNICE=")
            return
        self._raised = True
        self._metrics.set("edge_schedule_study_priority", 1.0)
        self._metrics.count("edge_schedule_promotions_total", pipeline=pipeline)
        log.warning(
            "a study is past its deadline: studies now compete with live frames",
            extra={"event": {"pipeline": pipeline}},
        )


def _set_niceness(niceness: int) -> None:
    for thread in _threads(os.getpid()):
        try:
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
        except ProcessLookupError:
            continue  # it has ended this moment


def _threads(process: int) -> Iterator[int]:
    """The threads of a process and of its children."""
    try:
        tasks = sorted(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return  # it has ended this moment
    yield from (int(task.name) for task in tasks)
    for child in children:
        yield from _threads(child)
