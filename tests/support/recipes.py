"""Cards with a recipe, and images for them, made in memory."""

from dataclasses import replace

import numpy as np
from support.models import SOURCE

from edge_runtime.domain import Array, Frames
from edge_runtime.engines.card import Card, Checkpoint, Concept, Input, Label, Tensor
from edge_runtime.engines.recipe import Resize, Step

_CARD = Card(
    name="recipe",
    version="1",
    task="classification",
    intended_use="tests",
    checkpoint=Checkpoint("0" * 64, "CC0", "onnx", path="model.onnx"),
    input=Input("image", (1, 1, 4, 4), kind="frame"),
    output=Tensor("probability", (1, 1)),
    preprocess=(Step(resize=Resize((4, 4))),),
    labels=(Label("it", Concept("1", "99", "It"), 0, 0.5),),
    tolerance=1e-3,
)


def card_of(shape: tuple[int, ...], *steps: Step) -> Card:
    """A classification's card with an input of this shape, and these steps."""
    kind = "volume" if len(shape) == 5 else "frame"
    return replace(_CARD, input=Input("image", shape, kind=kind), preprocess=steps)


def picture(seed: int, shape: tuple[int, ...], dtype: str) -> Array:
    """Noise over the whole range of an integer type; of float32, over -1000 to 3000."""
    generator = np.random.default_rng(seed)
    if dtype == "float32":
        return generator.uniform(-1000, 3000, shape).astype(np.float32)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def frames_of(pixels: Array) -> Frames:
    """One frame; pixels of any integer type, which a file's frames never have, are let through."""
    frames = Frames(np.zeros((1, 1, 1), np.float32), "OT", (SOURCE,))
    object.__setattr__(frames, "pixels", pixels[None])
    return frames
