"""From light to a picture: exposure, blur, the scope's dark corners, noise; and the world outside of the body."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edge_runtime.domain import Array

_SHARP_BLUR = 0.016  # of the height: a picture moved or out of focus by more is not informative


@dataclass(frozen=True)
class Optics:
    """How a picture is taken. Lengths are shares of its height.

    moved: length and angle of the motion while the shutter is open. unsharp: deviation of the focus. corners: how far
    the picture reaches into its corners, 1 is all. exposure: of the light. noise: of grey levels, deviation.
    """

    exposure: float = 1.8
    moved: float = 0.0
    moved_to: float = 0.0
    unsharp: float = 0.0
    corners: float = 0.85
    shade: float = 0.35
    noise: float = 2.0
    warmth: float = 0.0

    @property
    def sharp(self) -> bool:
        """Whether the picture is sharp enough to say anything of it."""
        return self.moved < _SHARP_BLUR and self.unsharp < _SHARP_BLUR / 3


def develop(rng: np.random.Generator, light: Array, optics: Optics) -> Array:
    """The picture, uint8 (rows, columns, 3), of light, float32 of that shape, linear."""
    rows, columns = light.shape[:2]
    picture = 1 - np.exp(light * np.float32(-optics.exposure))
    if optics.warmth:
        picture *= np.array([1 + optics.warmth, 1, 1 - optics.warmth], dtype=np.float32)
    picture = _shaken(picture, optics.moved * rows, optics.moved_to)
    if optics.unsharp * rows > 0.4:
        picture = _unfocused(picture, optics.unsharp * rows)
    picture[1:] = (picture[1:] + picture[:-1]) * np.float32(0.5)  # the lens and the interpolation of colours
    picture[:, 1:] = (picture[:, 1:] + picture[:, :-1]) * np.float32(0.5)
    picture *= _shade(rows, columns, round(optics.shade, 2), round(optics.corners, 2))[..., None]
    picture *= np.float32(255)
    picture += _noise(rng, rows, columns) * np.float32(optics.noise)
    levels: Array = np.clip(picture, 0, 255).astype(np.uint8)
    return levels


def field_of_view(rows: int, columns: int, corners: float) -> Array:
    """Where the scope shows anything, bool (rows, columns)."""
    factor = _shade(rows, columns, 0.0, round(corners, 2))
    inside: Array = factor > 0.5
    return inside


@lru_cache(maxsize=32)
def _shade(rows: int, columns: int, shade: float, corners: float) -> Array:
    """A factor: 0 in the cut corners, falling off by `shade` towards them."""
    y = np.abs(np.linspace(-1, 1, rows, dtype=np.float32))[:, None]
    x = np.abs(np.linspace(-1, 1, columns, dtype=np.float32))[None, :]
    edge = np.clip((np.float32(1 + corners) - (x + y)) * np.float32(rows / 6) + 0.5, 0, 1)
    factor: Array = edge * (1 - np.float32(shade) * (x * x + y * y) / 2)
    factor.setflags(write=False)
    return factor


@lru_cache(maxsize=1)
def _grain() -> Array:
    """Noise to cut from, float32 (1024, 1400, 3), deviation 1; the picture's is more in blue, and not quite white."""
    grain = np.random.default_rng(7).standard_normal((1025, 1400, 3), dtype=np.float32)
    grain = (grain[1:] + grain[:-1]) * np.float32(0.7)
    grain *= np.array([0.9, 0.8, 1.3], dtype=np.float32)
    grain.setflags(write=False)
    return grain


def _noise(rng: np.random.Generator, rows: int, columns: int) -> Array:
    grain = _grain()
    while grain.shape[0] <= rows or grain.shape[1] <= columns:
        grain = np.tile(grain, (2, 2, 1))
    row, column = int(rng.integers(grain.shape[0] - rows)), int(rng.integers(grain.shape[1] - columns))
    cut: Array = grain[row : row + rows, column : column + columns]
    return cut


def _shaken(picture: Array, length: float, angle: float) -> Array:
    """The mean of pictures moved along a line of `length` pixels, at most twelve of them."""
    count = min(12, round(length) + 1)
    if count < 2:
        return picture
    total = np.zeros_like(picture)
    for at in np.linspace(-0.5, 0.5, count):
        row, column = round(at * length * np.sin(angle)), round(at * length * np.cos(angle))
        total += np.roll(picture, (row, column), axis=(0, 1))
    total /= np.float32(count)
    return total


def _unfocused(picture: Array, deviation: float) -> Array:
    from scipy import ndimage

    width = max(2, round(deviation * 1.7))
    for axis in (0, 1, 0, 1):
        picture = ndimage.uniform_filter1d(picture, width, axis=axis, mode="nearest")
    return picture


@dataclass(frozen=True, eq=False)
class Room:
    """What a scope shows that is not in a patient: float32 (rows, columns, 3), linear, larger than a picture."""

    light: Array

    def look(self, row: float, column: float, rows: int, columns: int) -> Array:
        """The light, (rows, columns, 3); row and column, 0 to 1, say where the scope points."""
        tall, wide = self.light.shape[:2]
        top, left = round(np.clip(row, 0, 1) * (tall - rows)), round(np.clip(column, 0, 1) * (wide - columns))
        return self.light[top : top + rows, left : left + columns]


def draw_room(rng: np.random.Generator, rows: int, columns: int) -> Room:
    """Walls, drapes, screens, lamps and gloves, half as large again as a picture of this size."""
    tall, wide = rows * 3 // 2, columns * 3 // 2
    base = rng.uniform(0.05, 0.5) + rng.uniform(-0.12, 0.12, 3) + np.array([-0.06, 0, 0.05])
    y, x = np.linspace(-1, 1, tall, dtype=np.float32)[:, None], np.linspace(-1, 1, wide, dtype=np.float32)[None, :]
    uneven = 1 + rng.uniform(-0.4, 0.4) * y + rng.uniform(-0.4, 0.4) * x
    light = np.clip(base, 0.02, 1).astype(np.float32) * uneven[..., None]
    for _ in range(int(rng.integers(8, 26))):
        colour = _of_a_room(rng)
        middle, size = rng.uniform(-1, 1, 2), rng.uniform(0.05, 0.7, 2)
        v, u = np.abs(y - middle[0]) / size[0], np.abs(x - middle[1]) / size[1]
        distance = np.maximum(v, u) if rng.uniform() < 0.7 else np.sqrt(u * u + v * v)
        cover = np.clip((1 - distance) * rng.uniform(2, 40), 0, 1)[..., None].astype(np.float32)
        weave = 1 + np.float32(rng.uniform(0, 0.1)) * np.sin(rng.uniform(20, 120) * (x + rng.uniform(-1, 1) * y))
        light = light * (1 - cover) + colour * weave[..., None].astype(np.float32) * cover
    return Room(np.ascontiguousarray(light, dtype=np.float32))


def _of_a_room(rng: np.random.Generator) -> Array:
    """A colour: drapes blue and green, walls and gloves grey, skin, and the light of a lamp or a screen."""
    chosen = int(rng.integers(6))
    bright = rng.uniform(0.05, 0.8)
    drape, green, skin = (0.3, 0.6, 1.0), (0.35, 0.9, 0.7), (1.0, 0.62, 0.48)
    tint = (drape, green, (1, 1, 1), (0.9, 0.95, 1.0), skin, (1.6, 1.6, 1.6))[chosen]
    return (bright * np.array(tint) * rng.uniform(0.85, 1.15, 3)).astype(np.float32)
