"""The integrated GPU of a Jetson and the supply rails of its module, as files of /sys tell them.

Layouts: hwmon/sysfs-interface, hwmon/ina3221, hwmon/ina238, driver-api/thermal/sysfs-api and
ABI/testing/sysfs-class-devfreq of the kernel's documentation; "Platform Power and Performance" of the Jetson Linux
Developer Guide (r36, r38).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.telemetry.gpu.files import celsius_of, number_of, text_of
from edge_runtime.telemetry.gpu.reading import RAILS, Reading, known

_GRAPHICS = re.compile(r"gv11b|ga10b|gb10b|gpu(?!-nvd)", re.IGNORECASE)
_OF_TEGRA = re.compile(r"gv11b|ga10b|gb10b|gpu-gpc", re.IGNORECASE)
_MEMORY = re.compile(r"bwmgr|emc", re.IGNORECASE)
_PCI_FOLDER = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_SENSORS = ("ina3221", "ina238")
_GPU_ALONE = "VDD_GPU"
"""The only rail that feeds the GPU and nothing else."""


@dataclass(frozen=True)
class Rail:
    """A supply rail: `in` in mV, `curr` in mA; `power` in uW where the sensor multiplies itself."""

    name: str
    folder: Path
    channel: int

    def watts(self) -> float | None:
        """Power now. An unloaded rail may measure a little below 0: that is 0."""
        microwatts = number_of(self.folder / f"power{self.channel}_input")
        if microwatts is not None:
            return max(0, microwatts) / 1e6
        millivolts = number_of(self.folder / f"in{self.channel}_input")
        milliamperes = number_of(self.folder / f"curr{self.channel}_input")
        return None if millivolts is None or milliamperes is None else max(0, millivolts * milliamperes) / 1e6


class Board:
    """A module with an integrated GPU. Folders are looked up once; `read` opens about twenty small files."""

    def __init__(self, root: Path, graphics: Path) -> None:
        self._clocks = known({"graphics": graphics, "memory": _memory_clock(root)})
        loads = (graphics / "device/load", root / "sys/devices/platform/gpu.0/load")
        self._load = next((file for file in loads if file.exists()), loads[0])
        self._zone = next((f for f in _of_type(root, "thermal_zone*", r"gpu\b.*")), None)
        self._alerts = tuple(_of_type(root, "cooling_device*", r"(gpu|tj)-throttle-alert"))
        self._overcurrents = tuple(sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")))
        self._events: int | None = None
        self._rails = tuple(_rails(root))
        self.name = text_of(root / "sys/firmware/devicetree/base/model") or f"integrated, {graphics.name}"
        buses = _PCI_FOLDER.findall(str((graphics / "device").resolve()))
        self.pci_bus_id: str | None = buses[-1] if buses else None

    def read(self) -> tuple[Reading, dict[str, float]]:
        """The GPU, and watts by rail. Utilization is that of the moment, as the driver averages it."""
        rails = known({rail.name: rail.watts() for rail in self._rails})
        load = number_of(self._load)
        reading = Reading(
            utilization_ratio=load / 1000 if load is not None and 0 <= load <= 1000 else None,
            power_watts=rails.get(_GPU_ALONE),
            temperature_celsius=None if self._zone is None else celsius_of(self._zone / "temp"),
            clocks_hertz=self._hertz("cur_freq"),
            clock_limits_hertz=self._hertz("max_freq"),
            throttled=known({"thermal": self._too_warm(), "power": self._too_much_current()}),
        )
        return reading, rails

    def clocks_are_fixed(self) -> bool | None:
        """Whether the GPU may not change its clock, as `jetson_clocks` leaves it; None where that is not told."""
        least, most = (number_of(self._clocks["graphics"] / name) for name in ("min_freq", "max_freq"))
        return None if least is None or most is None else least == most

    def _hertz(self, name: str) -> dict[str, float]:
        found = {clock: number_of(folder / name) for clock, folder in self._clocks.items()}
        return {clock: float(hertz) for clock, hertz in found.items() if hertz is not None and hertz >= 0}

    def _too_warm(self) -> bool | None:
        states = [state for one in self._alerts if (state := number_of(one / "cur_state")) is not None]
        return any(state > 0 for state in states) if states else None

    def _too_much_current(self) -> bool | None:
        """Whether the hardware slowed down for its supply since the last call."""
        counts = [count for file in self._overcurrents if (count := number_of(file)) is not None]
        if not counts:
            return None
        before, self._events = self._events, sum(counts)
        return before is not None and self._events > before


def find_board(root: Path = Path("/")) -> Board | None:
    """The module that this runs on; None where it has no integrated NVIDIA GPU."""
    folders = [
        *sorted(root.glob("sys/class/devfreq/*")),
        *sorted(root.glob("sys/devices/platform/*gpu*/devfreq/*")),
        *sorted(root.glob("sys/devices/platform/bus@0/*gpu*/devfreq/*")),
    ]
    graphics = next((folder for folder in folders if _GRAPHICS.search(folder.name)), None)
    if graphics is None:
        return None
    compatible = text_of(root / "sys/firmware/devicetree/base/compatible") or ""  # containers hide it
    ours = "nvidia,tegra" in compatible or _OF_TEGRA.search(graphics.name) or (root / "sys/module/nvgpu").exists()
    return Board(root, graphics) if ours else None


def _memory_clock(root: Path) -> Path | None:
    return next((f for f in sorted(root.glob("sys/class/devfreq/*")) if _MEMORY.search(f.name)), None)


def _of_type(root: Path, pattern: str, kind: str) -> Iterator[Path]:
    for folder in sorted(root.glob(f"sys/class/thermal/{pattern}")):
        if re.fullmatch(kind, text_of(folder / "type") or "", re.IGNORECASE):
            yield folder


def _rails(root: Path) -> Iterator[Rail]:
    for sensor in _SENSORS:
        for file in sorted(root.glob(f"sys/bus/i2c/drivers/{sensor}/*/hwmon/hwmon*/in[1-3]_label")):
            if (name := text_of(file)) in RAILS:
                yield Rail(name, file.parent, int(file.name[2]))
