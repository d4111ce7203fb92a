"""Watches how long the host waits for a device."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

_LOOKS = 4  # a look each quarter of the limit: a hang is seen after 1 to 1.25 of it


class Watchdog:
    """One thread, asleep while nobody waits, that calls `on_hang(what)` once for each wait longer than the limit.

    A wait costs its thread two operations on a dictionary and no lock:

        with watchdog.watch("synchronize of stream-3"): ...
    """

    def __init__(self, limit_seconds: float, on_hang: Callable[[str], None]) -> None:
        self._limit_seconds, self._on_hang = limit_seconds, on_hang
        self._waits: dict[int, tuple[float, str]] = {}  # by thread: since when (monotonic), for what
        self._awake, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def watch(self, what: str) -> _Wait:
        """A context in which this thread waits for `what`. Contexts of one thread do not nest."""
        return _Wait(self, what)

    def begin(self, what: str) -> None:
        """This thread waits from now."""
        self._waits[threading.get_ident()] = (time.monotonic(), what)
        if not self._awake.is_set():
            self._wake()

    def end(self) -> None:
        """This thread waits no more."""
        self._waits.pop(threading.get_ident(), None)

    def close(self) -> None:
        """End the thread; a second call does nothing."""
        self._closed.set()
        self._awake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _wake(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._look, name="device-watchdog", daemon=True)
                self._thread.start()
        self._awake.set()

    def _look(self) -> None:
        told: set[tuple[float, str]] = set()
        while not self._closed.wait(self._limit_seconds / _LOOKS):
            now = time.monotonic()
            waits = list(self._waits.copy().values())
            told.intersection_update(waits)
            for wait in waits:
                if now - wait[0] > self._limit_seconds and wait not in told:
                    told.add(wait)
                    self._on_hang(wait[1])
            if not waits:
                self._sleep()

    def _sleep(self) -> None:
        self._awake.clear()
        if not self._waits and not self._closed.is_set():  # asked after `clear`: who begins now sees it and wakes
            self._awake.wait()


class _Wait:
    """One wait of one thread."""

    __slots__ = ("_watchdog", "_what")

    def __init__(self, watchdog: Watchdog, what: str) -> None:
        self._watchdog, self._what = watchdog, what

    def __enter__(self) -> None:
        self._watchdog.begin(self._what)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watchdog.end()
