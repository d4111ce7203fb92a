"""Where results of live frames go as they are made: one thread a destination, which holds up nothing but itself."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, replace
from typing import Protocol

from edge_runtime.domain import Array
from edge_runtime.frames.frame_result import FrameResult
from edge_runtime.live.backlog import Backlog
from edge_runtime.live.segments import FolderUnusable
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.live")

IDLE_SECONDS = 0.1


class Sink(Protocol):
    """A destination, as the loop of live results knows it."""

    @property
    def name(self) -> str:
        """The destination's name in the configuration."""

    @property
    def wants_pictures(self) -> bool:
        """Whether it waits for the picture; one that does not gets each result before anything is drawn."""

    def put(self, result: FrameResult, picture: Array | None) -> None:
        """Take a result, and its picture with overlay if it was shown: uint8 RGB (rows, columns, 3). Never waits."""

    def close(self, drain_seconds: float = 0.0) -> None:
        """Take nothing more; what was taken may be finished within this time."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A result on its way to a destination, without its masks; `picture` is uint8 RGB (rows, columns, 3)."""

    result: FrameResult
    picture: Array | None = None


class Writer(Protocol):
    """What a destination of one type does, called from one thread."""

    def write(self, entry: Entry) -> str:
        """Do it; the outcome, of `metrics.LIVE_OUTCOMES`. What it raises is counted as `failed`."""

    def idle(self) -> None:
        """Called again and again while there is nothing to write, every `IDLE_SECONDS`."""

    def close(self) -> None:
        """End in good order."""


class ThreadedSink:
    """A writer with a thread and a short queue of its own. Every result is counted, whatever becomes of it."""

    def __init__(self, name: str, writer: Writer, metrics: Metrics, depth: int, wants_pictures: bool = False) -> None:
        self._name = name
        self._writer = writer
        self._metrics = metrics
        self._wants_pictures = wants_pictures
        self._backlog: Backlog[Entry] = Backlog(depth)
        self._told: set[str] = set()  # the troubles since results reached it last
        self._thread = threading.Thread(target=self._work, name=f"live-{name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """See `Sink`."""
        return self._name

    @property
    def wants_pictures(self) -> bool:
        """See `Sink`."""
        return self._wants_pictures

    def put(self, result: FrameResult, picture: Array | None) -> None:
        """See `Sink`."""
        light = replace(result, analysis=replace(result.analysis, masks=()))
        if self._backlog.put(result.source, Entry(light, picture)):
            self._count("lost")

    def close(self, drain_seconds: float = 0.0) -> None:
        """See `Sink`. A writer that hangs is left behind: its thread ends with the process."""
        self._backlog.close()
        self._thread.join(drain_seconds)
        self._count("lost", self._backlog.clear())

    def _work(self) -> None:
        while not self._backlog.done:
            entry = self._backlog.take(IDLE_SECONDS)
            try:
                if entry is None:
                    self._writer.idle()
                else:
                    self._conclude(self._writer.write(entry))
            except Exception as error:  # whatever a disk, a broker or an encoder does, the next result is tried
                if self._is_news(why := in_words(error)):
                    event = {"destination": self._name, "why": why}
                    log.exception("results do not reach the destination", extra={"event": event})
                if entry is not None:
                    self._conclude("failed")
        try:
            self._writer.close()
        except Exception:
            log.exception("the destination did not end well", extra={"event": {"destination": self._name}})

    def _is_news(self, trouble: str) -> bool:
        """Each trouble is told once, until results reach the destination again: there are many results a second."""
        known = trouble in self._told
        self._told.add(trouble)
        return not known

    def _conclude(self, outcome: str) -> None:
        self._count(outcome)
        if outcome == "sent" and self._told:
            log.info("results reach the destination again", extra={"event": {"destination": self._name}})
            self._told.clear()
        if outcome != "stale":
            self._metrics.set("edge_destination_up", float(outcome == "sent"), destination=self._name)

    def _count(self, outcome: str, count: int = 1) -> None:
        self._metrics.count("edge_live_results_total", count, destination=self._name, outcome=outcome)


def in_words(error: Exception) -> str:
    """Why results do not reach a disk, for the log; of other errors their type."""
    if isinstance(error, FolderUnusable):
        return str(error)
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
