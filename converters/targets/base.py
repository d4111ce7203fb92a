"""What is asked of a target, and what it gives back."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.engines.instruction_set import INSTRUCTION_SETS
from edge_runtime.engines.passport import Target
from edge_runtime.errors import ConfigurationError

_COMPUTE_CAPABILITY = re.compile(r"[1-9][0-9]?\.[0-9]")
_LEVELS = range(6)
_LARGEST_BYTES = 1 << 63

FLAGS = {
    "compute_capabilities": "--sm",
    "workspace_bytes": "--workspace-bytes",
    "optimization_level": "--optimization-level",
    "timing_cache": "--timing-cache",
    "dla_core": "--dla-core",
    "instruction_set": "--instruction-set",
}
"""The option of `edge-convert build` that each field stands for."""


@dataclass(frozen=True)
class Options:
    """What a build is told beyond target and precision; absent values leave the choice to the library.

    compute_capabilities: of the cards that a TensorRT-RTX engine is for, such as "8.6".
    workspace_bytes: the most memory that a layer may use for itself while it runs.
    optimization_level: 0 to 5; higher tries more and takes longer.
    timing_cache: a file that keeps measured kernels between builds on one device.
    dla_core: the deep-learning accelerator to use; what it cannot do stays on the GPU.
    instruction_set: of the processor that an INT8 engine for ONNX Runtime is for; absent: this machine's.
    """

    compute_capabilities: tuple[str, ...] = ()
    workspace_bytes: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    dla_core: int | None = None
    instruction_set: str | None = None


@dataclass(frozen=True, eq=False)
class Built:
    """An engine and what its passport says of it. `runs_here`: the daemon could run it on this machine."""

    engine: bytes
    file: str
    target: Target
    options: tuple[str, ...]
    packages: tuple[str, ...]
    runs_here: bool


def check_options(target: str, known: tuple[str, ...], options: Options) -> None:
    """See that the target knows each option that was given, and that its value can be one.

    Raises:
        ConfigurationError: names the option.
    """
    for field in dataclasses.fields(options):
        given = getattr(options, field.name) != field.default
        if given and field.name not in known:
            takes = ", ".join(FLAGS[name] for name in known)
            raise ConfigurationError(f"{FLAGS[field.name]} means nothing to --target {target}, which takes: {takes}")
    for what in options.compute_capabilities:
        if _COMPUTE_CAPABILITY.fullmatch(what) is None:
            raise ConfigurationError(f"--sm takes compute capabilities such as 8.6,8.9,12.0; got {what!r}")
    if options.workspace_bytes is not None and not 0 < options.workspace_bytes < _LARGEST_BYTES:
        raise ConfigurationError(
            f"--workspace-bytes must be positive, got {options.workspace_bytes}"
            if options.workspace_bytes <= 0
            else f"--workspace-bytes is more than any memory holds, got {options.workspace_bytes}"
        )
    if options.optimization_level is not None and options.optimization_level not in _LEVELS:
        raise ConfigurationError(f"--optimization-level is 0 to {_LEVELS[-1]}, got {options.optimization_level}")
    if options.dla_core is not None and options.dla_core < 0:
        raise ConfigurationError(f"--dla-core counts from 0, got {options.dla_core}")
    if options.instruction_set is not None and options.instruction_set not in INSTRUCTION_SETS:
        known_sets = ", ".join(INSTRUCTION_SETS)
        raise ConfigurationError(f"--instruction-set is one of {known_sets}; got {options.instruction_set!r}")
