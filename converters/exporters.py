"""A PyTorch module as ONNX with the card's names and fixed shapes: by `torch.export`, or by tracing."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from converters.checkpoints.base import first_line, quiet, require
from edge_runtime.engines.card import Card
from edge_runtime.errors import EngineRejected

TRACED_OPSET = 17
EXPORTED_OPSET = 18  # the oldest that torch.export gives; ONNX Runtime 1.18 and TensorRT 10.3 read it
_NO_RULE = re.compile(r"No ONNX function found for <OpOverload\(op='(\w+\.\w+)'")
_AT_NODE = re.compile(r"translating node %\w+ .*?target=torch\.ops\.(\w+\.\w+)", re.DOTALL)
_AT_LINE = re.compile(r"The following call raised this error:\n\s*File \"(.*?)\", line (\d+)")
_UNTRACED = re.compile(r"operator '([\w:]+)' to ONNX")
_SCOPES = "pkg.torch.onnx.name_scopes"


def trace_to_onnx(card: Card, module: Any) -> bytes:
    """A PyTorch module as ONNX, traced, with the card's names and shapes.

    Raises:
        BackendUnavailable: torch is missing.
        EngineRejected: it cannot be traced, or an operator has no counterpart in ONNX: names operator and layer.
    """
    torch, stream = require("torch", "torch"), io.BytesIO()
    inputs = (torch.zeros(card.input.shape),)
    with quiet(), _silent(), torch.no_grad():
        # The exporter by tracing is deprecated and warns of constants; the parity check decides.
        try:
            torch.onnx.export(
                module,
                inputs,
                stream,
                input_names=[card.input.name],
                output_names=[card.output.name],
                opset_version=TRACED_OPSET,
                dynamo=False,
            )
        except Exception as error:
            operator = _UNTRACED.search(str(error))
            if operator is None:
                text = f"engine {card.name}: the network cannot be traced: {first_line(error)}"
                raise EngineRejected(text) from error
            layer = _traced_layer(torch.jit.trace(module, inputs), operator.group(1))
            raise _unsupported(card, operator.group(1), layer, TRACED_OPSET) from error
    return _with_output_shape(card, stream.getvalue())


def _with_output_shape(card: Card, data: bytes) -> bytes:
    """The network with the card's output shape where tracing left it open, as it does after a padding."""
    onnx = require("onnx", "convert")
    model = onnx.load_from_string(data)
    dimensions = model.graph.output[0].type.tensor_type.shape.dim
    if tuple(d.dim_value for d in dimensions) == card.output.shape or len(dimensions) != len(card.output.shape):
        return data
    for dimension, extent in zip(dimensions, card.output.shape, strict=True):
        dimension.dim_value = extent
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the tracing exporter, which is C++ in part, from writing a whole graph on stdout when it fails."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _traced_layer(traced: Any, operator: str) -> str:
    """The module path of the first node with this operator."""
    graph = traced.inlined_graph
    scopes = [str(node.scopeName()).split("/") for node in graph.findAllNodes(operator)]
    if not scopes:
        return ""
    if "::" in scopes[0][-1]:  # read from an archive: class::name, each within the one before
        return ".".join(filter(None, (part.split("::")[-1] for part in scopes[0])))
    return scopes[0][-1].removeprefix("__module.")


def _unsupported(card: Card, operator: str, layer: str, opset: int) -> EngineRejected:
    where = f"layer {layer}" if layer else "the network itself"
    return EngineRejected(
        f"engine {card.name}: operator {operator}, in {where}, has no counterpart in ONNX (operator set {opset}); "
        "write it there with operators that have one (it need not be trained again if it computes the same)"
    )


