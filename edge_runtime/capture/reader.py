"""The thread that reads one source for ever: opens it, reads it, and opens it again."""

from __future__ import annotations

import logging
import shlex
import threading
import time

from edge_runtime.capture.backoff import Backoff, Said
from edge_runtime.capture.command import Command
from edge_runtime.capture.session import Publish, Session, Shared
from edge_runtime.capture.source import COMMAND_SECONDS, Kind, Source, SourceFailed, failure, kind_of, open_source
from edge_runtime.capture.watch import Limits, Watch
from edge_runtime.config import Video
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.capture")

_STEP_SECONDS = 0.5


class Reader(threading.Thread):
    """Reads a source until stopped."""

    def __init__(self, video: Video, publish: Publish, metrics: Metrics, backoff: Backoff | None = None) -> None:
        super().__init__(name="reader", daemon=True)
        self._kind = kind_of(video)
        limits = Limits(video.silent_after_seconds, video.frozen_after_seconds, video.maximum_lag_seconds)
        self._shared = Shared(video, Watch(limits), publish, metrics, threading.Event(), threading.Lock())
        self._shared.turn()
        self._video = video
        self._backoff = backoff or Backoff()
        self._said = Said()
        self._command: Command | None = None
        self.error: EdgeRuntimeError | None = None

    @property
    def turned_at(self) -> float:
        """CLOCK_MONOTONIC seconds of its last sign of life."""
        return self._shared.turned_at

    def state(self) -> str:
        """One of metrics.SOURCE_STATES."""
        with self._shared.guard:
            return self._shared.watch.state(time.monotonic())

    def stop(self, within_seconds: float) -> bool:
        """End it, and the program that it reads. True once it ended."""
        self._shared.stopped.set()
        command = self._command
        if command is not None:
            command.kill()
        self.join(within_seconds)
        return not self.is_alive()

    def run(self) -> None:
        """Until stopped; `error` says why it ended otherwise."""
        try:
            while not self._shared.stopped.is_set():
                sound_seconds, ended = self._once()
                if ended and not self._video.loop:
                    with self._shared.guard:
                        self._shared.watch.ended()
                    self._wait(None)
                elif not ended or sound_seconds == 0.0:
                    self._wait(self._backoff.wait_seconds(sound_seconds))
        except EdgeRuntimeError as error:
            self.error = error

    def _once(self) -> tuple[float, bool]:
        """One connection: for how long it gave good frames, and whether it is a file that was read to its end."""
        session: Session | None = None
        detail = "it ended"
        try:
            source = self._open()
            try:
                session = Session(source, self._shared)
                session.run()
                ended = source.kind is Kind.FILE
            finally:
                source.close()
        except SourceFailed as failed:
            ended = session is not None and self._kind is Kind.FILE  # what is left of the file cannot be read
            detail = str(failed)
        finally:
            said = self._close_command()
        what = "source cannot be opened, tried again" if session is None else "source is opened again"
        if (
            not self._shared.stopped.is_set()
            and not ended
            and self._said.is_news(f"{what}: {detail}", time.monotonic())
        ):
            event = {"source": self._video.name, "why": detail, **({"program": said} if said else {})}
            log.warning(what, extra={"event": event})
        with self._shared.guard:
            if ended:
                self._shared.watch.forget_pictures()
            else:
                self._shared.watch.connecting()
        return (0.0 if session is None else session.sound_seconds), ended

    def _open(self) -> Source:
        try:
            if self._video.command is not None:
                self._command = start_program(self._video.command)
            source = open_source(self._video, self._kind, self._command)
        except SourceFailed as failed:
            self._count(failed.outcome)
            raise
        self._count("opened")
        with self._shared.guard:
            self._shared.watch.opened(time.monotonic())
        return source

    def _close_command(self) -> str:
        command, self._command = self._command, None
        if command is None:
            return ""
        status = command.close()
        return f"status {status}: {command.last_line}"

    def _count(self, outcome: str) -> None:
        self._shared.metrics.count("edge_video_connects_total", source=self._video.name, outcome=outcome)

    def _wait(self, seconds: float | None) -> None:
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            self._shared.turn()
            left = _STEP_SECONDS if until is None else max(0.0, until - time.monotonic())
            if self._shared.stopped.wait(min(_STEP_SECONDS, left)):
                return


def start_program(command: str) -> Command:
    """Start the program of a source.

    Raises:
        SourceFailed: it cannot be started.
    """
    try:
        return Command(command, COMMAND_SECONDS)
    except (FileNotFoundError, PermissionError) as error:
        forbidden = isinstance(error, PermissionError)
        text = f"program {shlex.split(command)[0]} {'cannot be run: no right to it' if forbidden else 'not found'}"
        raise SourceFailed("refused" if forbidden else "not_found", text) from None
    except (OSError, ValueError) as error:
        raise failure(error) from None
