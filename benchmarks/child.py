"""Processes that a benchmark starts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence


def bound(command: Sequence[str]) -> list[str]:
    """The command, told to end (SIGTERM) by the kernel when the thread that starts it has ended (prctl(2), PDEATHSIG).

    A benchmark that is killed leaves nothing running that would disturb the next. `setpriv` is part of util-linux.
    """
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []), *command]
