"""The golden input through a network on the CPU: what a passport and its golden pair say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.backends.registry import load_backend, load_device
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.golden import golden_image, make_seed
from edge_runtime.engines.passport import TensorRecord
from edge_runtime.engines.runner import EngineRunner
from edge_runtime.errors import EngineRejected
from edge_runtime.preprocess import compile_recipe

_TIMED_RUNS = 3


@dataclass(frozen=True, eq=False)
class GoldenRun:
    """seed: uint8. prepared: float32 of the card's input shape. output: float32 of the card's output shape."""

    seed: Array
    prepared: Array
    output: Array
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    longest_seconds: float


def run_golden(card: Card, network: bytes) -> GoldenRun:
    """Run an ONNX network on the golden input with the daemon's recipe and runner.

    Raises:
        EngineRejected: ONNX Runtime does not take it, or its tensors are not those of the card.
    """
    backend, device = load_backend("onnxruntime"), load_device("onnxruntime", 0)
    try:
        session = backend.load(network, device)
        inputs = tuple(TensorRecord(t.name, t.shape, t.dtype) for t in session.inputs)
        outputs = tuple(TensorRecord(t.name, t.shape, t.dtype) for t in session.outputs)
        _check_tensors(card, inputs, outputs)
        seed = make_seed(card)
        prepared = next(iter(compile_recipe(card)(golden_image(seed), None, 0.0))).inputs[0].array
        runner = EngineRunner(card, session, device)
        seconds = []
        for _ in range(_TIMED_RUNS):
            output = runner.run(prepared)
            seconds.append(runner.engine_seconds)
        run = GoldenRun(seed, prepared, output.copy(), inputs, outputs, max(seconds))
        runner.close()
        return run
    finally:
        device.close()


def largest_difference(card: Card, found: Array, expected: Array) -> float:
    """The largest absolute difference; NaN where there is one.

    Raises:
        EngineRejected: the two have other shapes.
    """
    if found.shape != expected.shape:
        raise EngineRejected(f"engine {card.name}: its output is {found.shape}, the checkpoint's is {expected.shape}")
    return float(np.abs(found - expected).max())


def _check_tensors(card: Card, inputs: tuple[TensorRecord, ...], outputs: tuple[TensorRecord, ...]) -> None:
    expected = (TensorRecord(card.input.name, card.input.shape, card.input.dtype),)
    if inputs != expected:
        raise EngineRejected(f"engine {card.name}: the network's inputs are {inputs}, the card expects {expected}")
    wanted = TensorRecord(card.output.name, card.output.shape, card.output.dtype)
    if wanted not in outputs:
        raise EngineRejected(f"engine {card.name}: the network's outputs are {outputs}, the card expects {wanted}")
