"""Installs the daemon with `make install` into a folder, in seconds: its dependencies are those of this environment."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREFIX = "/opt/edge-runtime"
SITE_PACKAGES = sysconfig.get_path("purelib")


@dataclass(frozen=True)
class Staged:
    """A copy of the source, and the root (DESTDIR) that it was installed into."""

    source: Path
    root: Path
    wheels: Path

    @property
    def prefix(self) -> Path:
        return self.root / PREFIX.lstrip("/")

    @property
    def current(self) -> Path:
        return self.prefix / os.readlink(self.prefix / "current")

    @property
    def config(self) -> Path:
        return self.root / "etc/edge-runtime/config.yaml"

    @property
    def unit(self) -> Path:
        return self.root / "etc/systemd/system/edge-runtime.service"

    @property
    def share(self) -> Path:
        return self.current / "share/edge-runtime"

    def make(self, target: str, *variables: str, check: bool = True, **environment: str) -> str:
        """Run `make` in the copy; what it printed."""
        command = [
            "make",
            target,
            f"DESTDIR={self.root}",
            f"PYTHON={sys.executable}",
            f"WHEELS={self.wheels}",
            *variables,
        ]
        done = subprocess.run(
            command, cwd=self.source, env={**os.environ, **environment}, capture_output=True, check=False
        )
        said = (done.stdout + done.stderr).decode()
        assert (done.returncode == 0) == check, said
        return said

    def install(self, version: str | None = None, *variables: str) -> str:
        """Build the wheel and install it; with `version`, of a source that says so."""
        if version is not None:
            module = self.source / "edge_runtime/__init__.py"
            module.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', module.read_text()))
        self.make("wheels", "PIP_FLAGS=--no-deps --no-build-isolation", PYTHONPATH=SITE_PACKAGES)
        said = self.make("install", "PIP_FLAGS=--no-deps", *variables)
        packages = next(self.current.glob("lib/python*/site-packages"))
        (packages / "dependencies-for-the-test.pth").write_text(SITE_PACKAGES + "\n")
        return said

    def command(self, *arguments: str) -> list[str]:
        """`edge-runtime ...` of the release. The installed command names the Python of the place it is meant for."""
        return [str(self.current / "bin/python"), "-m", "edge_runtime.cli", *arguments]

    def convert(self, *arguments: str) -> list[str]:
        """`edge-convert ...` of the release."""
        return [str(self.current / "bin/python"), "-m", "converters.cli", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(*arguments), cwd=self.root, capture_output=True, check=False)


@functools.cache
def installed(folder: Path) -> Staged:
    """The one installation of a test run, made in a folder of the run; not to be changed: see `copy`."""
    staged = stage(folder / "installed")
    staged.install()
    return staged


def copy(staged: Staged, folder: Path) -> Staged:
    """The same installation, to be changed."""
    for name in ("source", "root", "wheels"):
        shutil.copytree(getattr(staged, name), folder / name, symlinks=True)
    return Staged(folder / "source", folder / "root", folder / "wheels")


def stage(folder: Path) -> Staged:
    """A copy of what an installation needs, not installed yet."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("edge_runtime", "converters", "benchmarks", "systemd"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Staged(source, folder / "root", folder / "wheels")
