"""What the keys of several parts have in common."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CONDITION = re.compile(r"[a-z0-9][a-z0-9_-]*\.[a-z0-9][a-z0-9_-]*\.(positive|negative)")


def require(holds: bool, key: str, message: str) -> None:
    """Raise ValueError, which names the key, where something does not hold."""
    if not holds:
        raise ValueError(f"{key}: {message}")


def ae_title(key: str, value: str) -> None:
    """An AE title of PS3.8, 7.1.1.4."""
    fits = 0 < len(value) <= 16 and value.isascii() and value.isprintable() and value == value.strip()
    require(fits and "\\" not in value, key,
            f"an AE title is 1 to 16 ASCII characters, no outer space or backslash, got {value!r}")  # fmt: skip


def once(key: str, values: Sequence[str], inner: str = "") -> None:
    """No value stands twice."""
    for index, value in enumerate(values):
        require(value not in values[:index], f"{key}[{index}]{inner}", f"{value!r} stands twice")


def port_number(key: str, value: int, lowest: int = 1) -> None:
    """A TCP port; 0, where it is allowed, is any that is free."""
    require(lowest <= value <= 65535, key, f"a port is {lowest} to 65535, got {value}")


def condition(key: str, value: str) -> None:
    """The answer of a stage for a label."""
    require(_CONDITION.fullmatch(value) is not None, key,
            f"write STAGE.LABEL.positive or STAGE.LABEL.negative, got {value!r}")  # fmt: skip


def engine_name(value: str) -> None:
    """The name of an engine's folder."""
    require(NAME.fullmatch(value) is not None, "engine",
            f"name a folder of engines.path with a-z, 0-9, '-', '_' and '.', got {value!r}")  # fmt: skip


def command_line(value: str) -> None:
    """A command line that can be split, and that names a program."""
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"command: cannot be split into words: {error}") from error
    require(bool(words) and bool(words[0]), "command", "names no program")
