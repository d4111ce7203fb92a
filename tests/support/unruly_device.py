"""Processes that open a device whose driver does not behave, in place of the doctor's."""

from __future__ import annotations

import os
import threading


def dies(*_arguments: object) -> None:
    """A library takes the process along."""
    os._exit(7)


def hangs(*_arguments: object) -> None:
    """The driver does not come back."""
    threading.Event().wait()
