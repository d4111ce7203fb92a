"""What a machine is: all that does not change while it runs."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.provenance.reading import Ask, ask, known
from edge_runtime.telemetry.gpu.files import text_of

ROOT = Path("/")


def machine(root: Path = ROOT, asks: Ask = ask) -> dict[str, Any]:
    """The machine's description; keys of what cannot be known are missing. It names no host, user or serial number."""
    return known({
        "cpu_model": cpu_model(root),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "operating_system": _operating_system(root),
        "virtualization": _virtualization(root, asks),
        "container": _container(root, asks),
        "smt": text_of(root / "sys/devices/system/cpu/smt/control"),
        "transparent_huge_pages": _chosen(text_of(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "board": text_of(root / "proc/device-tree/model"),
        "jetson_linux": (text_of(root / "etc/nv_tegra_release") or "").partition("\n")[0].strip("# "),
    })  # fmt: skip


def cpu_model(root: Path = ROOT) -> str:
    """The processor's name."""
    for line in (text_of(root / "proc/cpuinfo") or "").splitlines():
        if line.lower().startswith(("model name", "cpu part")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _operating_system(root: Path) -> str | None:
    """PRETTY_NAME of os-release(5)."""
    for line in (text_of(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return None


def _virtualization(root: Path, asks: Ask) -> str | None:
    """The hypervisor as systemd-detect-virt(1) names it, "none", or "unknown" where only its flag is seen."""
    said = asks(["systemd-detect-virt", "--vm"])
    if said.status is not None and (said.status == 0 or said.text == "none"):
        return said.text
    kind = text_of(root / "sys/hypervisor/type")
    if kind is not None:
        return kind
    flags = [line.split() for line in (text_of(root / "proc/cpuinfo") or "").splitlines() if line.startswith("flags")]
    return "unknown" if flags and "hypervisor" in flags[0] else None


def _container(root: Path, asks: Ask) -> str | None:
    for file, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / file).exists():
            return name
    said = asks(["systemd-detect-virt", "--container"])
    return said.text if said.status is not None and (said.status == 0 or said.text == "none") else None


def _chosen(text: str | None) -> str | None:
    """Of "always [madvise] never" the word in brackets."""
    return text.partition("[")[2].partition("]")[0] if text else None