def export_program(card: Card, module: Any) -> bytes:
    """A PyTorch module as ONNX by `torch.export`, with the card's names and shapes; weights are in the file.

    Nodes are named after their layer in the module: `encoder.conv1/Conv`.

    Raises:
        BackendUnavailable: torch or onnxscript is missing.
        EngineRejected: it cannot be exported, or an operator has no counterpart in ONNX: names operator and layer.
    """
    torch, inputs = require("torch", "torch"), None
    require("onnxscript", "torch")
    with quiet(), torch.no_grad():
        inputs = (torch.zeros(card.input.shape),)
        try:
            program = torch.export.export(module, inputs, strict=False)
        except Exception as error:
            raise _unfollowed(card, error) from error
        try:
            exported = torch.onnx.export(
                program,
                inputs,
                input_names=[card.input.name],
                output_names=[card.output.name],
                opset_version=EXPORTED_OPSET,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
            model = exported.model_proto
        except Exception as error:
            raise _unconverted(card, program, error) from error
        clean(model)
        return bytes(model.SerializeToString(deterministic=True))


def _unfollowed(card: Card, error: Exception) -> EngineRejected:
    line = _AT_LINE.search(str(error))
    where = f" at {line.group(1)}, line {line.group(2)}" if line else ""
    return EngineRejected(
        f"engine {card.name}: torch.export cannot follow the network{where}: {first_line(error)}; let its steps not "
        "depend on values, or give checkpoint.exporter: trace, which keeps the steps that an input of zeros takes"
    )


def _unconverted(card: Card, program: Any, error: Exception) -> EngineRejected:
    text = str(error)
    found = _NO_RULE.search(text) or _AT_NODE.search(text)
    if found is None:
        return EngineRejected(f"engine {card.name}: the network cannot be exported: {first_line(error)}")
    operator = found.group(1)
    return _unsupported(card, operator, _layer(program, operator.split(".")[1]), EXPORTED_OPSET)


def _layer(program: Any, operator: str) -> str:
    """The module path of the first node that is this operator, or one that is made of it."""
    for node in program.graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if operator in str(node.target) and stack:
            return str(list(stack.values())[-1][0])
    return ""


def clean(model: Any) -> None:
    """Name nodes after their layers, and drop what the exporter notes of its own work."""
    counts: Counter[str] = Counter()
    weights = {i.name for i in model.graph.initializer}
    for node in model.graph.node:
        path = f"{_module_path(node, weights)}/{node.op_type}".lstrip("/")
        counts[path] += 1
        node.name = path if counts[path] == 1 else f"{path}_{counts[path] - 1}"
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    del model.graph.value_info[:]
    for item in (model, model.graph, *model.graph.input, *model.graph.output, *model.graph.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")


def _module_path(node: Any, weights: set[str]) -> str:
    """The layer that a node comes from: the one that its weight belongs to, else where it was called."""
    owned = [name.removesuffix(".weight") for name in node.input if name in weights and name.endswith(".weight")]
    if owned:
        return str(owned[0])
    scopes = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
    try:
        names = ast.literal_eval(scopes)
    except (ValueError, SyntaxError):
        return ""
    return str(names[-2]) if len(names) >= 2 else ""


def with_card_output(card: Card, module: Any) -> Any:
    """The module, giving one tensor of the card's shape: of a mapping the card's name, else the first of that shape.

    Raises:
        EngineRejected: it does not take the card's input, or gives nothing of the card's output.
    """
    torch = require("torch", "torch")
    with quiet(), torch.no_grad():
        try:
            given = module(torch.zeros(card.input.shape))
        except Exception as error:
            raise EngineRejected(
                f"engine {card.name}: the network does not take the card's input {card.input.shape}: "
                f"{first_line(error)}"
            ) from error
    outputs = dict(_flat(given, torch))
    key = _choose(card, outputs)
    return module if key == () else _only(module, key, torch)


def _flat(given: Any, torch: Any, path: tuple[Any, ...] = ()) -> Any:
    """The tensors of an output with the keys and places that lead to each."""
    if torch.is_tensor(given):
        yield path, given
    elif isinstance(given, Mapping):
        for key, value in given.items():
            yield from _flat(value, torch, (*path, key))
    elif isinstance(given, (list, tuple)):
        for index, value in enumerate(given):
            yield from _flat(value, torch, (*path, index))


def _choose(card: Card, outputs: dict[tuple[Any, ...], Any]) -> tuple[Any, ...]:
    wanted = card.output.shape
    fitting = [key for key, tensor in outputs.items() if tuple(tensor.shape) == wanted and tensor.is_floating_point()]
    named = [key for key in outputs if key and key[-1] == card.output.name]
    for key in named:
        if key in fitting:
            return key
    if fitting and not named:
        return fitting[0]
    has = ", ".join(f"{'.'.join(map(str, key)) or 'one'} {tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}"
                    for key, t in outputs.items())  # fmt: skip
    raise EngineRejected(
        f"engine {card.name}: the network gives no float32 output {card.output.name} {wanted}, as the card says; it "
        f"gives {has or 'no tensor'}"
    )


def _only(module: Any, key: tuple[Any, ...], torch: Any) -> Any:
    """A module that gives one tensor of what `module` gives."""

    def forward(prepared: Any) -> Any:
        given = module(prepared)
        for step in key:
            given = given[step]
        return given

    chosen = torch.nn.Module()
    chosen.network, chosen.forward, chosen.training = module, forward, False
    return chosen
