"""The operations of a recipe that change each value for itself, as the kernels take them (steps.cuh)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_runtime.domain import Array
from edge_runtime.engines.recipe import Colour, Normalize, Operation, Scale, Standardize, Window
from edge_runtime.errors import InferenceFailed

MOST_STEPS = 8
STEP = np.dtype([("kind", "<i4"), ("a", "<f4", 3), ("b", "<f4", 3)])
STEPS = np.dtype([("count", "<i4"), ("step", STEP, MOST_STEPS)])
ELEMENTS = {"uint8": 0, "uint16": 1, "int16": 2, "float32": 3}

_DIVIDE, _MULTIPLY, _CLIP, _GREY, _REPEAT = range(5)
_Step = tuple[int, tuple[float, ...], tuple[float, ...]]


def fold(operations: Sequence[Operation]) -> Array | str:
    """The operations as one element of `STEPS`; a str says why they need the host."""
    found: list[_Step] = []
    for operation in operations:
        steps = _steps(operation)
        if isinstance(steps, str):
            return steps
        found += steps
    if len(found) > MOST_STEPS:
        return f"it has {len(found)} steps on values, the kernel does {MOST_STEPS}"
    folded: Array = np.zeros((), dtype=STEPS)
    folded["count"] = len(found)
    for slot, (kind, a, b) in enumerate(found):
        folded["step"][slot] = (kind, a, b)
    return folded


def channels_after(operations: Sequence[Operation], channels: int) -> int:
    """How many channels a picture has after the operations. Raises InferenceFailed where one does not fit it."""
    for operation in operations:
        if isinstance(operation, Colour):
            channels = 1 if operation.to == "grey" else 3
        if isinstance(operation, Normalize) and len(operation.mean) not in (1, channels):
            raise InferenceFailed(f"normalize has {len(operation.mean)} channels, the image has {channels}")
    return channels


def _steps(operation: Operation) -> list[_Step] | str:
    if isinstance(operation, Window) and operation.range is not None:
        low, high = np.float32(operation.range[0]), np.float32(operation.range[1])
        if not high > low:
            return "its window's edges are the same number as float32"
        return [(_DIVIDE, (float(low),) * 3, (float(high - low),) * 3), (_CLIP, (0.0,) * 3, (0.0,) * 3)]
    if isinstance(operation, Window):
        return "a window by quantiles needs the whole image first"
    if isinstance(operation, Standardize):
        return "standardize needs the whole image first"
    if isinstance(operation, Scale):
        return [(_MULTIPLY, (operation.factor,) * 3, (operation.offset,) * 3)]
    if isinstance(operation, Normalize):
        repeat = 3 if len(operation.mean) == 1 else 1
        if len(operation.mean) * repeat != 3:
            return f"normalize has {len(operation.mean)} channels"
        return [(_DIVIDE, operation.mean * repeat, operation.deviation * repeat)]
    if isinstance(operation, Colour):
        return [(_GREY if operation.to == "grey" else _REPEAT, (0.0,) * 3, (0.0,) * 3)]
    return f"{type(operation).__name__.lower()} comes after another step"
