"""Ctrl-C while a library written in C++ calls back: an exception must not pass through it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Hold back the signals that end the program; yields a function that says whether one came.

    At the end each that came is given to its own handler, which as a rule raises KeyboardInterrupt. Signals that end
    the process at once, or that are ignored, stay as they are.
    """
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    taken: dict[int, Callable[[int, FrameType | None], object]] = {}
    if threading.current_thread() is threading.main_thread():  # signals are the main thread's
        for number in _ENDING:
            handler = signal.getsignal(number)
            if callable(handler):
                taken[number] = handler
                signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        for one, before in taken.items():
            signal.signal(one, before)
        for one in dict.fromkeys(came):
            taken[one](one, None)
