"""GPUs as the NVIDIA Management Library tells them (package nvidia-ml-py). It makes no CUDA context and no process."""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Callable
from typing import Any

from edge_runtime.telemetry.gpu.reading import GPUS, Gpu, Reading, known, throttled_by

log = logging.getLogger("edge_runtime.gpu")

_LIBRARY = "libnvidia-ml.so.1"


class NvmlUnusable(Exception):
    """There is a driver, and it does not tell how its GPUs are. The text says why."""


class _Lost(Exception):
    """The GPU does not answer any more."""


def open_nvml() -> Nvml | None:
    """The GPUs of the driver; None where there is no driver. Raises NvmlUnusable."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        raise NvmlUnusable("the package nvidia-ml-py is not installed") from None
    try:
        nvml.nvmlInitWithFlags(nvml.NVML_INIT_FLAG_NO_GPUS)
        return Nvml(nvml)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_DRIVER_NOT_LOADED, nvml.NVML_ERROR_LIBRARY_NOT_FOUND):
            return None
        raise NvmlUnusable(f"NVML does not start: {error}") from None


class Nvml:
    """All GPUs of the driver. What one of them does not support is absent from its readings alone."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._gone = {
            nvml.NVML_ERROR_GPU_IS_LOST: "it fell off the bus",
            nvml.NVML_ERROR_RESET_REQUIRED: "its driver asks for a reset",
            nvml.NVML_ERROR_GPU_NOT_FOUND: "the driver no longer finds it",
        }
        driver = self._ask(nvml.nvmlSystemGetDriverVersion)
        self._handles: list[Any] = []
        self._xids: list[int | None] = []
        self._events = self._ask(nvml.nvmlEventSetCreate)
        self.gpus = tuple(self._find(label, driver) for label in GPUS[: nvml.nvmlDeviceGetCount()])

    def read(self) -> list[Reading]:
        """Each of `gpus` now."""
        self._count_xids()
        return [self._read(place) for place in range(len(self.gpus))]

    def close(self) -> None:
        """Let go of the driver."""
        self._ask(self._nvml.nvmlShutdown)

    def _find(self, label: str, driver: str | None) -> Gpu:
        nvml = self._nvml
        self._handles.append(None)
        self._xids.append(None)
        try:
            handle = self._handles[-1] = self._ask(nvml.nvmlDeviceGetHandleByIndex, int(label))
            if handle is None:
                return Gpu(label, "unknown", driver)
            if self._events is not None and self._takes_events(handle):
                self._xids[-1] = 0
            place = self._ask(nvml.nvmlDeviceGetPciInfo, handle)
            bus = None if place is None else place.busId
            name = self._ask(nvml.nvmlDeviceGetName, handle) or "unknown"
        except _Lost:
            return Gpu(label, "unknown", driver)
        return Gpu(label, name, driver, bus.decode() if isinstance(bus, bytes) else bus)

    def _takes_events(self, handle: Any) -> bool:
        try:
            self._nvml.nvmlDeviceRegisterEvents(handle, self._nvml.nvmlEventTypeXidCriticalError, self._events)
        except self._nvml.NVMLError:
            return False
        return True

    def _count_xids(self) -> None:
        """Take the events that wait, without waiting for more."""
        if self._events is None:
            return
        for _ in range(100):
            try:
                event = self._nvml.nvmlEventSetWait(self._events, 0)
            except self._nvml.NVMLError:  # a time-out: there is none
                return
            for place, handle in enumerate(self._handles):
                if handle is not None and _address(handle) == _address(event.device):
                    self._xids[place] = (self._xids[place] or 0) + 1
                    values = {"gpu": self.gpus[place].label, "xid": event.eventData}
                    log.error("the driver reports an error of a GPU", extra={"event": values})

    def _read(self, place: int) -> Reading:
        nvml = self._nvml
        try:
            if self._handles[place] is None:
                self._handles[place] = self._ask(nvml.nvmlDeviceGetHandleByIndex, place)
            return Reading() if self._handles[place] is None else self._figures(self._handles[place], place)
        except _Lost as lost:
            return Reading(lost=str(lost), xid_errors=self._xids[place])

    def _figures(self, handle: Any, place: int) -> Reading:
        nvml, ask = self._nvml, self._ask
        busy = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        if memory is not None and not 0 <= memory.used <= memory.total:
            memory = None
        has_memory = memory is not None and memory.total > 0
        reasons = ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
        if reasons is None:  # drivers before 535
            reasons = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
        power = ask(nvml.nvmlDeviceGetPowerUsage, handle)
        limit = ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
        celsius = ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        kinds = {"graphics": nvml.NVML_CLOCK_GRAPHICS, "memory": nvml.NVML_CLOCK_MEM}
        errors = {
            "corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
            "uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        }
        return Reading(
            utilization_ratio=_ratio(None if busy is None else busy.gpu),
            memory_used_bytes=memory.used if has_memory else None,
            memory_total_bytes=memory.total if has_memory else None,
            power_watts=None if power is None else power / 1000,
            power_limit_watts=None if limit is None else limit / 1000,
            temperature_celsius=None if celsius is None else float(celsius),
            fan_ratio=_ratio(ask(nvml.nvmlDeviceGetFanSpeed, handle)),
            clocks_hertz=_hertz({name: ask(nvml.nvmlDeviceGetClockInfo, handle, k) for name, k in kinds.items()}),
            clock_limits_hertz=_hertz(
                {name: ask(nvml.nvmlDeviceGetMaxClockInfo, handle, kind) for name, kind in kinds.items()}
            ),
            throttled={} if reasons is None else throttled_by(reasons),
            ecc_errors=known({
                name: ask(nvml.nvmlDeviceGetTotalEccErrors, handle, kind, nvml.NVML_VOLATILE_ECC)
                for name, kind in errors.items()
            }),
            xid_errors=self._xids[place],
        )  # fmt: skip

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What NVML answers; None where it has no answer. Raises _Lost."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError as error:
            if error.value in self._gone:
                raise _Lost(self._gone[error.value]) from None
            return None


def _ratio(percent: int | None) -> float | None:
    return percent / 100 if percent is not None and 0 <= percent <= 100 else None


def _hertz(megahertz: dict[str, int | None]) -> dict[str, float]:
    return {name: value * 1e6 for name, value in known(megahertz).items()}


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
