"""An ONNX network to look at: who makes and who reads each tensor, its shape and element type, and the constants."""

from __future__ import annotations

import graphlib
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from edge_runtime.errors import BackendUnavailable, EngineRejected

_BITS = {
    **dict.fromkeys(("int4", "uint4"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 16),
    **dict.fromkeys(("float", "int32", "uint32"), 32),
    **dict.fromkeys(("double", "int64", "uint64"), 64),
}
_OTHER_BITS = 8  # int8, uint8, bool, the kinds of float8
_FLOATS = ("float", "float16", "bfloat16", "double")
BOUNDARIES = ("QuantizeLinear", "DequantizeLinear", "Cast")
"""Operators that change how a value is stored, and compute nothing."""
_NO_LAYERS = (*BOUNDARIES, "Constant", "Identity")


@dataclass(frozen=True, eq=False)
class Made:
    """What a layer gives. `names`: the tensor and those it goes on as, quantized and back or cast; `seen`: the last."""

    node: Any
    names: tuple[str, ...]

    @property
    def seen(self) -> str:
        """The tensor as the next layer sees it."""
        return self.names[-1]


class NetworkView:
    """A parsed network. `constants` are initializers and the values of Constant nodes, by name.

    Raises:
        BackendUnavailable: onnx is missing.
        EngineRejected: the bytes are no ONNX network.
    """

    def __init__(self, network: bytes, what: str = "the network") -> None:
        onnx = load_onnx()
        self.model = read_model(network, what)
        self.nodes = _sort(self.model.graph, what)
        try:
            inferred = onnx.shape_inference.infer_shapes(self.model).graph
        except Exception as error:
            raise _no_network(what, error) from error
        graph = self.model.graph
        self._type_name = onnx.TensorProto.DataType.Name
        self.constants: dict[str, Any] = {i.name: i for i in graph.initializer}
        self.makers: dict[str, Any] = {}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            self.makers.update(dict.fromkeys(node.output, node))
            for name in dict.fromkeys(node.input):
                self.readers[name].append(node)
            if node.op_type == "Constant":
                tensor = next((a.t for a in node.attribute if a.name == "value"), None)
                self.constants.update({node.output[0]: tensor} if tensor is not None else {})
        self.inputs = [i.name for i in graph.input if i.name not in self.constants]
        self.outputs = [o.name for o in graph.output]
        self._values = {v.name: v.type.tensor_type for v in (*graph.input, *inferred.value_info, *inferred.output)}

    @property
    def opset(self) -> int:
        """The version of the default operator set; 0 where the network names none."""
        return next((int(e.version) for e in self.model.opset_import if e.domain in ("", "ai.onnx")), 0)

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """The tensor's shape, with None for what is not fixed; None where nothing is known of it."""
        if name in self.constants:
            return tuple(int(d) for d in self.constants[name].dims)
        value = self._values.get(name)
        if value is None or not value.HasField("shape"):
            return None
        return tuple(int(d.dim_value) if d.dim_value > 0 else None for d in value.shape.dim)

    def element_type(self, name: str) -> str | None:
        """As ONNX names it, in small letters: float, float16, int8, uint8, int64; None where nothing is known."""
        if name in self.constants:
            return str(self._type_name(self.constants[name].data_type)).lower()
        value = self._values.get(name)
        return None if value is None else str(self._type_name(value.elem_type)).lower()

    def is_float(self, name: str) -> bool:
        """Whether the tensor holds floating-point numbers, or may: nothing is known of it."""
        return self.element_type(name) in (*_FLOATS, None)

    def size_bytes(self, name: str) -> int | None:
        """What the tensor takes in memory; None where its shape or type is not known."""
        shape, kind = self.shape(name), self.element_type(name)
        if shape is None or kind is None or None in shape:
            return None
        bits = _BITS.get(kind, _OTHER_BITS)
        return math.ceil(math.prod(n for n in shape if n is not None) * bits / 8)

    def layers(self) -> list[Any]:
        """The nodes that compute something, in order."""
        return [node for node in self.nodes if node.op_type not in _NO_LAYERS]

    def made(self) -> list[Made]:
        """What every layer gives, in order: its floating-point tensors."""
        tensors = [(n, name) for n in self.layers() for name in n.output if name and self.is_float(name)]
        return [Made(node, self._followed(name)) for node, name in tensors]

    def _followed(self, name: str) -> tuple[str, ...]:
        """The tensor, then what it goes on as through quantizing, dequantizing and casts between float types."""
        names = [name]
        while True:
            onward = (n for n in self.readers[names[-1]] if n.op_type in BOUNDARIES and n.input[0] == names[-1])
            node = next((n for n in onward if n.op_type != "Cast" or self.is_float(n.output[0])), None)
            if node is None:
                return tuple(names)
            names.append(node.output[0])


def read_model(network: bytes, what: str) -> Any:
    """The bytes as onnx's ModelProto; they may still be no valid network.

    Raises:
        BackendUnavailable: onnx is missing.
        EngineRejected: they are none.
    """
    try:
        return load_onnx().load_from_string(network)
    except BackendUnavailable:
        raise
    except Exception as error:
        raise _no_network(what, error) from error


def _no_network(what: str, error: Exception) -> EngineRejected:
    first = (str(error) or type(error).__name__).splitlines()[0]
    return EngineRejected(f"{what} cannot be read as an ONNX network: {first}")


def _sort(graph: Any, what: str) -> list[Any]:
    """Put each node after those it reads from, where that is not so: what looks at types expects it."""
    nodes = [node for node in graph.node if node.output]
    if not nodes:
        raise EngineRejected(f"{what} cannot be read as an ONNX network: it has no nodes")
    makers = {name: index for index, node in enumerate(nodes) for name in node.output}
    before = {i: {makers[name] for name in node.input if name in makers} for i, node in enumerate(nodes)}
    if any(earlier >= index for index, needed in before.items() for earlier in needed):
        try:
            nodes = [nodes[index] for index in graphlib.TopologicalSorter(before).static_order()]
        except graphlib.CycleError as error:
            circle = ", ".join(nodes[index].name or nodes[index].op_type for index in error.args[1])
            raise EngineRejected(f"{what} is no ONNX network: its nodes go in a circle: {circle}") from error
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    return [node for node in graph.node if node.output]


def load_onnx() -> Any:
    """The onnx package.

    Raises:
        BackendUnavailable: it is missing.
    """
    try:
        import onnx
        import onnx.shape_inference
    except ImportError as error:
        raise BackendUnavailable("reading networks needs onnx: pip install 'edge-runtime[convert]'") from error
    return onnx
