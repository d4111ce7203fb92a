"""What every kernel needs that reads a network's output: its element type, and the card's labels."""

from __future__ import annotations

import numpy as np

from edge_runtime.device.base import Buffer
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.errors import EngineError
from edge_runtime.postprocess.activation import level

Tensors = tuple[tuple[tuple[int, ...], str], ...]
"""Shape and element type of each buffer."""

LABEL = np.dtype([("channel", np.int32), ("level", np.float32)])
"""`OutputLabel` of output.cuh."""


def labels(card: Card, threshold: float | None) -> Array:
    """The card's labels, one `LABEL` each."""
    return np.array([(label.channel, level(label, threshold)) for label in card.labels], dtype=LABEL)


def half(card: Card, output: Buffer) -> np.uint32:
    """1 where the buffer of the network's output is of float16, 0 of float32.

    Raises:
        EngineError: it is of another type, or has not the card's shape.
    """
    if output.shape != card.output.shape or output.dtype not in ("float16", "float32"):
        raise EngineError(f"engine {card.name}: the output is {output.dtype} {output.shape}, "
                          f"the card says {card.output.shape}")  # fmt: skip
    return np.uint32(output.dtype == "float16")


def check_parameters(parameters: Buffer, wanted: np.dtype[np.void]) -> None:
    """Refuse a buffer that has not the size of the parameter block.

    Raises:
        EngineError: it has not.
    """
    if parameters.dtype != "uint8" or parameters.shape != (wanted.itemsize,):
        raise EngineError(f"the parameters are {parameters.dtype} {parameters.shape}, not {wanted.itemsize} bytes")
