"""What TensorRT says while it works: its messages, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from converters.progress import EVERY_SECONDS, Progress, how_far

_SHOWN = 5


class Said:
    """The library's warnings and errors, each once, in their order."""

    def __init__(self) -> None:
        self.warnings: dict[str, None] = {}
        self.errors: dict[str, None] = {}

    def some_warnings(self) -> tuple[str, ...]:
        """The first few, and how many more there are."""
        first = list(self.warnings)[:_SHOWN]
        more = len(self.warnings) - len(first)
        return tuple(first) if not more else (*first, f"and {more} more")

    def reason(self) -> str:
        """The first errors as one text."""
        return "; ".join(list(self.errors)[:2]) or "it gave no reason"


def make_logger(trt: Any, said: Said) -> Any:
    """A logger (ILogger) that keeps warnings and errors and prints nothing."""
    error, warning = int(trt.ILogger.ERROR), int(trt.ILogger.WARNING)

    def log(_self: Any, severity: Any, message: str) -> None:
        kept = said.errors if int(severity) <= error else said.warnings
        if int(severity) <= warning:
            kept[" ".join(message.split())] = None

    return type("Logger", (trt.ILogger,), {"log": log})()


def make_monitor(
    trt: Any, progress: Progress, stop: Callable[[], bool], clock: Callable[[], float] = time.monotonic
) -> Any:
    """A progress monitor (IProgressMonitor) that says how far the current phase is, and cancels when `stop` says so."""
    phases: dict[str, tuple[int, float]] = {}  # steps and when it began
    said_at = clock()

    def phase_start(_self: Any, name: str, _parent: str | None, steps: int) -> None:
        phases[name] = (steps, clock())

    def step_complete(_self: Any, name: str, step: int) -> bool:
        nonlocal said_at
        now = clock()
        if now - said_at >= EVERY_SECONDS and name in phases:
            said_at = now
            steps, began = phases[name]
            progress.say(f"{name[:1].lower()}{name[1:]}: {how_far(step + 1, steps, now - began)}")
        return not stop()

    def phase_finish(_self: Any, name: str) -> None:
        phases.pop(name, None)

    methods = {"phase_start": phase_start, "step_complete": step_complete, "phase_finish": phase_finish}
    return type("Monitor", (trt.IProgressMonitor,), methods)()
