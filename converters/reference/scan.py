"""How a phantom is scanned: slices, pixels, and how the head lies in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.reference.fields import Points
from edge_runtime.domain import Array, Triple

_PLANES = 3  # each slice is the mean of so many planes; odd, so that a mask's majority is without a tie
_LOWEST_MM, _HIGHEST_MM = -62.0, 92.0  # of a usual head scan, in head coordinates


@dataclass(frozen=True, eq=False)
class Scan:
    """A protocol and the head's pose. `turn` maps image axes (left, back, up; mm) to head coordinates."""

    matrix: int
    slices: int
    thickness_mm: float
    spacing_mm: float
    pixel_mm: float
    bottom_mm: float  # centre of the lowest slice, along the scanner's axis
    turn: Array
    shift_mm: Triple
    blur_mm: float
    offset_hu: float
    superior_first: bool
    table: bool

    @property
    def covered_mm(self) -> tuple[float, float]:
        """Lower and upper end along the scanner's axis."""
        half = self.spacing_mm / 2
        return self.bottom_mm - half, self.bottom_mm + (self.slices - 1) * self.spacing_mm + half


def draw_scan(rng: np.random.Generator, matrix: int, slices: int | None) -> Scan:
    """A random protocol: 2.5 to 6 mm slices that cover the head, 24 to 60 of them, and a field of 212 to 232 mm."""
    covered = rng.uniform(0.9, 1.05) * (_HIGHEST_MM - _LOWEST_MM)
    thickness = float(np.clip(rng.choice((2.5, 3.0, 4.0, 5.0, 5.0, 6.0)) + rng.uniform(-0.2, 0.2), 2.5, 6.0))
    if slices is None:
        slices = int(np.clip(round(covered / thickness), 24, 60))
    else:
        thickness = float(np.clip(covered / slices, 2.5, 6.0))
    field_mm = rng.uniform(212, 232)
    yaw, tilt, roll = np.radians(rng.normal(0, (5.0, 6.0, 3.0))).tolist()
    return Scan(
        matrix=matrix,
        slices=slices,
        thickness_mm=thickness,
        spacing_mm=thickness,
        pixel_mm=float(field_mm / matrix),
        bottom_mm=float(_HIGHEST_MM + rng.uniform(-6, 4) - slices * thickness),
        turn=_rotation(yaw, tilt, roll),
        shift_mm=(float(rng.uniform(-5, 5)), float(rng.uniform(-4, 4)), 0.0),
        blur_mm=float(rng.uniform(0.45, 0.75)),
        offset_hu=float(rng.uniform(-2.5, 2.5)),
        superior_first=bool(rng.uniform() < 0.3),
        table=bool(rng.uniform() < 0.6),
    )


def _rotation(yaw: float, tilt: float, roll: float) -> Array:
    """About up, left and back, in this order."""
    (cy, sy), (ct, st), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, tilt, roll))
    about_up = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_left = np.array([[1, 0, 0], [0, ct, -st], [0, st, ct]])
    about_back = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return np.asarray(about_back @ about_left @ about_up, dtype=np.float32)


def coordinates(scan: Scan, index: int) -> Points:
    """Head coordinates of the pixels of slice `index` (from below), at planes through its thickness: (planes, y, x)."""
    offsets = ((np.arange(_PLANES) + 0.5) / _PLANES - 0.5) * scan.thickness_mm
    z = (scan.bottom_mm + index * scan.spacing_mm + offsets - scan.shift_mm[2]).astype(np.float32)[:, None, None]
    across = (np.arange(scan.matrix) - (scan.matrix - 1) / 2) * scan.pixel_mm
    y = (across - scan.shift_mm[1]).astype(np.float32)[None, :, None]
    x = (across - scan.shift_mm[0]).astype(np.float32)[None, None, :]
    u, v, w = (row[0] * x + row[1] * y + row[2] * z for row in scan.turn)
    return Points(u, v, w)
