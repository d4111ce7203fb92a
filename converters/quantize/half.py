"""FP16 as a GPU computes it, on a processor: every result rounded to FP16.

ONNX Runtime's CPU kernels compute FP16 networks in FP32 and leave out the casts between layers, so that only the
weights are rounded. An overflow would not show, nor most of the error.
"""

from __future__ import annotations

from typing import Any

from converters.network_view import NetworkView, load_onnx, read_model

_EXACT = (
    "Abs", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "Flatten", "Gather",
    "Identity", "MaxPool", "GlobalMaxPool", "Max", "Min", "Neg", "Pad", "Relu", "Reshape", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
"""Operators that give only numbers which they were given."""


def rounded(network: bytes, what: str = "the network") -> bytes:
    """The network in FP32 with the results of its FP16 layers rounded to FP16; one without FP16 as it is.

    Raises:
        EngineRejected: the bytes are no ONNX network.
        BackendUnavailable: onnx is missing.
    """
    onnx = load_onnx()
    half = onnx.TensorProto.FLOAT16
    if not _has_half(read_model(network, what).graph, half):
        return network
    view = NetworkView(network, what)
    is_half = {name for node in view.nodes for name in node.output if view.element_type(name) == "float16"}
    graph = view.model.graph
    for initializer in graph.initializer:
        _widen(onnx, initializer)
    nodes: list[Any] = []
    for node in view.nodes:
        for attribute in node.attribute:
            _widen(onnx, attribute.t)
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        nodes.append(copy)
        for index, name in enumerate(node.output):
            if name in is_half and (node.op_type not in _EXACT or _makes_half(node, half)):
                nodes += _rounding(onnx, copy, index)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return bytes(view.model.SerializeToString())


def _has_half(graph: Any, half: int) -> bool:
    """Whether something is FP16: what comes in is FP32, so that a constant or a cast makes it."""
    constants = any(initializer.data_type == half for initializer in graph.initializer)
    made = (_makes_half(node, half) or any(a.t.data_type == half for a in node.attribute) for node in graph.node)
    return constants or any(made)


def _rounding(onnx: Any, node: Any, index: int) -> list[Any]:
    """Casts from what the node gives to FP16 and back, under the name that its readers know."""
    name = node.output[index]
    there, rounded_name = f"{name}/exact", f"{name}/fp16"
    casts = [onnx.helper.make_node("Cast", [rounded_name], [name], f"{name}/widened", to=onnx.TensorProto.FLOAT)]
    if _makes_half(node, onnx.TensorProto.FLOAT16):
        node.output[index] = rounded_name
        return casts
    node.output[index] = there
    to_half = onnx.helper.make_node("Cast", [there], [rounded_name], f"{name}/rounded", to=onnx.TensorProto.FLOAT16)
    return [to_half, *casts]


def _makes_half(node: Any, half: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == half for a in node.attribute)


def _widen(onnx: Any, tensor: Any) -> None:
    """A tensor of FP16 as the same numbers in FP32, in place."""
    if tensor.data_type == onnx.TensorProto.FLOAT16:
        array = onnx.numpy_helper.to_array(tensor).astype("float32")
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
