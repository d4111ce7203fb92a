"""Where a network is quantized: which nodes run in INT8, and which tensors between them are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from converters.network_view import NetworkView

Flavour = Literal["cpu", "tensorrt"]

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ON_CPU = ("Conv", "Gemm", "MatMul")  # no INT8 kernel of ONNX Runtime's for ConvTranspose, none of Conv gives float32
_RANK_3D = 5
_THIN = 4  # channels
_BETWEEN = frozenset({
    "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "MaxPool", "AveragePool", "GlobalAveragePool",
    "Concat", "Resize", "Pad", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split",
})  # fmt: skip  # ONNX Runtime has INT8 kernels for these, or they only move values


@dataclass(frozen=True)
class Placement:
    """Names of the nodes that run in INT8, in the order of the graph, and of the activations that are quantized."""

    nodes: tuple[str, ...]
    tensors: frozenset[str]


def weighted(view: NetworkView, flavour: Flavour) -> tuple[str, ...]:
    """Names of the nodes with constant weights that can run in INT8, in the order of the graph."""
    graph = _Graph(view)
    return tuple(node.name for node in view.nodes if graph.is_weighted(node, flavour))


def place(view: NetworkView, flavour: Flavour, keep_fp32: frozenset[str]) -> Placement:
    """Choose for a prepared network; the named nodes stay in FP32."""
    graph = _Graph(view)
    chosen = {"cpu": _place_for_cpu, "tensorrt": _place_for_tensorrt}[flavour]
    return chosen(graph, lambda node: node.name not in keep_fp32 and graph.is_weighted(node, flavour))


def before_weights(view: NetworkView) -> frozenset[str]:
    """Names of the nodes after which another one with weights comes; after the last of these comes the answer."""
    found: set[str] = set()
    for node in reversed(view.nodes):
        after = [reader for name in node.output for reader in view.readers[name]]
        if any(has_weights(view, reader) or reader.name in found for reader in after):
            found.add(node.name)
    return frozenset(found)


def has_weights(view: NetworkView, node: Any) -> bool:
    """Whether the node multiplies by constant float32 weights that were learned."""
    if node.op_type not in _WEIGHTED or node.input[1] not in view.constants:
        return False
    return view.element_type(node.input[1]) == "float" and not _counts_bins(view.constants[node.input[1]])


def _counts_bins(weights: Any) -> bool:
    """0, 1, 2 ...: the expectation of a distribution over bins (the boxes of YOLOv8; Li 2020, section 3.2)."""
    from onnx import numpy_helper

    if weights.dims[0] != 1:
        return False
    values = numpy_helper.to_array(weights).ravel()
    return values.size > 1 and np.array_equal(values, np.arange(values.size))


class _Graph:
    """A network, and what can be quantized of it."""

    def __init__(self, view: NetworkView) -> None:
        self.view = view
        self.before_weights = before_weights(view)

    def is_weighted(self, node: Any, flavour: Flavour) -> bool:
        if not has_weights(self.view, node) or node.input[0] in self.view.constants:
            return False
        if flavour == "tensorrt":
            return True
        if node.op_type != "Conv":
            return node.op_type in _ON_CPU
        return node.name in self.before_weights and not self._is_thin(node)

    def _is_thin(self, node: Any) -> bool:
        """A 3-D Conv over a few channels, such as a network's first: ONNX Runtime's INT8 kernel is the slower."""
        shape = self.view.constants[node.input[1]].dims
        return len(shape) == _RANK_3D and int(shape[1]) < _THIN and not _has_groups(node)

    def activations(self, node: Any) -> Iterator[str]:
        return (name for name in node.input if name and name not in self.view.constants)


def _place_for_cpu(graph: _Graph, chosen: Callable[[Any], bool]) -> Placement:
    """Inputs and outputs of the nodes with weights, and of what lies between two of them and can stay in INT8."""
    nodes: list[str] = []
    made: set[str] = set()  # tensors that come out of INT8 nodes
    tensors: set[str] = set()
    for node in graph.view.nodes:
        heavy = chosen(node)
        if not heavy and not _stays(graph, node, made):
            continue
        nodes.append(node.name)
        tensors.update([node.input[0]] if heavy else graph.activations(node))
        if node.name in graph.before_weights:
            made.update(node.output)
            tensors.update(node.output)
    return Placement(tuple(nodes), frozenset(tensors))


def _stays(graph: _Graph, node: Any, made: set[str]) -> bool:
    if node.op_type not in _BETWEEN or node.name not in graph.before_weights:
        return False
    constant_operand = node.op_type in ("Add", "Mul") and any(name in graph.view.constants for name in node.input)
    return not constant_operand and made.issuperset(graph.activations(node))


def _place_for_tensorrt(graph: _Graph, chosen: Callable[[Any], bool]) -> Placement:
    """Inputs of the nodes with weights; of a residual Add the input that is not straight from a Conv.

    TensorRT then makes one kernel of Conv, Add and activation; an output that the next node reads in INT8 is written
    in INT8.
    """
    heavy = [node for node in graph.view.nodes if chosen(node)]
    names = {node.name for node in heavy}

    def fuses(name: str) -> bool:
        made_by = graph.view.makers.get(name)
        return made_by is not None and made_by.op_type == "Conv" and made_by.name in names and _read_once(graph, name)

    tensors = {node.input[0] for node in heavy}
    for node in graph.view.nodes:
        if node.op_type == "Add" and not any(name in graph.view.constants for name in node.input):
            first, second = node.input
            if fuses(first):
                tensors.add(second)
            elif fuses(second):
                tensors.add(first)
    return Placement(tuple(node.name for node in heavy), frozenset(tensors))


def _has_groups(node: Any) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


def _read_once(graph: _Graph, name: str) -> bool:
    return len(graph.view.readers[name]) == 1 and name not in graph.view.outputs
