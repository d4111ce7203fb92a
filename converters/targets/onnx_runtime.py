"""ONNX Runtime: the engine is the network itself. INT8 is bound to a kind of processor."""

from __future__ import annotations

import platform

from converters.progress import Progress
from converters.targets.base import Built, Options
from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.engines.instruction_set import INSTRUCTION_SETS, architecture_of, instruction_set, runs_on
from edge_runtime.engines.passport import Target
from edge_runtime.errors import BackendUnavailable

ENGINE_FILE = "engine.onnx"

_OPERATOR_TYPE = 0x22  # the key of NodeProto.op_type in a serialized network, before length and text
_QUANTIZED = tuple(
    bytes([_OPERATOR_TYPE, len(name)]) + name.encode()
    for name in ("DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
)


def check(_options: Options) -> None:
    """See `check_target`."""
    open_on_cpu()


def build(network: bytes, options: Options, progress: Progress) -> Built:
    """See `build_target`."""
    backend, _ = open_on_cpu()
    package = f"onnxruntime {backend.version}"
    if not is_quantized(network):
        return Built(network, ENGINE_FILE, Target(backend.name, backend.version), (), (package,), runs_here=True)
    here = instruction_set()
    wanted = options.instruction_set or here
    if wanted not in INSTRUCTION_SETS:
        raise BackendUnavailable(
            f"the instruction set of this processor ({platform.machine()}) cannot be told, and INT8 depends on it; "
            f"name that of the site with --instruction-set {'|'.join(INSTRUCTION_SETS)}"
        )
    progress.say(f"an INT8 engine for processors with {wanted}; this one has {here}")
    target = Target(
        flavour=backend.name,
        flavour_version=backend.version,
        operating_system=platform.system(),
        architecture=architecture_of(wanted),
        instruction_set=wanted,
    )
    told = (f"instruction_set={wanted}",)
    return Built(network, ENGINE_FILE, target, told, (package,), runs_on(wanted, here))


def is_quantized(network: bytes) -> bool:
    """Whether a serialized ONNX network computes with 8-bit integers. Needs no `onnx`: fp32 does without it."""
    return any(operator in network for operator in _QUANTIZED)
