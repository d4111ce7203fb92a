"""Where figures come from: machine, load, versions, engines, configuration."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGES = (
    "edge-runtime", "numpy", "scipy", "pydicom", "pynetdicom", "highdicom", "onnxruntime", "python-gdcm", "Pillow",
    "onnx", "torch", "monai", "tensorrt-rtx-cu13",
)  # fmt: skip
QUIET_LOAD = 0.5
"""One-minute load average a core, before the start, above which the machine is not quiet."""
QUIET_SHARE = 0.1
"""Share of all cores' time that other programs may take during the run."""
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True)
class FileSystem:
    """What a folder is on."""

    type: str
    device: str

    @property
    def in_memory(self) -> bool:
        """True where an fsync proves nothing."""
        return self.type in MEMORY_FILE_SYSTEMS


def file_system(folder: Path) -> FileSystem:
    """The file system that holds a folder, which exists."""
    resolved = folder.resolve()
    best, found = -1, FileSystem("unknown", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, mount, kind, *_ = line.split(" ")
        place = Path(mount.encode().decode("unicode_escape"))
        if resolved.is_relative_to(place) and len(place.parts) >= best:
            best, found = len(place.parts), FileSystem(kind, device)
    return found


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cpu_model() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.lower().startswith(("model name", "cpu part")):
            return line.partition(":")[2].strip()
    return platform.machine()


class Watch:
    """Notes how busy the machine is, from its construction to `document()`."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._date = datetime.datetime.now(datetime.timezone.utc)
        self._load = os.getloadavg()
        self._busy = _busy_seconds()
        self._own = _own_seconds()

    def document(self, work: Path) -> dict[str, Any]:
        """All that a reader needs to judge or repeat the run; `work` is the folder whose disk was used."""
        seconds = time.monotonic() - self._began
        cores = len(os.sched_getaffinity(0))
        others = max(0.0, (_busy_seconds() - self._busy) - (_own_seconds() - self._own))
        on = file_system(work)
        return {
            "date": self._date.isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "device": f"CPU: {cpu_model()}, {cores} cores; no accelerator was used",
            "cpu_model": cpu_model(),
            "cores": cores,
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "load_average_before": list(self._load),
            "load_average_after": list(os.getloadavg()),
            "cpu_share_of_other_programs": round(others / (cores * seconds), 4),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "packages": _packages(),
            "dcmtk": _first_line(["storescu", "--version"]),
            "git_commit": _git_commit(),
            "file_system": {"type": on.type, "device": on.device},
        }

    def unrest(self, document: dict[str, Any]) -> list[str]:
        """Why the machine was not quiet, as a reader must be told."""
        found = []
        if self._load[0] > QUIET_LOAD * document["cores"]:
            found.append(f"the machine was not quiet: load average {self._load[0]:.2f} before the start")
        share = document["cpu_share_of_other_programs"]
        if share > QUIET_SHARE:
            found.append(f"the machine was not quiet: other programs took {share:.0%} of its cores' time")
        return found


def _busy_seconds() -> float:
    """User, nice, system, interrupt and steal time of all cores since the machine started (proc(5))."""
    fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return float(user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def _first_line(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return "absent"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter((done.stdout or done.stderr).splitlines()), "unknown")


def _git_commit() -> str | None:
    """The commit of the source, with `+changes` where the tree differs from it; None outside a repository."""
    if shutil.which("git") is None:
        return None
    here = str(Path(__file__).parent)
    head = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return None
    status = ["git", "-C", here, "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(status, capture_output=True, text=True, check=False).stdout
    return head.stdout.strip() + ("+changes" if changed else "")
