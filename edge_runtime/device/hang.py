"""What becomes of a process whose device does not answer: one answer for the process, for it has nothing without it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.errors import EXIT_DEVICE_LOST


def leave(_what: str) -> None:
    """End this process at once: a call that waits for a device in vain cannot be ended otherwise."""
    os._exit(EXIT_DEVICE_LOST)


@dataclass
class OnHang:
    """What devices of this process call, with what the host waits for, when that takes too long."""

    handler: Callable[[str], None] = leave

    def __call__(self, what: str) -> None:
        """The device does not answer."""
        self.handler(what)


on_hang = OnHang()
