"""The wall of a bowel as a tunnel unrolled on a grid: how far it bulges inwards, its colour, and whose part it is.

Rows run along the tunnel, columns around it. The unit of length is the tunnel's radius; light comes from the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from converters.reference.endoscopy.growths import Growth, Kind, add_growth
from converters.reference.endoscopy.noise import smooth
from edge_runtime.domain import Array

COLUMNS = 768
TEXELS = COLUMNS / (2 * np.pi)  # to a radius, both ways
RED, GREEN, BLUE, ALONG, AROUND, LABEL, GLOSS = range(7)  # of the surface: colour, slopes, number of the growth, gloss


@dataclass(frozen=True, eq=False)
class Tunnel:
    """relief: float32 (rows, columns), inwards. surface: float32 (rows, columns, 7)."""

    relief: Array
    surface: Array
    growths: tuple[Growth, ...]

    @property
    def length(self) -> float:
        """In radii."""
        return float(len(self.relief) / TEXELS)


def draw_tunnel(rng: np.random.Generator, length: float, growths: Sequence[Growth]) -> Tunnel:
    """A tunnel of this length with these growths; growth k has the label k + 1."""
    shape = (round(length * TEXELS), COLUMNS)
    relief = smooth(rng, shape, (90, 110)) * np.float32(rng.uniform(0.015, 0.04))
    _add_folds(rng, relief)
    colour = _mucosa(rng, shape)
    labels = np.zeros(shape, dtype=np.float32)
    for number, growth in sorted(enumerate(growths, start=1), key=lambda pair: pair[1].kind is Kind.POLYP):
        add_growth(rng, growth, relief, colour, labels, number)  # polyps last: nothing covers them
    fine = smooth(rng, shape, (5, 5)) * np.float32(rng.uniform(0.0008, 0.0025))
    fine += smooth(rng, shape, (18, 18)) * np.float32(rng.uniform(0.002, 0.005))
    rough = relief + fine
    along = np.gradient(rough, axis=0).astype(np.float32) * np.float32(TEXELS)
    around = (np.roll(rough, -1, axis=1) - np.roll(rough, 1, axis=1)) * np.float32(TEXELS / 2)
    gloss = np.clip(smooth(rng, shape, (9, 9)) - np.float32(rng.uniform(0.2, 0.9)), 0, 1)
    surface = np.concatenate([colour, np.stack([along, around, labels, gloss], axis=-1)], axis=-1)
    return Tunnel(relief, np.ascontiguousarray(surface), tuple(growths))


def _add_folds(rng: np.random.Generator, relief: Array) -> None:
    """Folds around the tunnel, higher in some directions than in others, now and then incomplete."""
    rows = len(relief)
    angle = np.arange(COLUMNS, dtype=np.float32) * np.float32(2 * np.pi / COLUMNS)
    lobes, turn, step = int(rng.integers(2, 4)), rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.3)
    at = rng.uniform(0.0, 0.5)
    while at * TEXELS < rows:
        height = rng.uniform(0.10, 0.30) * (0.6 + 0.4 * np.cos(lobes * angle + turn + rng.normal(0, 0.5)))
        height *= np.clip(0.6 + 0.5 * np.cos(angle - rng.uniform(0, 2 * np.pi)), 0.25, 1)
        centre = at + 0.12 * np.sin(angle + rng.uniform(0, 2 * np.pi)) + 0.05 * np.sin(2 * angle)
        width = rng.uniform(0.09, 0.18)
        first, last = (round((at + side * (0.2 + 3 * width)) * TEXELS) for side in (-1, 1))
        window = slice(max(0, first), min(rows, last))
        z = (np.arange(rows, dtype=np.float32)[window, None]) / np.float32(TEXELS)
        relief[window] += (height * np.exp(-np.square((z - centre) / width))).astype(np.float32)
        at += step * rng.uniform(0.7, 1.4)


def _mucosa(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """The colour of the wall, float32 (rows, columns, 3), with patches and branching vessels."""
    base = np.array([rng.uniform(0.70, 0.92), rng.uniform(0.36, 0.52), rng.uniform(0.28, 0.42)], dtype=np.float32)
    patches = 1 + np.float32(0.07) * smooth(rng, shape, (60, 60))
    colour: Array = patches[..., None] * base
    colour[..., 1:] *= (1 + np.float32(0.06) * smooth(rng, shape, (150, 150)))[..., None]
    vessels = np.zeros(shape, dtype=np.float32)
    for cell, width, depth in ((80, 0.05, 1.0), (36, 0.09, 0.7)):
        ridge = np.abs(smooth(rng, shape, (cell, cell)))
        vessels = np.maximum(vessels, depth * np.clip(1 - ridge / width, 0, 1))
    vessels *= np.clip(0.5 + 0.6 * smooth(rng, shape, (120, 120)), 0, 1) * np.float32(rng.uniform(0.3, 1))
    colour *= 1 - vessels[..., None] * np.array([0.22, 0.5, 0.42], dtype=np.float32)
    return colour
