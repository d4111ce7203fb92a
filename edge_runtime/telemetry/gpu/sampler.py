"""Reads the GPUs every two seconds in a thread of its own: a driver that hangs holds up nobody else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_runtime.telemetry.gpu.reading import Gpu, Reading, pci_address
from edge_runtime.telemetry.gpu.sources import Sample, Sources, find_gpus
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.gpu")

INTERVAL_SECONDS = 2.0
STALE_INTERVALS = 3
LOOK_AGAIN_SECONDS = 60.0


@dataclass(frozen=True)
class _State:
    """What the thread last left. `gpus` and `trouble` empty: this computer has no NVIDIA GPU."""

    told_at: float  # when a GPU told anything, or since when one should
    gpus: tuple[Gpu, ...] = ()
    trouble: str = ""
    sample: Sample = field(default_factory=Sample)
    looked: bool = True


class GpuSampler:
    """`start()`, then `report` and `lost` from any thread: neither waits for the driver."""

    def __init__(
        self,
        find: Callable[[], Sources] = find_gpus,
        interval_seconds: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._interval_seconds, self._clock = find, interval_seconds, clock
        self._state = _State(clock(), looked=False)
        self._sources: Sources | None = None
        self._look_at = clock()
        self._ended = threading.Event()
        self._was_up = True

    def start(self) -> None:
        """Begin to read."""
        self._state = _State(self._clock(), looked=False)
        threading.Thread(target=self._run, name="gpu-telemetry", daemon=True).start()

    def close(self) -> None:
        """Read no more. The thread is not waited for: it may hang in the driver."""
        self._ended.set()

    def report(self, metrics: Metrics) -> None:
        """Set the gauges of what is known now; what is absent or older than three intervals is not set."""
        state = self._state
        overdue = self._clock() - state.told_at > STALE_INTERVALS * self._interval_seconds
        up = not overdue and not (state.trouble and not state.gpus)
        if up != self._was_up:
            self._was_up = up
            log.log(logging.INFO if up else logging.WARNING, "GPU telemetry is %s", "back" if up else "down")
        if state.gpus or state.trouble or (overdue and not state.looked):
            metrics.set("edge_gpu_telemetry_up", float(up))
        for gpu in state.gpus:
            reading = state.sample.readings.get(gpu.label, Reading())
            if reading.xid_errors is not None:
                metrics.count("edge_gpu_xid_errors_total", reading.xid_errors, gpu=gpu.label)
            if up:
                report_gpu(metrics, gpu, reading)
        for rail, watts in state.sample.rails.items() if up else ():
            metrics.set("edge_power_rail_watts", watts, rail=rail)

    def lost(self, pci_bus_id: str | None = None) -> str | None:
        """Why a GPU no longer answers, for `/readyz`; None while all do.

        Args:
            pci_bus_id: Of the GPU that matters (`Facts.pci_bus_id`); None, or one that is not known here: any GPU.
        """
        state, address = self._state, pci_address(pci_bus_id)
        chosen = [gpu for gpu in state.gpus if address is not None and pci_address(gpu.pci_bus_id) == address]
        for gpu in chosen or state.gpus:
            why = state.sample.readings.get(gpu.label, Reading()).lost
            if why:
                return f"{gpu}: {why}; see the kernel's log (journalctl -k) for Xid, restart the computer"
        return None

    def turn(self) -> None:
        """Look for GPUs where none is known, and read those that are."""
        now = self._clock()
        if self._sources is None and now >= self._look_at:
            self._look_at = now + LOOK_AGAIN_SECONDS
            self._look()
        if self._sources is None:
            return
        before, sample = self._state, self._sources.read()
        self._tell_changes(before, sample)
        told_at = self._clock() if sample.tells else before.told_at
        self._state = _State(told_at, self._sources.gpus, self._sources.trouble, sample)

    def _look(self) -> None:
        found = self._find()
        if found.trouble and found.trouble != self._state.trouble:
            log.warning("the driver tells nothing of its GPUs", extra={"event": {"cause": found.trouble}})
        if found.gpus:
            self._sources = found
            names = {f"gpu{gpu.label}": f"{gpu.name}, driver {gpu.driver or 'unknown'}" for gpu in found.gpus}
            log.info("GPUs found", extra={"event": names})
        else:
            found.close()
        self._state = _State(self._clock(), found.gpus, found.trouble)

    def _tell_changes(self, before: _State, sample: Sample) -> None:
        for gpu in before.gpus:
            was = before.sample.readings.get(gpu.label, Reading()).lost
            now = sample.readings.get(gpu.label, Reading()).lost
            if now and not was:
                log.error("a GPU is lost", extra={"event": {"gpu": str(gpu), "cause": now}})
            elif was and not now:
                log.info("a GPU answers again", extra={"event": {"gpu": str(gpu)}})

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.turn()
            except Exception:
                log.exception("GPU telemetry failed; it is tried again")
                self._ended.wait(LOOK_AGAIN_SECONDS)
            self._ended.wait(self._interval_seconds)


def report_gpu(metrics: Metrics, gpu: Gpu, reading: Reading) -> None:
    """Set the gauges of one GPU, of what it tells."""
    label = gpu.label
    if gpu.driver is not None:
        metrics.set("edge_gpu_lost", float(reading.lost is not None), gpu=label)
    if reading.utilization_ratio is not None:
        metrics.set("edge_gpu_utilization_ratio", reading.utilization_ratio, gpu=label)
    if reading.memory_used_bytes is not None and reading.memory_total_bytes is not None:
        metrics.set("edge_gpu_memory_used_bytes", reading.memory_used_bytes, gpu=label)
        metrics.set("edge_gpu_memory_total_bytes", reading.memory_total_bytes, gpu=label)
    if reading.power_watts is not None:
        metrics.set("edge_gpu_power_watts", reading.power_watts, gpu=label)
    if reading.power_limit_watts is not None:
        metrics.set("edge_gpu_power_limit_watts", reading.power_limit_watts, gpu=label)
    if reading.temperature_celsius is not None:
        metrics.set("edge_gpu_temperature_celsius", reading.temperature_celsius, gpu=label)
    if reading.fan_ratio is not None:
        metrics.set("edge_gpu_fan_ratio", reading.fan_ratio, gpu=label)
    _report_many(metrics, label, reading)


def _report_many(metrics: Metrics, label: str, reading: Reading) -> None:
    for clock, hertz in reading.clocks_hertz.items():
        metrics.set("edge_gpu_clock_hertz", hertz, gpu=label, clock=clock)
    for clock, hertz in reading.clock_limits_hertz.items():
        metrics.set("edge_gpu_clock_limit_hertz", hertz, gpu=label, clock=clock)
    for reason, active in reading.throttled.items():
        metrics.set("edge_gpu_throttled", float(active), gpu=label, reason=reason)
    for kind, errors in reading.ecc_errors.items():
        metrics.set("edge_gpu_ecc_errors", errors, gpu=label, kind=kind)
