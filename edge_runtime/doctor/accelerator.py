"""The accelerator: which one engines run on and why, whether it is there, and whether they are for it.

A GPU is looked at in a process of its own: a driver that hangs or a library that dies must not take the check along.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from edge_runtime import config
from edge_runtime.backends.registry import CPU, choose, load_backend, load_device
from edge_runtime.device.base import Device, Facts
from edge_runtime.device.hang import on_hang
from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.engines.required import verify_variants
from edge_runtime.engines.target import check_target
from edge_runtime.errors import BackendUnavailable, DeviceError, EdgeRuntimeError, EngineError, OutOfDeviceMemory
from edge_runtime.kernels.compile import image
from edge_runtime.telemetry.gpu.sources import find_gpus
from edge_runtime.telemetry.logs import describe, start_logging

log = logging.getLogger("edge_runtime.doctor")

LOOK_SECONDS = 60.0
_LITTLE_BYTES = 500_000_000


@dataclass(frozen=True)
class Accelerator:
    """What engines run on. Of the processor only the first three are known; None: not told.

    `kernels`: why stages are prepared on the host, empty where they need not be. `telemetry`: why there is none.
    `problem`: why engines cannot run; `busy`: it is for want of memory, and may pass.
    """

    backend: str
    device: str
    because: tuple[str, ...]
    version: str | None = None
    compute_capability: str | None = None
    driver: str | None = None
    integrated: bool | None = None
    memory_bytes: int | None = None
    free_bytes: int | None = None
    kernels: str | None = None
    telemetry: str | None = None
    problem: str = ""
    busy: bool = False

    def __str__(self) -> str:
        if self.compute_capability is None:
            return f"engines run on {self.device} with {self.backend}: {'; '.join(self.because)}"
        kind = "integrated" if self.integrated else "a card"
        memory = f"{_size(self.free_bytes)} of {_size(self.memory_bytes)} free"
        return (
            f"engines run on {self.device} (SM {self.compute_capability}, {kind}, {memory}, driver for CUDA "
            f"{self.driver}) with {self.backend} {self.version}: {'; '.join(self.because)}"
        )


def _size(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e9:.1f} GB"


def look(configuration: config.Config, seconds: float = LOOK_SECONDS) -> Accelerator:
    """What the engines of a configuration run on here. Loads none of them."""
    try:
        choice = choose(configuration.engines)
    except BackendUnavailable as error:
        return Accelerator(configuration.engines.backend, "none", (), problem=str(error))
    found = Accelerator(choice.flavour, choice.device, choice.reasons)
    if choice.device == CPU:
        return found
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_look_here, args=(theirs, configuration, found), daemon=True)
    process.start()
    theirs.close()
    silent = f"the device does not answer within {seconds:.0f} s; restart the computer, and see dmesg"
    try:
        answer: Accelerator = ours.recv() if ours.poll(seconds) else replace(found, problem=silent)
    except EOFError:
        process.join(10.0)
        problem = f"the process that opened the device ended with {process.exitcode}; see dmesg"
        answer = replace(found, problem=problem)
    process.kill()
    process.join()
    ours.close()
    return answer


def require_usable(found: Accelerator) -> None:
    """Raise EngineError where engines cannot run; not for want of memory, which a daemon that runs may hold."""
    if found.problem and not found.busy:
        raise EngineError(found.problem)


def _look_here(answer: Connection, configuration: config.Config, found: Accelerator) -> None:
    start_logging("doctor", "CRITICAL")
    on_hang.handler = lambda what: answer.send(replace(found, problem=f"the device hangs: {what}"))
    try:
        device = load_device(configuration.engines)
        found = _facts_of(device, found)
        found = _fitting(configuration, device, found)
        device.close()
    except OutOfDeviceMemory as error:
        found = replace(found, problem=str(error), busy=True)
    except EdgeRuntimeError as error:
        found = replace(found, problem=str(error))
    except Exception as error:  # whatever a library raises is what is to be found
        log.exception("accelerator not examined")
        found = replace(found, problem=describe(error))
    answer.send(found)


def _facts_of(device: Device, found: Accelerator) -> Accelerator:
    facts = device.facts
    return replace(
        found,
        device=facts.name,
        compute_capability=_dotted(facts.compute_capability),
        driver=_dotted(facts.driver_version),
        integrated=facts.integrated,
        memory_bytes=facts.memory_bytes,
        free_bytes=device.free_bytes(),
        kernels=_kernels(facts),
        telemetry=_telemetry(),
    )


def _dotted(pair: tuple[int, int] | None) -> str | None:
    return None if pair is None else f"{pair[0]}.{pair[1]}"


def _kernels(facts: Facts) -> str:
    try:
        if facts.compute_capability is not None:
            image(facts.compute_capability, None)
    except (BackendUnavailable, DeviceError) as error:
        return str(error)
    return ""


def _telemetry() -> str:
    sources = find_gpus()
    try:
        if sources.read().tells:
            return ""
        return sources.trouble or "neither NVML (package nvidia-ml-py) nor /sys tells of a GPU"
    finally:
        sources.close()


def _fitting(configuration: config.Config, device: Device, found: Accelerator) -> Accelerator:
    """Whether every engine was built for this device and library; none is given to the library."""
    backend = load_backend(configuration.engines, device)
    for pipeline in configuration.pipelines:
        for engines in verify_variants(pipeline, configuration.engines).values():
            for engine in engines:
                check_target(engine, backend.name, backend.version, device.facts)
    return replace(found, version=backend.version)


def examine_gpu(site: Site) -> Iterator[Check]:
    """The accelerator of the doctor."""
    yield from accelerator_checks(look(site.config))


def accelerator_checks(found: Accelerator) -> Iterator[Check]:
    """A line each: what engines run on, its memory, its kernels, its telemetry."""
    what = "accelerator"
    if found.busy:
        yield warn(what, found.problem, "a daemon that runs may hold it; else end what does: nvidia-smi, tegrastats")
    elif found.problem:
        yield fail(what, found.problem, "see 'The accelerator' in docs/operation.md")
    else:
        yield ok(what, str(found))
    if found.free_bytes is not None and found.free_bytes < _LITTLE_BYTES:
        yield warn("device memory", f"{_size(found.free_bytes)} of {_size(found.memory_bytes)} free",
                   "where no daemon of ours runs another program holds it: nvidia-smi, tegrastats")  # fmt: skip
    if found.kernels:
        yield warn("device kernels", f"images are prepared on the host: {found.kernels}", "see docs/gpu.md")
    if found.telemetry:
        yield warn("device telemetry", found.telemetry, "pip install nvidia-ml-py")
