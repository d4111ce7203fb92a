"""What TensorRT's parser takes without an error and then computes differently from ONNX, refused before it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.network_view import NetworkView
from edge_runtime.domain import Array
from edge_runtime.errors import EngineRejected

_REBUILD = "build it with --target tensorrt-rtx or tensorrt"
_STATIC = "export the network with fixed shapes"
_INTEGER = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
_RANDOM = (
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
)  # fmt: skip
_SHAPE_FROM_VALUES = ("NonMaxSuppression", "NonZero", "Unique", "Compress", "If", "Loop", "Scan")
_AXES = ("QuantizeLinear", "DequantizeLinear")


def lint_tensorrt(network: bytes, what: str) -> None:
    """Refuse an ONNX network that TensorRT would refuse, or would compute differently.

    Raises:
        EngineRejected: names the first node, or input, that is wrong, why, and what to do.
    """
    view = NetworkView(network, what)
    _check_shapes(view, what)
    for node in view.nodes:
        for reason, remedy in _wrong(view, node):
            raise EngineRejected(f"{what}: node {node.name or node.output[0]} ({node.op_type}) {reason}; {remedy}")


def _check_shapes(view: NetworkView, what: str) -> None:
    for name in (*view.inputs, *view.outputs):
        shape = view.shape(name)
        if shape is None or None in shape:
            found = "unknown" if shape is None else "x".join("?" if n is None else str(n) for n in shape)
            raise EngineRejected(f"{what}: the shape of {name} is not fixed ({found}); {_STATIC}")


def _wrong(view: NetworkView, node: Any) -> Iterator[tuple[str, str]]:
    """Reason and remedy of everything that is wrong with a node."""
    if node.domain not in ("", "ai.onnx"):
        yield f"is an operator of {node.domain}, which TensorRT does not have", "use a network of standard operators"
    if node.op_type.startswith("QLinear") or node.op_type in _INTEGER:
        yield "is INT8 in the form of ONNX Runtime, which TensorRT does not have", _REBUILD
    if node.op_type in _RANDOM:
        yield "gives other numbers at every run", "export the network for inference"
    if node.op_type in _SHAPE_FROM_VALUES:
        yield "gives a shape that depends on values", "leave it out of the network: the daemon decodes boxes itself"
    if any(view.element_type(name) == "double" for name in (*node.input, *node.output) if name):
        yield "computes in float64, which TensorRT makes float32", "convert the checkpoint to float32"
    if node.op_type in _AXES:
        yield from _wrong_quantization(view, node)


def _wrong_quantization(view: NetworkView, node: Any) -> Iterator[tuple[str, str]]:
    kind = _integer_type(view, node)
    if kind == "int32":
        yield "has a bias in INT32, which TensorRT refuses: it wants a float bias", _REBUILD
    elif kind != "int8":
        yield f"is in {kind or 'an unknown type'}, which TensorRT computes as if it were int8", _REBUILD
    scale = _constant(view, node, 1)
    if scale is None:
        yield "has a scale that is not constant", "quantize the network with constant scales"
    elif not (np.isfinite(scale).all() and (scale > 0).all()):
        yield "has a scale that is not a positive number", "calibrate again: a tensor had no finite range"
    if _given(node, 2):
        zero_point = _constant(view, node, 2)
        if zero_point is None:
            yield "has a zero point that is not constant", _REBUILD
        elif zero_point.any():
            yield "has a zero point other than 0: TensorRT knows symmetric INT8 only", _REBUILD


def _integer_type(view: NetworkView, node: Any) -> str | None:
    """The type of the quantized side; what is left out is uint8 by the ONNX standard."""
    if _given(node, 2):
        return view.element_type(node.input[2])
    if node.op_type == "DequantizeLinear":
        return view.element_type(node.input[0])
    return view.element_type(node.output[0]) or "uint8"


def _given(node: Any, index: int) -> bool:
    return len(node.input) > index and bool(node.input[index])


def _constant(view: NetworkView, node: Any, index: int) -> Array | None:
    from onnx import numpy_helper

    tensor = view.constants.get(node.input[index])
    if tensor is None:
        return None
    values: Array = numpy_helper.to_array(tensor)
    return values
