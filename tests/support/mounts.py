"""Small file systems in memory, where mounting is permitted."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(path: Path, options: str = "rw") -> Iterator[Path]:
    """A tmpfs at `path`, which is made where it is missing; the test is skipped where that is not permitted."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@contextlib.contextmanager
def unwritable(path: Path) -> Iterator[Path]:
    """A folder in which not even root can write."""
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        with mounted(path, "ro") as place:
            yield place
    else:
        path.chmod(0o500)
        try:
            yield path
        finally:
            path.chmod(0o700)
