"""From a checkpoint to an ONNX network with the card's names and shapes, and the reference to compare it with."""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from converters.graph import opset_of, rewrite_for_cpu
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.errors import BackendUnavailable, EngineRejected

OPSET = 17


@dataclass(frozen=True, eq=False)
class Exported:
    """An ONNX network. `reference` computes what the checkpoint's own framework gives for an input."""

    data: bytes
    opset: int
    reference_name: str
    reference: Callable[[Array], Array]
    rewrites: tuple[str, ...]


def export(card: Card, checkpoint: bytes) -> Exported:
    """Export the checkpoint, which has been verified.

    Raises:
        BackendUnavailable: torch is missing.
        EngineRejected: it is no checkpoint of the card's format, or the network that comes out is not valid.
    """
    if card.checkpoint.format == "torchscript":
        data, name, reference = _torchscript(card, checkpoint)
    else:
        data, name, reference = checkpoint, "the ONNX checkpoint", _onnx_reference(card, checkpoint)
    try:
        model = onnx.load_from_string(data)
        rewrites = rewrite_for_cpu(model)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise EngineRejected(f"engine {card.name}: the checkpoint gives no valid ONNX network: {error}") from error
    return Exported(model.SerializeToString(), opset_of(model), name, reference, rewrites)


def _torchscript(card: Card, checkpoint: bytes) -> tuple[bytes, str, Callable[[Array], Array]]:
    torch = _torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        try:
            module = torch.jit.load(io.BytesIO(checkpoint), map_location="cpu").eval()
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise EngineRejected(f"engine {card.name}: the checkpoint is no TorchScript: {first}") from error

    def reference(prepared: Array) -> Array:
        with torch.no_grad():
            output: Array = module(torch.from_numpy(prepared)).numpy()
        return output

    return trace_to_onnx(card, module), f"torch {torch.__version__}", reference


def trace_to_onnx(card: Card, module: Any) -> bytes:
    """A PyTorch module as ONNX, traced, with the card's names and shapes.

    Raises:
        BackendUnavailable: torch is missing.
    """
    torch, stream = _torch(), io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter by tracing is deprecated and warns of constants; the parity check decides.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(card.input.shape),),
            stream,
            input_names=[card.input.name],
            output_names=[card.output.name],
            opset_version=OPSET,
            dynamo=False,
        )
    return stream.getvalue()


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


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BackendUnavailable("this checkpoint needs torch; run: pip install 'edge-runtime[torch]'") from error
