"""Who is connected: limits on associations, and a bounded lobby for connections that have none yet (or no longer)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from dataclasses import dataclass

from edge_runtime.config import DicomReceive
from edge_runtime.receive.negotiation import STOPPING, Rejection, limit_reached

LOBBY_PLACES = 32
_FAREWELL_SECONDS = 3.0


@dataclass
class _Guest:
    host: str
    caller: str | None = None  # of its association


class Doors:
    """Counts connections and associations. Thread-safe.

    The lobby holds at most `LOBBY_PLACES` connections. One more, and the oldest of the host that has most of them
    is shut down: a flood of silent connections pushes out itself, not a modality that says its name at once.
    A caller is its AE title where callers are configured, else its address, as any title could be made up.
    """

    def __init__(self, config: DicomReceive) -> None:
        self._config = config
        self._guests: dict[socket.socket, _Guest] = {}
        self._closing = False
        self._changed = threading.Condition()

    def configure(self, config: DicomReceive) -> None:
        """Take new limits; an association that is open stays open."""
        with self._changed:
            self._config = config

    def arrive(self, connection: socket.socket, host: str) -> bool:
        """Let a connection into the lobby. False when another one was shut down for it."""
        with self._changed:
            self._guests[connection] = _Guest(host)
            waiting = [(c, guest.host) for c, guest in self._guests.items() if guest.caller is None]
            if len(waiting) <= LOBBY_PLACES:
                return True
            crowd = Counter(other for _, other in waiting).most_common(1)[0][0]
            victim = next(c for c, other in waiting if other == crowd)
            del self._guests[victim]
            _shut_down(victim, socket.SHUT_RDWR)
            return False

    def admit(self, connection: socket.socket, ae_title: str) -> Rejection | None:
        """Give a connection an association, or say why not."""
        with self._changed:
            guest = self._guests.get(connection)
            if guest is None or self._closing:
                return STOPPING
            caller = guest.host if self._config.callers is None else ae_title
            callers = Counter(other.caller for other in self._guests.values() if other.caller is not None)
            rejection = limit_reached(self._config, callers.total(), callers[caller])
            if rejection is None:
                guest.caller = caller
            return rejection

    def dismiss(self, connection: socket.socket) -> None:
        """The association of a connection is over."""
        with self._changed:
            if connection in self._guests:
                self._guests[connection].caller = None

    def depart(self, connection: socket.socket) -> None:
        """The connection is about to be closed by its thread."""
        with self._changed:
            self._guests.pop(connection, None)
            self._changed.notify_all()

    @property
    def associations(self) -> int:
        """How many associations are open."""
        with self._changed:
            return sum(guest.caller is not None for guest in self._guests.values())

    def drained(self, seconds: float) -> bool:
        """Admit nobody and wait for all to leave; False when some are still there after `seconds`."""
        with self._changed:
            self._closing = True
            return self._changed.wait_for(lambda: not self._guests, seconds)

    def end_reading(self) -> bool:
        """Wake the threads that wait for their peers: they can still send an A-ABORT. True when all have left."""
        with self._changed:
            for connection in self._guests:
                _shut_down(connection, socket.SHUT_RD)
            return self._changed.wait_for(lambda: not self._guests, _FAREWELL_SECONDS)


def _shut_down(connection: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # the peer was faster
        connection.shutdown(how)
