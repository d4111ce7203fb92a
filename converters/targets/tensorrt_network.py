"""An ONNX network in TensorRT's builder, strongly typed: precision is what the ONNX says, and nothing else.

`trt`, `builder`, `network`, `parser`, `problem` and `tensor` are the library's objects; the names that are asked of
them stand in `edge_runtime.backends.tensorrt_api`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converters.targets.listening import Said, make_logger
from edge_runtime.backends.tensorrt_api import Api
from edge_runtime.errors import BackendUnavailable, EngineRejected

_MERGE = "leave it out of the network: boxes are merged behind it (decode.layout in the card)"
_ADVICE = {"NonMaxSuppression": _MERGE, "NonZero": _MERGE, "EfficientNMS_TRT": _MERGE}
_REPLACE = "replace it by standard ONNX operators in the model, or run this engine by --target onnxruntime"
_MISREAD = "UINT8 zero_point"  # the parser warns of it and computes with int8


@dataclass(frozen=True, eq=False)
class Parsed:
    """The network and what it points into: all live until the plan is built."""

    builder: Any
    network: Any
    parser: Any
    logger: Any


def make_builder(api: Api, logger: Any, said: Said) -> Any:
    """The library's builder.

    Raises:
        BackendUnavailable: the library cannot work here: for TensorRT there is no device or driver.
    """
    trt = api.module
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError) as error:
        raise BackendUnavailable(
            f"{api.package} cannot build on this machine: {said.reason()}; an engine for tensorrt is built on the "
            "device that it is for, with its driver"
        ) from error


def parse(api: Api, onnx: bytes, said: Said) -> Parsed:
    """Read an ONNX network.

    Raises:
        EngineRejected: it is no network, it has an operator that the library has not, or its shapes vary.
        BackendUnavailable: as `make_builder`.
    """
    trt = api.module
    logger = make_logger(trt, said)
    builder = make_builder(api, logger, said)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx) or parser.num_errors:
        problem = parser.get_error(0) if parser.num_errors else None
        raise EngineRejected(f"{api.package} does not take this network: {_explained(problem, said)}")
    if not network.num_outputs:
        raise EngineRejected(f"{api.package} does not take this network: it has no output; export it again")
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if min(shape, default=1) < 1:
            raise EngineRejected(
                f"input {tensor.name!r} has the shape {shape}; engines have fixed shapes: export with the card's shape"
            )
    misread = next((warning for warning in said.warnings if _MISREAD in warning), None)
    if misread is not None:
        raise EngineRejected(
            f"this network has uint8 quantization, which {api.name} would compute as int8; "
            "build it with --precision int8 for this target, not from a file that was made for ONNX Runtime"
        )
    return Parsed(builder, network, parser, logger)


def _explained(problem: Any, said: Said) -> str:
    """The parser's first problem: operator, node, reason, and what to do."""
    if problem is None:
        return f"{said.reason()}; export it again"
    operator, node, reason = problem.node_operator(), problem.node_name(), _reason(problem.desc())
    if not operator:
        return f"{reason}; is the file whole? export it again"
    place = f"operator {operator} of node {node!r}" if node else f"operator {operator} (a node without a name)"
    return f"{place}: {reason}; {_ADVICE.get(operator, _REPLACE)}"


def _reason(description: str) -> str:
    """A parser's description without its C++: `condition && "text"` or `Assertion failed: condition: text`."""
    text = description.rpartition('&& "')[2].removesuffix('"').strip()
    _, failed, assertion = text.partition("Assertion failed: ")
    if failed:
        text = assertion.partition(": ")[2] or assertion
    return "it has no such operator" if text in ("", "false") else text
