"""How a process ends whose device fails or hangs: it says why, gives its work back, and goes. The next one replays."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from edge_runtime.errors import EXIT_DEVICE_LOST, DeviceError, DeviceLost, OutOfDeviceMemory
from edge_runtime.roles.link import Link
from edge_runtime.telemetry.logs import describe
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.role")

CAUSES = ("lost", "memory", "call", "hang")
GIVE_BACK_SECONDS = 3.0
"""A disk that hangs too must not keep the process."""


def cause_of(error: DeviceError) -> str:
    """Which of `CAUSES` a failure counts as."""
    if isinstance(error, OutOfDeviceMemory):
        return "memory"
    return "lost" if isinstance(error, DeviceLost) else "call"


class DeviceHang:
    """What a device calls, from a thread of its own, when the host has waited too long for it. It does not return.

    `give_back` is called first, so that the work under way is not taken for its cause.
    """

    def __init__(self, role: str, link: Link, metrics: Metrics, leave: Callable[[int], None] = os._exit) -> None:
        self.give_back: Callable[[DeviceError], None] = _nothing
        self._role = role
        self._link = link
        self._metrics = metrics
        self._leave = leave

    def __call__(self, what: str) -> None:
        """`what` the host waited for."""
        error = DeviceLost(what, "no answer", "the device hangs; see 'The accelerator' in docs/operation.md")
        log.critical("device hangs", extra={"event": {"error": describe(error)}})
        self._metrics.count("edge_device_lost_total", role=self._role, cause="hang")
        self._link.last_words(describe(error))
        giving = threading.Thread(target=self.give_back, args=(error,), daemon=True)
        giving.start()
        giving.join(GIVE_BACK_SECONDS)
        self._leave(EXIT_DEVICE_LOST)


def _nothing(_error: DeviceError) -> None:
    """No work is under way."""
