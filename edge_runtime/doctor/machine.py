"""The computer and what is installed on it: processor, memory, systemd, versions."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge_runtime import __version__
from edge_runtime.doctor.check import Check, Site, fail, ok, warn

LEAST_MEMORY_BYTES = 2_000_000_000

_UNIT = "edge-runtime.service"
_UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
                 "/usr/lib/systemd/system", "/lib/systemd/system")  # fmt: skip
_OLDEST, _NEWEST = (3, 10), (3, 14)
_PACKAGES = ("numpy", "scipy", "pydicom", "pynetdicom", "highdicom", "onnxruntime", "cryptography")
_VIDEO_PACKAGES = ("av", "paho-mqtt")


def examine_machine(site: Site) -> Iterator[Check]:
    """Versions, processor, memory and who starts the daemon."""
    yield python_check(sys.version_info[:2])
    video = [name for name in _VIDEO_PACKAGES if _version(name) is not None]
    yield packages_check({name: _version(name) for name in (*_PACKAGES, *video)})
    limit = cgroup_processors(_read("/sys/fs/cgroup/cpu.max"))
    yield processor_check(len(os.sched_getaffinity(0)), limit, site.config.engines.threads)
    yield memory_check(available_bytes_here())
    unit = next((file for folder in _UNIT_FOLDERS if (file := Path(folder) / _UNIT).exists()), None)
    yield unit_check(Path("/run/systemd/system").is_dir(), None if unit is None else unit.read_text())


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def python_check(found: tuple[int, int]) -> Check:
    """Whether this Python is one that the daemon is tested with."""
    what, text = "versions", f"edge-runtime {__version__}, Python {platform.python_version()}, {platform.machine()}"
    if not _OLDEST <= found <= _NEWEST:
        return warn(what, text, "use Python 3.10 to 3.14: others are not tested")
    return ok(what, text)


def packages_check(found: dict[str, str | None]) -> Check:
    """Whether the libraries are there."""
    missing = [name for name, one in found.items() if one is None]
    if missing:
        return fail("libraries", f"missing: {', '.join(missing)}", "install edge-runtime again, with its dependencies")
    return ok("libraries", ", ".join(f"{name} {one}" for name, one in found.items()))


def cgroup_processors(cpu_max: str) -> float | None:
    """The processors that cgroup v2 allows, from the text of cpu.max; None where it sets no limit."""
    quota, _, period = cpu_max.strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def processor_check(cores: int, limit: float | None, threads: int) -> Check:
    """Cores that we may use against the threads that the engines are given."""
    what = "processor"
    found = f"{cores} cores" + (f", limited to {limit:g}" if limit is not None and limit < cores else "")
    usable = min(float(cores), limit or cores)
    if threads > usable:
        return warn(
            what, f"{found}; engines.threads is {threads}", f"set engines.threads to {max(1, int(usable))} or 0"
        )
    if usable < 2:
        return warn(what, found, "give it 2 cores or more: images are received while others are analysed")
    return ok(what, f"{found}; engines.threads is {threads or 'as many'}")


def available_bytes_here() -> int:
    """The memory that we may take on this computer, now."""
    return available_bytes(_read("/proc/meminfo"), _read("/sys/fs/cgroup/memory.max"))


def available_bytes(meminfo: str, memory_max: str) -> int:
    """The memory that we may take, from the texts of /proc/meminfo and cgroup v2's memory.max."""
    fields = {line.partition(":")[0]: line.split()[1] for line in meminfo.splitlines() if len(line.split()) > 1}
    available = 1024 * int(fields.get("MemAvailable", "0"))
    return min(available, int(memory_max)) if memory_max.strip().isdigit() else available


def memory_check(available: int) -> Check:
    """Whether there is memory for the roles and two decoders."""
    what, found = "memory", f"{available / 1e9:.1f} GB available"
    if available < LEAST_MEMORY_BYTES:
        return warn(what, found, f"give it {LEAST_MEMORY_BYTES / 1e9:.0f} GB or more, and what the engines below need")
    return ok(what, found)


def unit_check(systemd: bool, unit: str | None) -> Check:
    """Whether something starts the daemon after a power failure, and starts it anew when it hangs."""
    what = "start and watchdog"
    if not systemd:
        return warn(what, "no systemd here", "see that what runs this starts the daemon again, and asks /livez")
    if unit is None:
        return warn(what, f"{_UNIT} is not installed", "make install: else nothing starts it after a power failure")
    if "WatchdogSec=" not in unit:
        return warn(what, f"{_UNIT} has no WatchdogSec", "set WatchdogSec=30: a daemon that hangs is then replaced")
    return ok(what, f"{_UNIT} is installed, with a watchdog")
