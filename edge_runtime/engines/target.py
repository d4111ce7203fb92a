"""Whether a verified engine runs on this device with this library: asked before any byte of it reaches the library."""

from __future__ import annotations

import dataclasses
import re

from edge_runtime.device.base import Facts
from edge_runtime.engines.passport import Target
from edge_runtime.engines.verify import VerifiedEngine, rebuild_command
from edge_runtime.errors import EngineRejected

_TENSORRT, _RTX = "tensorrt", "tensorrt_rtx"
_VERSION_NUMBERS = {_TENSORRT: 3, _RTX: 2}
"""How many numbers of the version must be those of the library that built the plan.

TensorRT: a plan runs on the release that built it. TensorRT-RTX: on the minor release; the library checks the rest.
"""
_HOST_CODE = "version_compatible"
_ANY_SINCE_AMPERE, _SAME_CAPABILITY = "ampere_plus", "same_compute_capability"
_AMPERE = (8, 0)


def check_target(engine: VerifiedEngine, flavour: str, version: str, facts: Facts) -> None:
    """Check the passport's target against the backend and the device.

    `flavour` and `version` are the backend's; operating system, architecture and instruction set are checked in
    `verify`. A fact of the device that is not known is not compared.

    Raises:
        EngineRejected: with what was expected, what was found, and the command that rebuilds.
    """
    target = engine.passport.target
    if target.flavour != flavour:
        raise _rejected(engine, target, f"it was built for {target.flavour}, the backend is {flavour}")
    if flavour not in _VERSION_NUMBERS:
        return
    if facts.kind != "gpu":
        raise _rejected(engine, target, f"it runs on a GPU, this device is {facts.name}")
    for problem in (_version(target, version), _driver(target, facts), _capability(target, facts),
                    _model(target, facts)):  # fmt: skip
        if problem is not None:
            raise _rejected(engine, _for(target, facts), problem)


def _version(target: Target, version: str) -> str | None:
    if _HOST_CODE in target.compatibility:
        return "it was built version_compatible: such a plan brings code for the host, which is never let run here"
    expected, found = _numbers(target.flavour_version, target.flavour), _numbers(version, target.flavour)
    if expected == found:
        return None
    return f"it was built by {target.flavour} {target.flavour_version}, this machine has {version}"


def _driver(target: Target, facts: Facts) -> str | None:
    """A driver runs programs of its own CUDA release and of older ones, and of newer minor releases."""
    if facts.driver_version is None:
        return None
    has = f"this driver runs CUDA {facts.driver_version[0]}.{facts.driver_version[1]}"
    if target.minimum_driver is not None and facts.driver_version < _pair(target.minimum_driver):
        return f"it needs a driver for CUDA {target.minimum_driver} or newer, {has}"
    if target.cuda_runtime is not None and facts.driver_version[0] < _pair(target.cuda_runtime)[0]:
        return f"it was built with CUDA {target.cuda_runtime}, {has}"
    return None


def _capability(target: Target, facts: Facts) -> str | None:
    if facts.compute_capability is None or not target.compute_capabilities:
        return None
    found = "{}.{}".format(*facts.compute_capability)
    if found in target.compute_capabilities:
        return None
    if _ANY_SINCE_AMPERE in target.compatibility and facts.compute_capability >= _AMPERE:
        return None
    built_for = ", ".join(target.compute_capabilities)
    return f"it was built for compute capability {built_for}, this device ({facts.name}) has {found}"


def _model(target: Target, facts: Facts) -> str | None:
    """TensorRT chose its kernels by measuring them on one model; on another they may be slow, or fail."""
    if target.integrated is not None and facts.integrated is not None and target.integrated != facts.integrated:
        return f"it was built for {_kind(target.integrated)}, this device ({facts.name}) is {_kind(facts.integrated)}"
    portable = target.flavour == _RTX or {_ANY_SINCE_AMPERE, _SAME_CAPABILITY} & set(target.compatibility)
    if target.device_name is None or portable or target.device_name == facts.name:
        return None
    return f"it was built on {target.device_name}, this device is {facts.name}"


def _kind(integrated: bool) -> str:
    return "an integrated GPU" if integrated else "a card"


def _for(target: Target, facts: Facts) -> Target:
    """The target with the compute capability of this device, so that the command builds for it."""
    if facts.compute_capability is None or target.flavour != _RTX:
        return target
    return dataclasses.replace(target, compute_capabilities=("{}.{}".format(*facts.compute_capability),))


def _rejected(engine: VerifiedEngine, target: Target, what: str) -> EngineRejected:
    built_for, _, precision = engine.folder.name.rpartition("-")
    command = rebuild_command(engine.folder.parent, built_for, precision, target)
    return EngineRejected(f"engine {engine.card.name}: {what}; run: {command}")


def _numbers(version: str, flavour: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version))[: _VERSION_NUMBERS[flavour]]


def _pair(version: str) -> tuple[int, int]:
    major, minor, *_ = (*(int(n) for n in re.findall(r"\d+", version)), 0, 0)
    return major, minor
