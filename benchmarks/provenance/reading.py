"""Asking programs. What gives no answer is absent: None, never 0."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Said:
    """What a program said, on its output or else as an error. status: its exit code; None where it gave no answer."""

    text: str
    status: int | None

    @property
    def first_line(self) -> str:
        """The first line that is not empty."""
        return next((line.strip() for line in self.text.splitlines() if line.strip()), "unknown")


Ask = Callable[[Sequence[str]], Said]


def ask(command: Sequence[str]) -> Said:
    """Run a program that answers at once."""
    if shutil.which(command[0]) is None:
        return Said("absent", None)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=ANSWER_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Said(f"no answer within {ANSWER_SECONDS:.0f} s", None)
    except OSError as error:
        return Said(f"it could not be started: {error.strerror}", None)
    return Said(done.stdout.strip() or done.stderr.strip(), done.returncode)


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is absent: None, and what is empty."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", [], {})}
