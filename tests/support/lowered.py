"""A tiny convolutional network, and the same with chosen layers in lower precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support.models import network

LAYERS = ("conv1", "conv2", "conv3", "fc")
SHAPE = (1, 1, 8, 8)


def convolutional() -> bytes:
    """image (1, 1, 8, 8) -> three convolutions with Relu -> probability (1, 1)."""
    rng = np.random.default_rng(3)
    constants = {f"w{i}": rng.normal(0, 0.4, (4, 1 if i == 1 else 4, 3, 3)).astype(np.float32) for i in (1, 2, 3)} | {
        "w4": np.array([[0.3], [-0.2], [0.4], [0.1]], dtype=np.float32)
    }
    nodes, before = [], "image"
    for i in (1, 2, 3):
        nodes += [
            helper.make_node("Conv", [before, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"),
        ]
        before = f"r{i}"
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w4"], ["logit"], "fc"),
        helper.make_node("Sigmoid", ["logit"], ["probability"], "sigmoid"),
    ]
    return network(nodes, {"image": SHAPE}, {"probability": (1, 1)}, constants)


def images(count: int) -> list[np.ndarray]:
    """Inputs of the network."""
    rng = np.random.default_rng(7)
    return [rng.normal(0, 1, SHAPE).astype(np.float32) for _ in range(count)]


def quantized(source: bytes, scales: Mapping[str, float], kept: frozenset[str] = frozenset()) -> bytes:
    """The network with the outputs of these layers in steps of `scales`, int8; `kept` stay as they are.

    As quantizers do, a layer's readers see another tensor, NAME_DequantizeLinear_Output.
    """
    model = onnx.load_from_string(source)
    graph = model.graph
    zero = numpy_helper.from_array(np.int8(0), "zero")
    graph.initializer.append(zero)
    for node in list(graph.node):
        if node.name not in scales or node.name in kept:
            continue
        name = node.output[0]
        graph.initializer.append(numpy_helper.from_array(np.float32(scales[node.name]), f"{name}_scale"))
        for reader in graph.node:
            reader.input[:] = [f"{name}_DequantizeLinear_Output" if i == name else i for i in reader.input]
        position = list(graph.node).index(node) + 1
        inner = f"{name}_QuantizeLinear_Output"
        pair = [
            helper.make_node("QuantizeLinear", [name, f"{name}_scale", "zero"], [inner], f"{name}_Q"),
            helper.make_node(
                "DequantizeLinear", [inner, f"{name}_scale", "zero"], [f"{name}_DequantizeLinear_Output"], f"{name}_DQ"
            ),
        ]
        for added in reversed(pair):
            graph.node.insert(position, added)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def half(source: bytes) -> bytes:
    """The network in FP16 with float32 input and output; the casts stand at the end, as a converter leaves them."""
    model = onnx.load_from_string(source)
    graph = model.graph
    for initializer in graph.initializer:
        array = numpy_helper.to_array(initializer).astype(np.float16)
        initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    for node in graph.node:
        node.input[:] = ["image_half" if i == "image" else i for i in node.input]
        node.output[:] = ["probability_half" if o == "probability" else o for o in node.output]
    graph.node.append(helper.make_node("Cast", ["image"], ["image_half"], to=TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", ["probability_half"], ["probability"], to=TensorProto.FLOAT))
    return bytes(model.SerializeToString())
