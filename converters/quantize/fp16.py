"""From a float32 ONNX network to one that computes in FP16 where FP16 is good enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.network_view import NetworkView, load_onnx
from converters.quantize.calibrate import Observed
from converters.quantize.placement import before_weights, has_weights
from edge_runtime.domain import Array
from edge_runtime.errors import EngineRejected

_LARGEST = 65504.0 / 2  # of an activation that was seen: other inputs give larger ones
_SMALLEST = 2.0**-14  # the smallest normal number of FP16
_BIAS = 2  # the input of Conv and Gemm
_ROUNDING = 0.01  # of weights, relative; FP16's own is 0.0005
_SENSITIVE = frozenset({
    "BatchNormalization", "CumSum", "Div", "Exp", "GroupNormalization", "InstanceNormalization", "LayerNormalization",
    "Log", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Pow", "Reciprocal", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Softmax",
    "Softplus", "Sqrt",
})  # fmt: skip
_NOT_IN_FP16 = frozenset({
    "Cast", "Constant", "ConstantOfShape", "EyeLike", "NonMaxSuppression", "OneHot", "Range", "Shape", "Size",
})  # fmt: skip  # their types are fixed, or said by an attribute
_ELEMENTWISE = frozenset({"Abs", "Add", "Clip", "Max", "Min", "Mul", "Neg", "Sub"})
_FLOAT_OPERANDS = {"Resize": 1}  # from this input on they stay float32


def to_fp16(network: bytes, keep_fp32: frozenset[str], observed: Observed | None) -> tuple[bytes, tuple[str, ...]]:
    """The network in FP16, and the names of the nodes that stayed in FP32; its inputs and outputs stay float32.

    In FP32 stay the nodes in `keep_fp32`; operators that sum or divide; what follows the last layer with weights, such
    as the decoding of boxes; nodes whose weights FP16 cannot hold; and, where `observed` tells, those that read or
    make what it cannot hold.

    Raises:
        EngineRejected: the network has branches or loops.
    """
    view = NetworkView(network)
    for node in view.nodes:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise EngineRejected(f"node {node.name} ({node.op_type}) has a network within; export without it for FP16")
    kept = _kept(view, keep_fp32, observed)
    model = _Conversion(view, kept).model
    load_onnx().checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True)), tuple(n.name for n in view.nodes if n.name in kept)


def _kept(view: NetworkView, keep_fp32: frozenset[str], observed: Observed | None) -> frozenset[str]:
    before = before_weights(view)
    beyond = _beyond(observed)
    kept = set(keep_fp32)
    for node in view.nodes:
        if (
            node.op_type in _SENSITIVE | _NOT_IN_FP16
            or not beyond.isdisjoint([*node.input, *node.output])
            or any(_is_lost(values, additive) for values, additive in _constants(view, node))
            or _follows_kept(view, node, kept)
            or (node.name not in before and not has_weights(view, node))
        ):
            kept.add(node.name)
    return frozenset(kept)


def _beyond(observed: Observed | None) -> frozenset[str]:
    """Tensors that FP16 cannot hold: too large, or so small that all of their digits go."""
    if observed is None:
        return frozenset()
    magnitudes = {name: max(abs(s.low), abs(s.high)) for name, s in observed.statistics.items()}
    return frozenset(name for name, m in magnitudes.items() if m > _LARGEST or 0 < m < _SMALLEST)


def _constants(view: NetworkView, node: Any) -> Iterator[tuple[Array, bool]]:
    """The node's float32 constants, and whether each is a bias, of which only what is large counts."""
    from onnx import numpy_helper

    for index, name in enumerate(node.input):
        if name in view.constants and view.element_type(name) == "float":
            yield numpy_helper.to_array(view.constants[name]), index == _BIAS and has_weights(view, node)


def _is_lost(values: Array, additive: bool) -> bool:
    """Whether FP16 makes something else of these numbers: infinity, or 0, or one with few digits left."""
    numbers = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        error = numbers - numbers.astype(np.float16)
    if additive:
        return not bool(np.isfinite(error).all())
    return bool(np.linalg.norm(error) > _ROUNDING * np.linalg.norm(numbers))


def _follows_kept(view: NetworkView, node: Any, kept: set[str]) -> bool:
    """Arithmetic on nothing but what was computed in FP32, such as the variance of a normalization."""
    read = [name for name in node.input if name and name not in view.constants]
    makers = [view.makers.get(name) for name in read]
    return node.op_type in _ELEMENTWISE and all(maker is not None and maker.name in kept for maker in makers)


class _Conversion:
    """Writes the network's nodes anew, with a Cast wherever FP32 meets FP16; each tensor is cast once."""

    def __init__(self, view: NetworkView, kept: frozenset[str]) -> None:
        self._view = view
        self._helper, self._numpy, types = load_onnx().helper, load_onnx().numpy_helper, load_onnx().TensorProto
        self._types = {"float16": types.FLOAT16, "float32": types.FLOAT}
        self._versions: dict[str, dict[str, str]] = {name: {"float32": name} for name in view.inputs}
        self._nodes: list[Any] = []
        self._halves: dict[str, Any] = {}
        for node in view.nodes:
            self._add(node, "float32" if node.name in kept else "float16")
        self.model = self._finished()

    def _add(self, original: Any, kind: str) -> None:
        node = type(original)()
        node.CopyFrom(original)
        operands = _FLOAT_OPERANDS.get(node.op_type, len(node.input))
        for index, name in enumerate(original.input):
            if name and self._view.element_type(name) == "float":
                node.input[index] = self._version(name, kind if index < operands else "float32")
        self._nodes.append(node)
        for index, name in enumerate(original.output):
            if name and self._view.element_type(name) == "float":
                node.output[index] = name if kind == "float32" or name not in self._view.outputs else f"{name}/{kind}"
                self._versions[name] = {kind: node.output[index]}
                if name in self._view.outputs:
                    self._version(name, "float32")

    def _version(self, name: str, kind: str) -> str:
        """The tensor as float16 or float32."""
        if name in self._view.constants:
            return name if kind == "float32" else self._half(name)
        versions = self._versions[name]
        if kind not in versions:
            source = next(iter(versions.values()))
            versions[kind] = name if kind == "float32" and name in self._view.outputs else f"{name}/{kind}"
            self._nodes.append(
                self._helper.make_node("Cast", [source], [versions[kind]], f"{name}/to {kind}", to=self._types[kind])
            )
        return versions[kind]

    def _half(self, name: str) -> str:
        half = f"{name}/float16"
        if half not in self._halves:
            values = self._numpy.to_array(self._view.constants[name]).astype(np.float16)
            self._halves[half] = self._numpy.from_array(values, half)
        return half

    def _finished(self) -> Any:
        model = type(self._view.model)()
        model.CopyFrom(self._view.model)
        used = {name for node in self._nodes for name in node.input}
        constants = [i for i in model.graph.initializer if i.name in used]
        for field in (model.graph.node, model.graph.initializer, model.graph.value_info):
            del field[:]
        model.graph.node.extend(self._nodes)
        model.graph.initializer.extend([*constants, *self._halves.values()])
        return load_onnx().shape_inference.infer_shapes(model)
