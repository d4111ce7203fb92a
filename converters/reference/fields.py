"""Shapes and smooth random fields, evaluated at points. All lengths are millimetres.

Points are in head coordinates (left, posterior, superior), three float32 arrays of one shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.domain import Array, Triple


@dataclass(frozen=True, eq=False)
class Points:
    """Points in head coordinates: u to the left, v to the back, w upwards."""

    u: Array
    v: Array
    w: Array

    def mirrored(self) -> Points:
        """The points with the right side folded onto the left."""
        return Points(np.abs(self.u), self.v, self.w)


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random field of mean 0 and deviation 1: a sum of plane waves. vectors (n, 3) rad/mm, phases (n,) rad."""

    vectors: Array
    phases: Array

    def at(self, points: Points) -> Array:
        """The field, float32."""
        total = np.zeros(points.u.shape, dtype=np.float32)
        for (a, b, c), phase in zip(self.vectors, self.phases, strict=True):
            total += np.cos(a * points.u + b * points.v + c * points.w + phase)
        total *= np.float32(np.sqrt(2 / len(self.phases)))
        return total


def draw_waves(rng: np.random.Generator, wavelength_mm: tuple[float, float], count: int) -> Waves:
    """Waves of random directions and wavelengths."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vectors = directions * (2 * np.pi / rng.uniform(*wavelength_mm, size=(count, 1)))
    return Waves(vectors.astype(np.float32), rng.uniform(0, 2 * np.pi, count).astype(np.float32))


def ellipsoid(points: Points, centre: Triple, radii: Triple) -> Array:
    """Relative radius: below 1 is inside."""
    u, v, w = (
        (p - np.float32(c)) / np.float32(r)
        for p, c, r in zip((points.u, points.v, points.w), centre, radii, strict=True)
    )
    radius: Array = np.sqrt(u * u + v * v + w * w)
    return radius


def capsule(points: Points, start: Triple, stop: Triple) -> Array:
    """Distance to the line from `start` to `stop`."""
    a, b = np.asarray(start, dtype=np.float32), np.asarray(stop, dtype=np.float32)
    axis = b - a
    u, v, w = points.u - a[0], points.v - a[1], points.w - a[2]
    along = np.clip((u * axis[0] + v * axis[1] + w * axis[2]) / np.float32(axis @ axis), 0, 1)
    u, v, w = u - along * axis[0], v - along * axis[1], w - along * axis[2]
    distance: Array = np.sqrt(u * u + v * v + w * w)
    return distance


def surface_distance(points: Points, radii: Triple, below: float) -> Array:
    """Distance to an ellipsoid around the origin, negative inside; `below` is its radius where w is negative.

    First order in the distance: exact at the surface, and good to a few per cent within 20 mm of it.
    """
    a, b = np.float32(radii[0]), np.float32(radii[1])
    c = np.where(points.w > 0, np.float32(radii[2]), np.float32(below))
    u, v, w = points.u / a, points.v / b, points.w / c
    relative = np.maximum(np.sqrt(u * u + v * v + w * w), np.float32(1e-3))
    u, v, w = u / a, v / b, w / c
    slope = np.maximum(np.sqrt(u * u + v * v + w * w), np.float32(1e-5))
    distance: Array = relative * (relative - 1) / slope
    return distance
