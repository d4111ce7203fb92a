"""What is in a network or a built engine: layers, precisions, shapes, weights, and what the passport says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converters.inspect.built_engine import engine_document, engine_lines, network_of, open_engine
from converters.network_view import BOUNDARIES, NetworkView
from converters.text_table import size, table
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.errors import ConfigurationError

_PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64"}
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ABSORBED = ("Relu", "LeakyRelu", "Clip")  # into the layer before, so that what follows counts for it
_WEIGHT_PATH = ("QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Reshape", "Identity", "Unsqueeze")

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Layer:
    """One node. `tensor`: its first output. precision: fp32, fp16, int8, or `other` of what is no floating point.

    Shapes leave out constants; None in one is an extent that is not fixed, and `()` also stands for what is unknown.
    weight_bytes: its constants as the file stores them, also those that another layer uses too.
    """

    name: str
    operator: str
    tensor: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    precision: str
    weight_bytes: int


@dataclass(frozen=True)
class Network:
    """The layers of an ONNX network in order. `boundaries`: nodes that quantize, dequantize or cast.

    stored_bytes: of all constants, by element type as the file stores them.
    """

    opset: int
    size_bytes: int
    layers: tuple[Layer, ...]
    boundaries: int
    stored_bytes: Mapping[str, int]

    @property
    def layers_by_precision(self) -> dict[str, int]:
        """How many layers are in each precision, the most frequent first."""
        return dict(Counter(layer.precision for layer in self.layers).most_common())


@dataclass(frozen=True, eq=False)
class Inspection:
    """A network, and the engine it belongs to where a folder was inspected. `note`: what a reader must know of it."""

    path: Path
    network: Network
    engine: VerifiedEngine | None = None
    note: str | None = None

    def text(self) -> str:
        """For a terminal."""
        lines = [str(self.path)]
        if self.engine is not None:
            lines += engine_lines(self.engine)
        if self.note is not None:
            lines += [f"note: {self.note}"]
        rows = [
            (x.operator, x.name, _shapes(x.inputs), _shapes(x.outputs), x.precision, size(x.weight_bytes))
            for x in self.network.layers
        ]
        header = ("operator", "layer", "inputs", "outputs", "precision", "weights")
        return "\n".join([*lines, "", *table(header, rows), "", *self._totals()])

    def _totals(self) -> list[str]:
        network = self.network
        layers = ", ".join(f"{count} {name}" for name, count in network.layers_by_precision.items())
        stored = ", ".join(f"{size(count)} {name}" for name, count in network.stored_bytes.items())
        return [
            f"layers: {layers}; {network.boundaries} nodes quantize, dequantize or cast",
            f"weights: {stored or 'none'}",
            f"network: {size(network.size_bytes)}, operator set {network.opset}",
        ]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path),
            "engine": None if self.engine is None else engine_document(self.engine),
            "note": self.note,
            "network": {**asdict(self.network), "layers_by_precision": self.network.layers_by_precision},
        }


def inspect(path: Path) -> Inspection:
    """Look at an .onnx file or at the folder of a built engine, which is verified first.

    Raises:
        ConfigurationError: the path is neither, or its card is wrong.
        EngineRejected: the engine is not the one of its passport, or the bytes are no ONNX network.
        BackendUnavailable: onnx is missing.
    """
    if path.is_dir():
        engine = open_engine(path)
        network, note = network_of(engine)
        return Inspection(path, look_at(network, str(path)), engine, note)
    if path.suffix != ".onnx":
        raise ConfigurationError(f"{path}: inspect takes the folder of a built engine or an .onnx file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    return Inspection(path, look_at(data, str(path)))


def look_at(network: bytes, what: str = "the network") -> Network:
    """The layers of an ONNX network.

    Raises:
        EngineRejected: the bytes are none.
        BackendUnavailable: onnx is missing.
    """
    view = NetworkView(network, what)
    precisions = _precisions(view)
    layers = tuple(
        Layer(
            node.name,
            node.op_type,
            node.output[0],
            tuple(view.shape(i) or () for i in node.input if i and not _constants_behind(view, i)),
            tuple(view.shape(o) or () for o in node.output if o),
            precisions[node.output[0]],
            sum(view.size_bytes(c) or 0 for c in dict.fromkeys(_weights(view, node))),
        )
        for node in view.layers()
    )
    stored: Counter[str] = Counter()
    for name in view.constants:
        stored[view.element_type(name) or "?"] += view.size_bytes(name) or 0
    boundaries = sum(node.op_type in BOUNDARIES for node in view.nodes)
    return Network(view.opset, len(network), layers, boundaries, dict(stored.most_common()))


def _weights(view: NetworkView, node: Any) -> list[str]:
    return [c for name in node.input for c in _constants_behind(view, name)]


def _constants_behind(view: NetworkView, name: str) -> list[str]:
    """The constants that a tensor is made of alone, such as a weight that is stored quantized; empty of another."""
    found: list[str] = []
    while name not in view.constants:
        maker = view.makers.get(name)
        if maker is None or maker.op_type not in _WEIGHT_PATH or not maker.input:
            return []
        found += [i for i in maker.input[1:] if i in view.constants]
        name = maker.input[0]
    return [name, *found]


def _precisions(view: NetworkView) -> dict[str, str]:
    """The precision of each layer by its first output.

    int8: it works on integers itself, or it lies between DequantizeLinear and QuantizeLinear, so that a library runs
    it on the integers. A convolution or product of matrices needs only its inputs to be dequantized: what follows it up
    to the next QuantizeLinear becomes part of it. Any other layer is in the element type that it gives.
    """
    found: dict[str, str] = {}
    for node in view.layers():
        kind = view.element_type(node.output[0])
        precision = _PRECISIONS.get(kind or "float", "other")
        found[node.output[0]] = "int8" if _is_integer(view, node, found) else precision
    return found


def _is_integer(view: NetworkView, node: Any, found: Mapping[str, str]) -> bool:
    operator = str(node.op_type)
    if operator.startswith("QLinear") or operator.endswith("Integer"):
        return True
    if operator in _WEIGHTED:
        return all(_dequantized(view, name) for name in node.input[:2])
    inputs = [name for name in node.input if name and not _constants_behind(view, name)]
    whole = bool(inputs) and all(_dequantized(view, name) or found.get(name) == "int8" for name in inputs)
    return whole and _leads_to_quantize(view, node.output[0])


def _dequantized(view: NetworkView, name: str) -> bool:
    maker = view.makers.get(name)
    return maker is not None and maker.op_type == "DequantizeLinear"


def _leads_to_quantize(view: NetworkView, name: str) -> bool:
    """Whether all that reads the tensor quantizes it, at once or after what a library makes part of the layer."""
    waiting = [name]
    while waiting:
        readers = view.readers.get(waiting.pop(), [])
        if not readers or any(r.op_type not in ("QuantizeLinear", *_ABSORBED) for r in readers):
            return False
        waiting += [r.output[0] for r in readers if r.op_type in _ABSORBED]
    return True


def _shapes(shapes: Sequence[Shape]) -> str:
    return " ".join("x".join("?" if n is None else str(n) for n in shape) or "-" for shape in shapes) or "-"
