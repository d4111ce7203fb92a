"""Rewrites of ONNX graphs for ONNX Runtime's CPU kernels. Parity with the checkpoint is measured after them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_runtime.domain import Array

_FIRST_OPSET = 13  # Split and Softmax as they are used here
_AXES_ARE_INPUT = 18  # from this operator set on, the reductions take their axes as an input
_LONG_MEAN = 32_768  # float32 sums of more elements lose digits that show in the output


def opset_of(model: Any) -> int:
    """The version of the default operator set."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def rewrite_for_cpu(model: Any) -> tuple[str, ...]:
    """Apply every rewrite in place; returns what was done, in words."""
    if opset_of(model) < _FIRST_OPSET:
        return ()
    graph = _Graph(model)
    softmax = sum(graph.replace(node, _two_class_softmax) for node in graph.nodes("Softmax"))
    norms = sum(graph.replace(node, _instance_normalization) for node in graph.nodes("InstanceNormalization"))
    graph.drop_unused_constants()
    done = {"two-class softmax as sigmoid": softmax, "instance normalization with means taken axis by axis": norms}
    return tuple(f"{count} x {what}" for what, count in done.items() if count)


def used_names(graph: Any) -> set[str]:
    """Every tensor that a graph's nodes or outputs use, in branches and loop bodies too."""
    used = {output.name for output in graph.output}
    for node in graph.node:
        used.update(node.input)
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                used |= used_names(inner)
    return used


class _Graph:
    """A graph under change: shapes, constants, and new nodes with names that clash with none."""

    def __init__(self, model: Any) -> None:
        self.graph = model.graph
        self.opset = opset_of(model)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        self.shapes = {v.name: tuple(int(d.dim_value) for d in v.type.tensor_type.shape.dim) for v in values}
        self.constants: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in self.graph.initializer}
        for node in self.nodes("Constant"):
            tensor = next((a.t for a in node.attribute if a.name == "value"), None)
            if tensor is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(tensor)

    def nodes(self, kind: str) -> list[Any]:
        return [node for node in self.graph.node if node.op_type == kind]

    def replace(self, node: Any, rewrite: Any) -> bool:
        """Put what `rewrite` gives in the node's place; False where it gives nothing."""
        added = _Added(self, node.output[0])
        if not rewrite(self, node, added):
            return False
        position = next(i for i, other in enumerate(self.graph.node) if other is node or other == node)
        del self.graph.node[position]
        for new in reversed(added.nodes):
            self.graph.node.insert(position, new)
        return True

    def drop_unused_constants(self) -> None:
        used = used_names(self.graph)
        for collection, name_of in ((self.graph.initializer, lambda i: i.name), (self.graph.node, _constant_output)):
            for position in reversed(range(len(collection))):
                if name_of(collection[position]) not in used | {None}:
                    del collection[position]


class _Added:
    """The nodes that take one node's place; their outputs are named after its output."""

    def __init__(self, graph: _Graph, target: str) -> None:
        self.graph, self.target = graph, target
        self.nodes: list[Any] = []

    def constant(self, value: Array) -> str:
        name = f"{self.target}/constant-{len(self.graph.graph.initializer)}"
        self.graph.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        name = output or f"{self.target}/{kind}-{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def reduce(self, kind: str, value: str, axis: int) -> str:
        if self.graph.opset >= _AXES_ARE_INPUT:
            return self.node(kind, [value, self.constant(np.array([axis], dtype=np.int64))], keepdims=1)
        return self.node(kind, [value], axes=[axis], keepdims=1)


def _two_class_softmax(graph: _Graph, node: Any, added: _Added) -> bool:
    """Softmax over two channels as Sigmoid of their difference: exp(a) / (exp(a) + exp(b)) = sigmoid(a - b).

    ONNX Runtime's kernel for a Softmax that is not over the last axis transposes twice; on a 256^3 output that is half
    of a U-Net's run.
    """
    shape = graph.shapes.get(node.input[0], ())
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1) % max(1, len(shape))
    if len(shape) < 3 or axis == len(shape) - 1 or shape[axis] != 2:
        return False
    both = [f"{added.target}/class-0", f"{added.target}/class-1"]
    split = added.constant(np.array([1, 1], dtype=np.int64))
    added.nodes.append(helper.make_node("Split", [node.input[0], split], both, axis=axis))
    halves = [added.node("Sigmoid", [added.node("Sub", pair)]) for pair in (both, both[::-1])]
    added.node("Concat", halves, node.output[0], axis=axis)
    return True


def _instance_normalization(graph: _Graph, node: Any, added: _Added) -> bool:
    """InstanceNormalization over many elements, with mean and variance taken along one axis after the other.

    ONNX Runtime adds all elements of a channel in float32 one after the other; over 128^3 of them a U-Net's
    probabilities were off by 0.01 on a real head. Sums of sums keep the digits.
    """
    shape = graph.shapes.get(node.input[0], ())
    scale, offset = (graph.constants.get(name) for name in node.input[1:3])
    if scale is None or offset is None or math.prod(shape[2:]) < _LONG_MEAN:
        return False
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    axes = range(len(shape) - 1, 1, -1)
    mean = node.input[0]
    for axis in axes:
        mean = added.reduce("ReduceMean", mean, axis)
    centred = added.node("Sub", [node.input[0], mean])
    variance = added.reduce("ReduceSumSquare", centred, axes[0])
    for axis in axes[1:]:
        variance = added.reduce("ReduceMean", variance, axis)
    wide = (1, shape[1]) + (1,) * len(axes)
    variance = added.node("Mul", [variance, added.constant(np.array(1 / shape[axes[0]], dtype=np.float32))])
    variance = added.node("Add", [variance, added.constant(np.array(epsilon, dtype=np.float32))])
    factor = added.node("Reciprocal", [added.node("Sqrt", [variance])])
    factor = added.node("Mul", [factor, added.constant(scale.astype(np.float32).reshape(wide))])
    if np.any(offset):
        scaled = added.node("Mul", [centred, factor])
        added.node("Add", [scaled, added.constant(offset.astype(np.float32).reshape(wide))], node.output[0])
    else:
        added.node("Mul", [centred, factor], node.output[0])
    return True


def _constant_output(node: Any) -> str | None:
    """The name that a Constant node gives, or None of any other node."""
    return str(node.output[0]) if node.op_type == "Constant" else None
