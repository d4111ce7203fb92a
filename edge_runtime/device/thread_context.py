"""Which device's context is current in which thread."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

_numbers = itertools.count(1)


class _Thread(threading.local):
    current = 0


_thread = _Thread()


class ThreadContext:
    """Calls `set_current` in a thread in which this was not the last one to be entered.

    Each has a number of its own, because a context that is made anew may have the address of one that is gone.
    """

    def __init__(self, set_current: Callable[[], None]) -> None:
        self._number, self._set_current = next(_numbers), set_current

    def enter(self) -> None:
        """Let the calls of this thread go to the context."""
        if _thread.current != self._number:
            self._set_current()
            _thread.current = self._number

    def leave(self) -> None:
        """The context may go: who comes next sets its own."""
        _thread.current = 0
