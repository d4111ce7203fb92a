"""How the daemon is: what `/livez`, `/readyz` and the page are told, and what systemd is told."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.telemetry.logs import describe

log = logging.getLogger("edge_runtime.health")


@dataclass(frozen=True)
class Reason:
    """Why the daemon is not ready."""

    role: str
    reason: str


@dataclass(frozen=True)
class RoleState:
    """A role: `reason` says why it is not ready; `process` is the id of its process, 0 while it has none."""

    name: str
    ready: bool
    reason: str
    process: int


@dataclass(frozen=True)
class Views:
    """What the HTTP server asks the supervisor for. Called from other threads: none of them waits for anything."""

    turned_seconds_ago: Callable[[], float]  # since the supervisor's loop has turned
    alive: Callable[[], bool]
    reasons: Callable[[], list[Reason]]
    metrics: Callable[[], bytes]
    roles: Callable[[], list[RoleState]]


def notify_systemd(message: str) -> None:
    """Send `READY=1`, `WATCHDOG=1`, `STATUS=...` to systemd; nothing happens without it (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        try:
            end.sendto(message.encode(), socket.MSG_DONTWAIT, address)
        except OSError as error:
            log.debug("systemd does not listen", extra={"event": {"error": describe(error)}})
