"""From a checkpoint to an ONNX network with the card's names and shapes, and the reference to compare it with."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from converters.checkpoints import load_checkpoint
from converters.checkpoints.base import quiet, require
from converters.exporters import export_program, trace_to_onnx, with_card_output
from converters.graph import opset_of, rewrite_for_cpu
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.errors import EngineRejected

__all__ = ["Exported", "export", "trace_to_onnx"]


@dataclass(frozen=True, eq=False)
class Exported:
    """An ONNX network. `reference` computes what the checkpoint's own framework gives for an input.

    `rewrites` say what was changed in the graph, `notes` what was chosen on the way to it.
    """

    data: bytes
    opset: int
    reference_name: str
    reference: Callable[[Array], Array]
    rewrites: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export(card: Card, checkpoint: bytes, card_folder: Path) -> Exported:
    """Export the checkpoint, which has been verified. The same checkpoint gives the same bytes.

    Raises:
        ConfigurationError: the card's architecture or entry is wrong.
        BackendUnavailable: a package is missing.
        EngineRejected: the checkpoint is damaged, wants to run code or does not fit, or its network cannot be exported
            or is not valid.
    """
    loaded = load_checkpoint(card, checkpoint, card_folder)
    if loaded.onnx is not None:
        data, name, reference = loaded.onnx, "the ONNX checkpoint", _onnx_reference(card, loaded.onnx)
    else:
        _plain_activations(loaded.module)
        module = with_card_output(card, loaded.module)
        by = card.checkpoint.exporter or loaded.exporter
        data = trace_to_onnx(card, module) if by == "trace" else export_program(card, module)
        name, reference = f"torch {require('torch', 'torch').__version__}", _torch_reference(module)
    try:
        model = onnx.load_from_string(data)
        rewrites = rewrite_for_cpu(model)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        told = textwrap.shorten(str(error), 300)
        raise EngineRejected(f"engine {card.name}: the checkpoint gives no valid ONNX network: {told}") from error
    return Exported(model.SerializeToString(), opset_of(model), name, reference, rewrites, loaded.notes)


def _plain_activations(module: Any) -> None:
    """Swish written for training, as EfficientNet has it, becomes the same function of plain operators."""
    for layer in module.modules():
        if callable(getattr(layer, "set_swish", None)):
            layer.set_swish(memory_efficient=False)


def _torch_reference(module: Any) -> Callable[[Array], Array]:
    torch = require("torch", "torch")

    def reference(prepared: Array) -> Array:
        with quiet(), torch.no_grad():
            output: Array = module(torch.from_numpy(prepared)).numpy()
        return output

    return reference


def _onnx_reference(card: Card, checkpoint: bytes) -> Callable[[Array], Array]:
    def reference(prepared: Array) -> Array:
        from edge_runtime.backends.onnxruntime import OnnxRuntimeBackend
        from edge_runtime.device.host import HostDevice
        from edge_runtime.engines.runner import EngineRunner

        device = HostDevice()
        runner = EngineRunner(card, OnnxRuntimeBackend().load(checkpoint, device), device)
        output = runner.run(prepared).copy()
        runner.close()
        device.close()
        return output

    return reference
