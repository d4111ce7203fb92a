"""What is known of a GPU at one moment, with its units. What a GPU does not tell is None, or not in the mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

GPUS = tuple(str(number) for number in range(16))
"""Numbers of GPUs as `nvidia-smi` has them: in the order of their PCI addresses. CUDA's own order may be another."""
CLOCKS = ("graphics", "memory")
THROTTLE_REASONS = ("power", "power_brake", "thermal", "sync_boost", "hardware_slowdown")
ECC_KINDS = ("corrected", "uncorrected")
RAILS = (
    "VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO",  # Jetson AGX Orin
    "VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC",  # Jetson Orin NX and Nano
    "VDD_GPU", "VDD_CPU_SOC_MSS", "VIN",  # Jetson Thor
)  # fmt: skip
"""Supply rails that a module measures, by the names on its sensors."""
EVENT_REASONS = (
    "gpu_idle", "applications_clocks_setting", "sw_power_cap", "hw_slowdown", "sync_boost", "sw_thermal_slowdown",
    "hw_thermal_slowdown", "hw_power_brake_slowdown", "display_clock_setting",
)  # fmt: skip
"""Bits of nvmlClocksEventReasons, from the lowest."""

_THROTTLE_OF = {
    "sw_power_cap": "power", "hw_power_brake_slowdown": "power_brake", "sw_thermal_slowdown": "thermal",
    "hw_thermal_slowdown": "thermal", "sync_boost": "sync_boost", "hw_slowdown": "hardware_slowdown",
}  # fmt: skip
_PCI = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.IGNORECASE)


@dataclass(frozen=True)
class Gpu:
    """Which GPU it is. `driver` is None where no driver answers for it, only files of the kernel."""

    label: str  # of GPUS
    name: str
    driver: str | None = None
    pci_bus_id: str | None = None

    def __str__(self) -> str:
        return f"GPU {self.label} ({self.name}{', ' + self.pci_bus_id if self.pci_bus_id else ''})"


@dataclass(frozen=True)
class Reading:
    """One GPU at one moment."""

    lost: str | None = None  # why it no longer answers
    utilization_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_celsius: float | None = None
    fan_ratio: float | None = None
    clocks_hertz: Mapping[str, float] = field(default_factory=dict)  # by CLOCKS
    clock_limits_hertz: Mapping[str, float] = field(default_factory=dict)
    throttled: Mapping[str, bool] = field(default_factory=dict)  # by THROTTLE_REASONS
    ecc_errors: Mapping[str, int] = field(default_factory=dict)  # by ECC_KINDS, since the driver was loaded
    xid_errors: int | None = None  # since the start of this program

    @property
    def tells(self) -> bool:
        """Whether there is anything in it."""
        return any(getattr(self, one.name) not in (None, {}) for one in fields(self) if one.name != "xid_errors")


_Value = TypeVar("_Value")


def filled(first: Reading, second: Reading) -> Reading:
    """`first`, and what it does not tell from `second`. Throttled is what either of them says is."""
    values: dict[str, Any] = {}
    for one in fields(Reading):
        own, other = getattr(first, one.name), getattr(second, one.name)
        values[one.name] = {**other, **own} if isinstance(own, Mapping) else other if own is None else own
    slowed = {name for told in (first.throttled, second.throttled) for name, active in told.items() if active}
    values["throttled"] = {name: name in slowed for name in values["throttled"]}
    return Reading(**values)


def known(values: Mapping[str, _Value | None]) -> dict[str, _Value]:
    """Without what is absent."""
    return {key: value for key, value in values.items() if value is not None}


def throttled_by(mask: int) -> dict[str, bool]:
    """Whether each reason of THROTTLE_REASONS is in a mask of nvmlClocksEventReasons."""
    active = {_THROTTLE_OF.get(name) for place, name in enumerate(EVENT_REASONS) if mask >> place & 1}
    return {reason: reason in active for reason in THROTTLE_REASONS}


def pci_address(text: str | None) -> tuple[int, int, int, int] | None:
    """Domain, bus, device and function; NVML writes the domain with eight digits, CUDA and the kernel with four."""
    found = _PCI.fullmatch((text or "").strip())
    if found is None:
        return None
    domain, bus, device, function = (int(part, 16) for part in found.groups())
    return domain, bus, device, function
