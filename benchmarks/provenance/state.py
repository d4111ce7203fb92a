"""The state of a machine that changes while it runs: clocks, power mode, temperatures, throttling.

Files as the kernel documents them: cpufreq (admin-guide/pm/cpufreq), thermal zones (driver-api/thermal/sysfs-api),
hwmon (hwmon/sysfs-interface), thermal_throttle (x86), over-current events and nvpmodel of Jetson Linux.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.provenance.machine import ROOT
from benchmarks.provenance.nvidia import gpus
from benchmarks.provenance.reading import Ask, ask, known
from edge_runtime.telemetry.gpu.files import celsius_of, number_of, nvpmodel, text_of

_CPU = "sys/devices/system/cpu"
_TRIPS = ("passive", "hot")


def state(root: Path = ROOT, asks: Ask = ask) -> dict[str, Any]:
    """The state now; keys of what cannot be read are missing."""
    return known({
        "clocks": clocks(root),
        "device_clocks": device_clocks(root),
        "power_mode": power_mode(root, asks),
        "thermal_zones": thermal_zones(root),
        "sensors_celsius": sensors(root),
        "throttle_counts": throttle_counts(root),
        **gpus(asks),
    })  # fmt: skip


def clocks(root: Path) -> dict[str, Any]:
    """Clocks of the cores in MHz, governors, limits, and whether the cores may boost."""
    policies = sorted(root.glob(f"{_CPU}/cpu[0-9]*/cpufreq"))

    def megahertz(name: str) -> list[float]:
        found = (number_of(policy / name) for policy in policies)
        return [khz / 1000 for khz in found if khz is not None]

    current = megahertz("scaling_cur_freq")
    source = "cpufreq"
    if not current:
        lines = (text_of(root / "proc/cpuinfo") or "").splitlines()
        current = [float(line.partition(":")[2]) for line in lines if line.lower().startswith("cpu mhz")]
        source = "/proc/cpuinfo"
    return known({
        "source": source if current else None,
        "current_mhz": _range(current),
        "least_mhz": _range(megahertz("scaling_min_freq")),
        "most_mhz": _range(megahertz("scaling_max_freq")),
        "governors": sorted({found for policy in policies if (found := text_of(policy / "scaling_governor"))}),
        "drivers": sorted({found for policy in policies if (found := text_of(policy / "scaling_driver"))}),
        "turbo": _turbo(root),
    })  # fmt: skip


def device_clocks(root: Path) -> dict[str, Any]:
    """Clocks of other devices (devfreq), by device; on a Jetson the GPU's. jetson_clocks makes least and most equal."""
    found = {}
    for folder in sorted(root.glob("sys/class/devfreq/*")):
        names = {"current_mhz": "cur_freq", "least_mhz": "min_freq", "most_mhz": "max_freq"}
        hertz = {key: number_of(folder / name) for key, name in names.items()}
        values = {key: None if value is None else value / 1e6 for key, value in hertz.items()}
        found[folder.name] = known({**values, "governor": text_of(folder / "governor")})
    return known(found)


def power_mode(root: Path, asks: Ask) -> str | None:
    """Jetson's power mode, such as "2: MODE_15W", from nvpmodel's files or else its answer; else ACPI's profile."""
    kept = nvpmodel(root)
    if kept is not None:
        return kept
    said = asks(["nvpmodel", "-q"])
    answer = re.search(r"^NV Power Mode:\s*(\S+)\s+(\d+)\s*$", said.text, re.MULTILINE)
    if said.status == 0 and answer is not None:
        return f"{answer[2]}: {answer[1]}"
    return text_of(root / "sys/firmware/acpi/platform_profile")


def thermal_zones(root: Path) -> dict[str, Any]:
    """Temperature of each zone and its lowest passive or hot trip point, in degrees Celsius."""
    found: dict[str, Any] = {}
    for folder in sorted(root.glob("sys/class/thermal/thermal_zone*"), key=_number):
        celsius = celsius_of(folder / "temp")
        if celsius is None:
            continue
        trips = [
            trip
            for kind in folder.glob("trip_point_*_type")
            if text_of(kind) in _TRIPS
            and (trip := celsius_of(folder / kind.name.replace("_type", "_temp"))) is not None
            and trip > 0
        ]
        zone = known({"celsius": celsius, "trip_celsius": min(trips, default=None)})
        found[_unused(text_of(folder / "type") or folder.name, found)] = zone
    return found


def sensors(root: Path) -> dict[str, float]:
    """Degrees Celsius by sensor: the chip's name and the sensor's label (hwmon)."""
    found: dict[str, float] = {}
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*"), key=_number):
        chip = text_of(folder / "name") or folder.name
        for file in sorted(folder.glob("temp*_input"), key=_number):
            celsius = celsius_of(file)
            if celsius is not None:
                label = text_of(folder / file.name.replace("_input", "_label"))
                found[_unused(f"{chip} {label}" if label else chip, found)] = celsius
    return found


def throttle_counts(root: Path) -> dict[str, int]:
    """How often the machine throttled since it started: by core or package (x86), by over-current event (Jetson)."""
    found: dict[str, int] = {}
    for file in sorted(root.glob(f"{_CPU}/cpu[0-9]*/thermal_throttle/*_count")):
        count = number_of(file)
        if count is not None:  # the cores of a package all show the package's count
            of_package = file.name.startswith("package")
            before = found.get(file.name, 0)
            found[file.name] = max(before, count) if of_package else before + count
    for file in sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")):
        count = number_of(file)
        if count is not None:
            found[file.name] = found.get(file.name, 0) + count
    return found


def _turbo(root: Path) -> str | None:
    off = number_of(root / _CPU / "intel_pstate/no_turbo")
    if off is not None:
        return "off" if off else "on"
    boost = number_of(root / _CPU / "cpufreq/boost")
    return None if boost is None else ("on" if boost else "off")


def _range(values: list[float]) -> list[float]:
    return [min(values), max(values)] if values else []


def _number(path: Path) -> int:
    return int(re.sub(r"\D", "", path.name) or 0)


def _unused(name: str, taken: Iterable[str]) -> str:
    """The name, with a number where it is taken."""
    used, number = set(taken), 2
    while name in used:
        name = f"{name.rpartition(' #')[0] or name} #{number}"
        number += 1
    return name
