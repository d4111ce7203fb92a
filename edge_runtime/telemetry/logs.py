"""One line an event, to stderr, for journald. Never patient data: values come from `extra={"event": {...}}`."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

from edge_runtime.errors import EdgeRuntimeError

_JOURNAL_PRIORITY = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class EventFormatter(logging.Formatter):
    """`2026-11-23T04:00:00.123Z INFO receive: instance stored job=... bytes=525312`."""

    def __init__(self, role: str, for_journal: bool) -> None:
        super().__init__()
        self._role = role
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        event: dict[str, Any] = getattr(record, "event", {})
        values = "".join(f" {key}={_quoted(value)}" for key, value in event.items())
        line = f"{record.levelname} {self._role}: {' '.join(record.getMessage().split())}{values}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f" error={_quoted(describe(record.exc_info[1]))}"
        if self._for_journal:
            return f"<{_JOURNAL_PRIORITY.get(record.levelname, 6)}>{line}"
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{moment}.{int(record.msecs):03d}Z {line}"


def _quoted(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def describe(error: BaseException) -> str:
    """An error for the log. Only our own messages are shown: those of libraries may quote what came over the wire."""
    if isinstance(error, EdgeRuntimeError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames))
    number = f" errno {error.errno}" if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__}{number} at {where}" if where else f"{type(error).__name__}{number}"


class Troubles:
    """So that a trouble that comes with every frame is told once in `quiet_seconds`. Thread-safe."""

    def __init__(self, quiet_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[str, type[BaseException]], tuple[float, int]] = {}

    def untold(self, place: str, error: BaseException) -> int | None:
        """How often this type of error was not told of this place since it was; None where it is not to be told now."""
        key, now = (place, type(error)), self._clock()
        with self._lock:
            told_at, count = self._known.get(key, (-math.inf, 0))
            is_due = now >= told_at + self._quiet_seconds
            self._known[key] = (now, 0) if is_due else (told_at, count + 1)
        return count if is_due else None


def start_logging(role: str, level: str = "INFO") -> None:
    """Send our events to stderr, silence the libraries, and keep values out of last words."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter(role, for_journal="JOURNAL_STREAM" in os.environ))
    ours = logging.getLogger("edge_runtime")
    ours.handlers[:] = [handler]
    ours.setLevel(level)
    ours.propagate = False
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    logging.captureWarnings(capture=True)
    warnings.simplefilter("ignore")
    sys.excepthook = _last_words
    threading.excepthook = _thread_last_words


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("edge_runtime").critical("unexpected error", exc_info=(kind, error, trace))


def _thread_last_words(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _last_words(args.exc_type, args.exc_value, args.exc_traceback)
