"""ONNX files: a network that is ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from converters.checkpoints.base import Loaded, Source, first_line, require
from converters.checkpoints.kinds import kind_of
from converters.checkpoints.weights import check
from edge_runtime.domain import Array


def load(source: Source) -> Loaded:
    """The network, looked through.

    Raises:
        BackendUnavailable: onnx is missing.
        EngineRejected: it is cut off or no ONNX, keeps its weights in another file, or a weight is NaN.
    """
    onnx = require("onnx", "convert")
    kind, words = kind_of(source.data)
    if kind not in ("onnx", ""):
        raise source.rejected(f"is no ONNX network: it is {words}")
    try:
        model = onnx.load_from_string(source.data)
    except Exception as error:
        raise source.rejected(f"is no ONNX network, or cut off; it is {words}: {first_line(error)}") from error
    if not model.graph.node or not model.opset_import:
        raise source.rejected(f"is no ONNX network, or cut off: it has no nodes or no operator set; it is {words}")
    for name, tensor in _tensors(model):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise source.rejected(
                f"keeps tensor {name} in another file; save it as one: onnx.save(onnx.load(FILE), ONE_FILE)"
            )
        if tensor.data_type in _floating(onnx):
            check(source, name, _values(source, name, tensor, onnx))
    fixed = _fix_shape(source, model)
    if not fixed:
        return Loaded(onnx=source.data)
    note = f"fixed {', '.join(fixed)} of the network's input, which were free, to the card's"
    return Loaded(onnx=model.SerializeToString(), notes=(note,))


def _values(source: Source, name: str, tensor: Any, onnx: Any) -> Array:
    try:
        values: Array = onnx.numpy_helper.to_array(tensor)
    except Exception as error:
        raise source.rejected(f"is damaged: tensor {name} holds no {tuple(tensor.dims)} values: {error}") from error
    return values


def _fix_shape(source: Source, model: Any) -> list[str]:
    """Give the free sizes of the card's input the card's numbers, in place; returns their names.

    What the graph says of the sizes of its other tensors is dropped, except of its inputs: it follows.
    """
    card = source.card
    entry = next((i for i in model.graph.input if i.name == card.input.name), None)
    sizes = entry.type.tensor_type.shape.dim if entry is not None else ()
    if len(sizes) != len(card.input.shape):
        return []
    fixed = []
    for position, (size, number) in enumerate(zip(sizes, card.input.shape, strict=True)):
        if size.WhichOneof("value") != "dim_value":
            fixed.append(f"{size.dim_param or f'size {position}'} = {number}")
            size.dim_value = number
    if fixed:
        del model.graph.value_info[:]
        for output in model.graph.output:
            for size, number in zip(output.type.tensor_type.shape.dim, card.output.shape, strict=False):
                if output.name == card.output.name and size.WhichOneof("value") != "dim_value":
                    size.dim_value = number
    return fixed


def _floating(onnx: Any) -> tuple[int, ...]:
    kinds = onnx.TensorProto
    return kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    """Initializers and constants by name, of functions, branches and loop bodies too."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[tuple[str, Any]]:
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        yield tensor.name, tensor
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[tuple[str, Any]]:
    for node in nodes:
        named = f"{node.op_type} {node.name or ', '.join(node.output)}"
        for attribute in node.attribute:  # what an attribute does not hold is empty
            sparse = (attribute.sparse_tensor, *attribute.sparse_tensors)
            for tensor in (attribute.t, *attribute.tensors, *(one.values for one in sparse)):
                yield tensor.name or named, tensor
            for inner in (attribute.g, *attribute.graphs):
                yield from _of_graph(inner)
