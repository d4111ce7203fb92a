"""Reading small files of /proc and /sys. What cannot be read is absent: None, never 0."""

from __future__ import annotations

import re
from pathlib import Path

_CREDIBLE_CELSIUS = range(-40, 201)


def text_of(path: Path) -> str | None:
    """The text of a small file; None where it is not there, not for us, or has no value now."""
    try:
        return path.read_text(errors="replace").replace("\0", "").strip() or None
    except OSError:
        return None


def number_of(path: Path) -> int | None:
    """The whole number that a file holds; None where it holds none."""
    try:
        return int(text_of(path) or "")
    except ValueError:
        return None


def celsius_of(path: Path) -> float | None:
    """From thousandths of a degree; None where it is no temperature, as -256000 of a part without power."""
    found = number_of(path)
    return found / 1000 if found is not None and found // 1000 in _CREDIBLE_CELSIUS else None


def nvpmodel(root: Path) -> str | None:
    """Jetson's power mode by the files that nvpmodel keeps, such as "2: MODE_15W"; None where there are none."""
    mode = re.fullmatch(r"pmode:(\d+)", text_of(root / "var/lib/nvpmodel/status") or "")
    if mode is None:
        return None
    number = int(mode[1])
    models = text_of(root / "etc/nvpmodel.conf") or ""
    name = re.search(rf"^\s*<\s*POWER_MODEL\s+ID={number}\s+NAME=(\S+)", models, re.MULTILINE)
    return f"{number}: {name[1]}" if name else str(number)
