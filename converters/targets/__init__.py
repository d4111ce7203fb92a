"""The targets of a build, by name: ONNX Runtime, TensorRT-RTX ahead of time, TensorRT on the device it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from converters.progress import Progress
from converters.targets import onnx_runtime, tensorrt_plan
from converters.targets.base import Built, Options, check_options
from edge_runtime.errors import ConfigurationError

__all__ = ["TARGETS", "Built", "Options", "TargetKind", "build_target", "check_target", "flavour_of"]


@dataclass(frozen=True)
class TargetKind:
    """`flavour`: which of the two kinds of INT8 network it takes. `options`: the fields of `Options` that it knows."""

    flavour: Literal["cpu", "tensorrt"]
    options: tuple[str, ...]
    check: Callable[[Options], None]
    build: Callable[[bytes, Options, Progress], Built]


TARGETS: Mapping[str, TargetKind] = {
    "onnxruntime": TargetKind("cpu", ("instruction_set",), onnx_runtime.check, onnx_runtime.build),
    "tensorrt-rtx": TargetKind(
        "tensorrt",
        ("compute_capabilities", "workspace_bytes", "optimization_level"),
        partial(tensorrt_plan.check, "tensorrt_rtx"),
        partial(tensorrt_plan.build, "tensorrt_rtx"),
    ),
    "tensorrt": TargetKind(
        "tensorrt",
        ("workspace_bytes", "optimization_level", "timing_cache", "dla_core"),
        partial(tensorrt_plan.check, "tensorrt"),
        partial(tensorrt_plan.build, "tensorrt"),
    ),
}


def check_target(name: str, options: Options) -> None:
    """See, before any long work, that the target can be built with these options here.

    Raises:
        ConfigurationError: there is no such target, or it does not know an option or its value.
        BackendUnavailable: its package or device is missing, or too old.
    """
    kind = _kind(name)
    check_options(name, kind.options, options)
    kind.check(options)


def build_target(name: str, network: bytes, options: Options, progress: Progress) -> Built:
    """Build an engine of an ONNX network with fixed shapes, in the precision that the network has.

    Ctrl-C ends it as soon as the library lets go, with nothing written.

    Raises:
        ConfigurationError, BackendUnavailable: as `check_target`.
        EngineRejected: the library does not take the network; names operator, node, reason and what to do.
    """
    check_target(name, options)
    return _kind(name).build(network, options, progress)


def flavour_of(target: str) -> Literal["cpu", "tensorrt"]:
    """Which INT8 network a target takes: asymmetric activations (cpu) or symmetric ones (tensorrt)."""
    return _kind(target).flavour


def _kind(name: str) -> TargetKind:
    if name not in TARGETS:
        raise ConfigurationError(f"there is no target {name!r}; there are: {', '.join(TARGETS)}")
    return TARGETS[name]
