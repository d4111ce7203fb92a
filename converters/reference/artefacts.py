"""What is not blood and may look like it: calcifications, metal, beam hardening, motion, noise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from converters.reference.fields import Points, capsule, ellipsoid
from edge_runtime.domain import Array, Triple


class Confounder(Enum):
    """A hard negative."""

    CALCIFICATION = "calcification"
    BEAM_HARDENING = "beam_hardening"
    MOTION = "motion"
    METAL = "metal"


_SHARES = {
    Confounder.CALCIFICATION: 0.6,
    Confounder.BEAM_HARDENING: 0.4,
    Confounder.MOTION: 0.25,
    Confounder.METAL: 0.2,
}
_METAL_HU = 3000.0


@dataclass(frozen=True)
class Spot:
    """Something small and dense: an ellipsoid in head coordinates, mm, and its HU."""

    centre: Triple
    radii: Triple
    hounsfield: float


@dataclass(frozen=True)
class Artefacts:
    """The hard negatives of one phantom."""

    present: tuple[Confounder, ...]
    spots: tuple[Spot, ...]
    metal: Spot | None
    band_hu: float  # between the petrous bones, negative; 0 is none
    cupping_hu: float  # at the skull
    moved_slices: tuple[int, ...]
    moved_mm: tuple[float, float]
    noise_hu: float
    noise_grain: float  # deviation of the noise's blur, in pixels


def draw_artefacts(rng: np.random.Generator, slices: int, thickness_mm: float, matrix: int) -> Artefacts:
    """Each kind with its probability, independent of any haemorrhage."""
    present = tuple(kind for kind in Confounder if rng.uniform() < _SHARES[kind])
    spots = tuple(_calcifications(rng)) if Confounder.CALCIFICATION in present else ()
    metal = _metal(rng) if Confounder.METAL in present else None
    hardened = Confounder.BEAM_HARDENING in present
    moved: tuple[int, ...] = ()
    if Confounder.MOTION in present:
        first = int(rng.integers(2, slices - 6))
        moved = tuple(range(first, first + int(rng.integers(2, 6))))
    return Artefacts(
        present=present,
        spots=spots,
        metal=metal,
        band_hu=float(rng.uniform(-22, -8)) if hardened else 0.0,
        cupping_hu=float(rng.uniform(7, 16)) if hardened else float(rng.uniform(0, 4)),
        moved_slices=moved,
        moved_mm=(float(rng.uniform(-4, 4)), float(rng.uniform(2, 5))),
        noise_hu=float(rng.uniform(2.2, 4.5) * np.sqrt(5.0 / thickness_mm)),
        noise_grain=float(rng.uniform(0.5, 0.8) * matrix / 256),
    )


def _calcifications(rng: np.random.Generator) -> list[Spot]:
    """Pineal gland, choroid plexus, basal ganglia, falx: each in about half of the heads that have any."""
    spots = []
    if rng.uniform() < 0.6:
        spots.append(_spot(rng, (rng.uniform(-1, 1), rng.uniform(20, 24), rng.uniform(0, 5)), (2.0, 4.0)))
    if rng.uniform() < 0.6:
        place, size = (rng.uniform(20, 24), rng.uniform(24, 31), rng.uniform(11, 17)), rng.uniform(2.5, 5)
        spots += [_spot(rng, (s * place[0], place[1], place[2]), (0.8 * size, size)) for s in (-1, 1)]
    if rng.uniform() < 0.35:
        place, size = (rng.uniform(20, 26), rng.uniform(-12, 2), rng.uniform(0, 8)), rng.uniform(2.5, 5)
        spots += [_spot(rng, (s * place[0], place[1], place[2]), (0.7 * size, size)) for s in (-1, 1)]
    if rng.uniform() < 0.3 or not spots:
        spots.append(_spot(rng, (0.0, rng.uniform(-50, 20), rng.uniform(45, 60)), (2.0, 4.0)))
    return spots


def _spot(rng: np.random.Generator, centre: Triple, size_mm: tuple[float, float]) -> Spot:
    radii = rng.uniform(*size_mm, 3)
    return Spot(centre, (float(radii[0]), float(radii[1]), float(radii[2])), float(rng.uniform(110, 400)))


def _metal(rng: np.random.Generator) -> Spot:
    """A clip at the base, an implant behind the ear, or a staple in the scalp."""
    side = float(rng.choice((-1.0, 1.0)))
    centre = [(side * 9, -12.0, -18.0), (side * 76, 20.0, -15.0), (side * 60, 10.0, 62.0)][int(rng.integers(3))]
    size = float(rng.uniform(1.5, 3.5))
    return Spot(centre, (size, size, size), _METAL_HU)


def paint_spots(artefacts: Artefacts, points: Points, hounsfield: Array) -> None:
    """Draw calcifications and metal."""
    spots = artefacts.spots if artefacts.metal is None else (*artefacts.spots, artefacts.metal)
    for spot in spots:
        near = np.abs(points.w - spot.centre[2]) < spot.radii[2]
        if near.any():
            where = near & (ellipsoid(points, spot.centre, spot.radii) < 1)
            np.copyto(hounsfield, np.float32(spot.hounsfield), where=where)


def harden(artefacts: Artefacts, points: Points, depth_mm: Array, hounsfield: Array) -> None:
    """Beam hardening: a dark band with bright edges between the petrous bones, and brightness below the skull."""
    if artefacts.cupping_hu:
        hounsfield += np.float32(artefacts.cupping_hu) * np.exp(-np.maximum(depth_mm, 0) / 9) * (depth_mm > 0)
    if artefacts.band_hu:
        from_line = capsule(points, (-45, 20, -41), (45, 20, -41))
        ripple = np.exp(-np.square(from_line / 7)) - np.float32(0.6) * np.exp(-np.square((from_line - 13) / 4))
        hounsfield += np.float32(artefacts.band_hu) * ripple * (depth_mm > 0)


def streaks(metal: Spot, points: Points, amount: float) -> Array:
    """What metal adds to a plane that it lies in, HU: rays that fade with the distance. `amount` is 0 to 1."""
    u, v = points.u - metal.centre[0], points.v - metal.centre[1]
    radius = np.sqrt(u * u + v * v) + np.float32(3)
    angle = np.arctan2(v, u)
    rays = np.cos(9 * angle + 1) + np.cos(14 * angle) + np.cos(23 * angle + 2)
    added: Array = np.float32(220 * amount * metal.radii[0]) * rays / radius
    return added


def shift_plane(plane: Array, pixel_mm: float, moved_mm: tuple[float, float]) -> Array:
    """The plane seen half before and half after the head moved (row and column, mm)."""
    ndimage = _ndimage()
    offset = [distance / pixel_mm for distance in moved_mm]
    moved: Array = ndimage.shift(plane, offset, order=1, mode="nearest")
    return np.float32(0.55) * plane + np.float32(0.45) * moved


def noise(rng: np.random.Generator, shape: tuple[int, int, int], artefacts: Artefacts) -> Array:
    """Noise with a grain within each plane, float32 HU."""
    white = rng.standard_normal(shape, dtype=np.float32)
    grained = blur(white, artefacts.noise_grain)
    grained *= np.float32(artefacts.noise_hu) / grained.std(dtype=np.float64).astype(np.float32)
    return grained


def blur(volume: Array, deviation_pixels: float) -> Array:
    """Gaussian blur within the planes."""
    blurred: Array = _ndimage().gaussian_filter(volume, (0.0, deviation_pixels, deviation_pixels), truncate=3.0)
    return blurred


def _ndimage() -> Any:
    from scipy import ndimage

    return ndimage
