"""The golden input through a network on the CPU: what a passport and its golden pair say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.golden import golden_image, make_seed
from edge_runtime.engines.passport import TensorRecord
from edge_runtime.engines.runner import EngineRunner
from edge_runtime.errors import EngineRejected, InferenceFailed
from edge_runtime.preprocess import compile_recipe

_TIMED_RUNS = 3
_LAST_DIGITS = 1e-6  # of float32, relative to the largest value


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
        EngineRejected: ONNX Runtime does not take it, its tensors are not those of the card, or it gives another output
            each time.
    """
    backend, device = open_on_cpu()
    try:
        session = backend.load(network, device)
        inputs = tuple(TensorRecord(t.name, t.shape, t.dtype) for t in session.inputs)
        outputs = tuple(TensorRecord(t.name, t.shape, t.dtype) for t in session.outputs)
        _check_tensors(card, inputs, outputs)
        seed = make_seed(card)
        prepared = next(iter(compile_recipe(card)(golden_image(seed), None, 0.0))).inputs[0].array
        runner = EngineRunner(card, session, device)
        seconds, given = [], []
        for _ in range(_TIMED_RUNS):
            given.append(runner.run(prepared).copy())
            seconds.append(runner.engine_seconds)
        runner.close()
        _check_repeats(card, given)
        return GoldenRun(seed, prepared, given[0], inputs, outputs, max(seconds))
    except InferenceFailed as error:
        raise EngineRejected(f"engine {card.name}: its network fails on the golden input: {error}") from error
    finally:
        device.close()


def noise_of(card: Card, network: bytes, run: GoldenRun) -> float:
    """The largest change of the output when the golden input changes in its last digits, twice over."""
    rng = np.random.default_rng(1)
    size = _LAST_DIGITS * float(np.abs(run.prepared).max())
    backend, device = open_on_cpu()
    try:
        runner = EngineRunner(card, backend.load(network, device), device)
        changed = [
            run.prepared + rng.uniform(-size, size, run.prepared.shape).astype(np.float32) for _ in range(_TIMED_RUNS)
        ]
        differences = [largest_difference(card, runner.run(prepared), run.output) for prepared in changed]
        runner.close()
    finally:
        device.close()
    return 2 * max(differences)


def _check_repeats(card: Card, given: Sequence[Array]) -> None:
    spread = max(largest_difference(card, one, given[0]) for one in given)
    if spread > card.tolerance:
        raise EngineRejected(
            f"engine {card.name}: its outputs for one input differ by {spread:.3g} from run to run; does it hold "
            "dropout in training mode, or random numbers? Export it in evaluation mode"
        )


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
