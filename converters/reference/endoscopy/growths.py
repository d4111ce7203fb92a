"""What sits on the wall: polyps, and what looks like them: bubbles, stool, bulges of folds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from converters.reference.endoscopy.noise import smooth
from edge_runtime.domain import Array


class Kind(Enum):
    """What a growth is. All but the polyp are look-alikes."""

    POLYP = "polyp"
    BUBBLES = "bubbles"
    STOOL = "stool"
    BULGE = "bulge"


LOOK_ALIKES = (Kind.BUBBLES, Kind.STOOL, Kind.BULGE)


@dataclass(frozen=True)
class Growth:
    """A growth at `along` radii from the tunnel's start and at an angle `around` it, `radius` wide (in radii)."""

    kind: Kind
    along: float
    around: float
    radius: float


def draw_growth(rng: np.random.Generator, kind: Kind, along: float, around: float | None = None) -> Growth:
    """A growth of this kind with a size of its own."""
    sizes = {Kind.POLYP: (0.13, 0.36), Kind.BUBBLES: (0.12, 0.35), Kind.STOOL: (0.1, 0.4), Kind.BULGE: (0.15, 0.4)}
    angle = rng.uniform(0, 2 * np.pi) if around is None else around
    return Growth(kind, along, float(angle % (2 * np.pi)), float(rng.uniform(*sizes[kind])))


def add_growth(
    rng: np.random.Generator, growth: Growth, relief: Array, colour: Array, labels: Array, number: int
) -> None:
    """Put a growth on the wall: relief (rows, columns), colour (rows, columns, 3), and its number into `labels`."""
    rows, columns = relief.shape
    texels = columns / (2 * np.pi)
    reach = round(growth.radius * 2.2 * texels)
    row, column = round(growth.along * texels), round(growth.around / (2 * np.pi) * columns)
    low, high = max(0, row - reach), min(rows, row + reach)
    if high <= low:
        return
    around = np.arange(column - reach, column + reach)
    place = np.ix_(np.arange(low, high), around % columns)
    y, x = (np.arange(low, high) - row)[:, None] / texels, (around - column)[None, :] / texels
    patch = _Patch(y.astype(np.float32), x.astype(np.float32), relief[place], colour[place], labels[place])
    _PAINT[growth.kind](rng, growth.radius, patch)
    relief[place], colour[place] = patch.relief, patch.colour
    covered = patch.labels < 0 if growth.kind is Kind.POLYP else np.hypot(y, x) < growth.radius
    labels[place] = np.where(covered, number, labels[place])


@dataclass(eq=False)
class _Patch:
    """The part of the wall around a growth; y and x in radii from its middle. Where `labels` is -1 a polyp is."""

    y: Array
    x: Array
    relief: Array
    colour: Array
    labels: Array

    def distance(self, rng: np.random.Generator, radius: float, rough: float) -> Array:
        """Distance from the middle, 1 at an outline that is no circle."""
        angle = np.arctan2(self.y, self.x)
        stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
        outline = radius * (1 - (1 - stretch) * np.cos(angle - turn) ** 2)
        for wave in range(2, 6):
            outline = outline * (1 + rough / wave * rng.normal() * np.cos(wave * angle + rng.uniform(0, 2 * np.pi)))
        distance: Array = (np.hypot(self.y, self.x) / outline).astype(np.float32)
        return distance


def _polyp(rng: np.random.Generator, radius: float, patch: _Patch) -> None:
    """A dome with a clear edge, redder or paler than the wall, with a fine pattern of pits and no vessels."""
    distance = patch.distance(rng, radius, 0.12)
    inside = distance < 1
    height = radius * rng.uniform(0.45, 1.0)
    dome = np.clip(1 - distance**2, 0, 1) ** rng.uniform(0.4, 0.7)
    cells = smooth(rng, patch.y.shape, (7, 7), periodic=False)
    pits = np.clip(np.abs(cells) * 1.5, 0, 1)
    patch.relief += (height * dome * (1 + 0.06 * smooth(rng, patch.y.shape, (16, 16), periodic=False))).astype(
        np.float32
    )
    red = rng.uniform(-0.4, 1.0)
    tint = np.array([1.02 + 0.04 * red, 0.98 - 0.26 * red, 0.98 - 0.2 * red], dtype=np.float32)
    mean = patch.colour.reshape(-1, 3).mean(axis=0)
    own = mean * tint * (0.86 + 0.14 * pits[..., None])
    patch.colour = np.where(inside[..., None], 0.8 * own + 0.2 * patch.colour, patch.colour).astype(np.float32)
    rim = np.exp(-np.square((distance - 1.0) / 0.08))[..., None]
    patch.colour *= 1 - np.float32(0.22) * rim.astype(np.float32)
    patch.labels = np.where(inside, -1, patch.labels)


def _bubbles(rng: np.random.Generator, radius: float, patch: _Patch) -> None:
    """A heap of bubbles: clear in the middle, a bright ring, and a spot of light."""
    for _ in range(int(rng.integers(4, 14))):
        size = radius * rng.uniform(0.12, 0.5)
        y, x = rng.normal(0, radius * 0.6, 2)
        distance = np.hypot(patch.y - y, patch.x - x) / size
        ring = np.exp(-np.square((distance - 0.92) / 0.12)) * rng.uniform(0.15, 0.5)
        spot = np.exp(-np.square(np.hypot(patch.y - y - 0.3 * size, patch.x - x - 0.25 * size) / (0.2 * size)))
        patch.colour += ((ring + spot)[..., None] * np.float32(0.8)).astype(np.float32)
        patch.relief += (0.25 * size * np.clip(1 - distance**2, 0, 1)).astype(np.float32)


def _stool(rng: np.random.Generator, radius: float, patch: _Patch) -> None:
    """Rough brown or yellow lumps."""
    brown = (rng.uniform(0.4, 0.8) * np.array([1, rng.uniform(0.58, 0.84), rng.uniform(0.15, 0.3)])).astype(np.float32)
    for _ in range(int(rng.integers(1, 5))):
        y, x = rng.normal(0, radius * 0.5, 2)
        lump = _Patch(patch.y - np.float32(y), patch.x - np.float32(x), patch.relief, patch.colour, patch.labels)
        distance = lump.distance(rng, radius * rng.uniform(0.35, 0.9), 0.45)
        cover = np.clip((1 - distance) * 6, 0, 1)[..., None].astype(np.float32)
        own = brown * (1 + np.float32(0.18) * smooth(rng, patch.y.shape, (6, 6), periodic=False))[..., None]
        patch.colour = patch.colour * (1 - cover) + own * cover
        lumpy = 1 + 0.25 * smooth(rng, patch.y.shape, (9, 9), periodic=False)
        patch.relief += (0.22 * radius * np.clip(1 - distance**2, 0, 1) * lumpy).astype(np.float32)


def _bulge(rng: np.random.Generator, radius: float, patch: _Patch) -> None:
    """A swelling of the wall itself: its colour, its vessels, no edge; longer around the tunnel than along it."""
    wide = radius * rng.uniform(1.0, 1.6)
    bump = np.exp(-np.square(patch.y / (0.55 * radius)) - np.square(patch.x / wide))
    patch.relief += (rng.uniform(0.4, 0.8) * radius * bump).astype(np.float32)


_PAINT = {Kind.POLYP: _polyp, Kind.BUBBLES: _bubbles, Kind.STOOL: _stool, Kind.BULGE: _bulge}
