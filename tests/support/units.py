"""A unit file as systemd reads it: the last value of each key, lists joined."""

from __future__ import annotations

from pathlib import Path

LISTS = {"SystemCallFilter", "DeviceAllow", "Environment", "ExecReload", "IPAddressAllow", "After"}


def settings(*files: Path) -> dict[str, str]:
    """The settings of a unit and its drop-ins, section names left out."""
    found: dict[str, str] = {}
    for file in files:
        for line in file.read_text().splitlines():
            key, separator, value = line.partition("=")
            if separator and not line.startswith(("#", ";")):
                found[key] = f"{found[key]} {value}" if key in LISTS and key in found else value
    return found
