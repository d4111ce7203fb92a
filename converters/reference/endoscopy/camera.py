"""A camera in the tunnel: for each pixel what part of the wall it sees, and how bright that is.

A ray leaves the camera with a slope (distance from the axis over distance along it). In each direction around the axis
it meets the wall where the wall's own slope is first as low as the ray's: so folds and polyps hide what is behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from converters.reference.endoscopy.tunnel import ALONG, AROUND, COLUMNS, GLOSS, LABEL, TEXELS, Tunnel
from edge_runtime.domain import Array

VIEW = 8.0  # how far the camera sees, in radii
_NEAREST, _STEPS, _BINS = 0.22, 288, 400
_NEAR, _FAR = 0.5, 3.4  # a polyp that is farther than this is not known as one


@dataclass(frozen=True)
class Camera:
    """Where the camera is and looks to.

    along: in the tunnel, in radii. row, column: where the axis vanishes, in heights of the picture from its middle.
    roll, bend_to, aside_to: angles. bend: how much the tunnel bends. aside: how far from the axis. focal: in widths.
    """

    along: float
    row: float = 0.0
    column: float = 0.0
    roll: float = 0.0
    bend: float = 0.0
    bend_to: float = 0.0
    aside: float = 0.0
    aside_to: float = 0.0
    focal: float = 0.42


@dataclass(frozen=True, eq=False)
class View:
    """light: float32 (rows, columns, 3), linear, 1 is white. labels: uint8, growths. depth: float32, in radii."""

    light: Array
    labels: Array
    depth: Array


@lru_cache(maxsize=4)
def _pixels(rows: int, columns: int) -> tuple[Array, Array]:
    y = (np.arange(rows, dtype=np.float32) + 0.5 - rows / 2) / np.float32(rows)
    x = (np.arange(columns, dtype=np.float32) + 0.5 - columns / 2) / np.float32(rows)
    return y[:, None], x[None, :]


def _wall(tunnel: Tunnel, camera: Camera) -> tuple[Array, Array]:
    """Distances along the axis, (steps,), and the wall's distance from the axis there, (steps, columns)."""
    z = np.geomspace(_NEAREST, VIEW, _STEPS).astype(np.float32)
    rows = np.clip((camera.along + z) * TEXELS, 0, len(tunnel.relief) - 1).astype(np.intp)
    angle = np.arange(COLUMNS, dtype=np.float32) * np.float32(2 * np.pi / COLUMNS)
    wall = 1 - tunnel.relief[rows]
    wall -= np.float32(camera.aside) * np.cos(angle - np.float32(camera.aside_to))
    wall -= np.outer(np.float32(camera.bend) * z * z, np.cos(angle - np.float32(camera.bend_to)))
    return z, np.maximum(wall, np.float32(1e-3))


def look(tunnel: Tunnel, camera: Camera, rows: int, columns: int) -> View:
    """What the camera sees, (rows, columns)."""
    y, x = _pixels(rows, columns)
    y, x = y - np.float32(camera.row), x - np.float32(camera.column)
    ray = np.sqrt(y * y + x * x) * np.float32(rows / (columns * camera.focal))  # slopes
    turn = np.arctan2(y, x) + np.float32(camera.roll)
    around = (turn * np.float32(TEXELS)).astype(np.int32) % COLUMNS

    z, wall = _wall(tunnel, camera)
    depth = _depths(z, wall, ray, around)
    texel = np.minimum((camera.along + depth) * np.float32(TEXELS), len(tunnel.relief) - 1).astype(np.int32)
    flat = texel * COLUMNS + around
    seen = tunnel.surface.reshape(-1, tunnel.surface.shape[-1]).take(flat, axis=0)
    labels = seen[..., LABEL]
    labels[depth > _FAR] = 0
    return View(_lit(seen, ray, depth), labels.astype(np.uint8), depth)


def _depths(z: Array, wall: Array, ray: Array, around: Array) -> Array:
    """How far along the axis each ray meets the wall."""
    slopes = np.minimum.accumulate(wall / z[:, None], axis=0)
    scale = np.float32(_BINS / max(1e-6, float(ray.max())))
    bins = np.minimum(slopes * scale, _BINS).astype(np.int32)  # the slope of each step, as a bin of slopes of rays
    cells = bins * COLUMNS + np.arange(COLUMNS, dtype=np.int32)
    counts = np.bincount(cells.reshape(-1), minlength=(_BINS + 1) * COLUMNS).reshape(_BINS + 1, COLUMNS)
    first = counts[::-1].cumsum(axis=0)[::-1].astype(np.int32)  # steps whose slope is at least that of the bin
    at = np.minimum(ray * scale, _BINS).astype(np.int32)
    step = np.clip(first.reshape(-1).take(at * COLUMNS + around), 1, _STEPS - 1)
    wall_there = wall.reshape(-1).take(step * COLUMNS + around)
    wall_before = wall.reshape(-1).take((step - 1) * COLUMNS + around)
    far, near = z.take(step), z.take(step - 1)
    steep = (wall_there - wall_before) / (far - near)  # straight from step to step, met by ray * depth
    depth: Array = np.clip((wall_before - steep * near) / np.maximum(ray - steep, np.float32(1e-4)), near, far)
    return depth


def _lit(seen: Array, ray: Array, depth: Array) -> Array:
    """Light that comes back: diffuse, falling off with the distance, and the glare of a wet surface."""
    away = ray * depth
    square = away * away + depth * depth
    along, around = seen[..., ALONG], seen[..., AROUND]
    cosine = (away + along * depth) / np.sqrt(square * (1 + along * along + around * around))
    np.clip(cosine, 0, 1, out=cosine)
    light = (0.12 + cosine) / (np.float32(_NEAR) + square)
    glare = np.clip((cosine - np.float32(0.95)) * np.float32(24), 0, 1)
    glare *= seen[..., GLOSS] * np.float32(1.3) / (np.float32(_NEAR) + square)
    picture: Array = seen[..., :3] * light[..., None]
    picture[..., 1:] *= np.exp(np.float32(-0.06) * depth)[..., None]
    picture += glare[..., None]
    return picture
