"""The regular grid that a set of planes lies on, or the reason why there is none. Pure.

Slices are ordered by ascending position along the normal n = row direction x column direction
(PS3.3 C.7.6.2.1.1).
So (column, row, slice) is right-handed; domain.Geometry lists the same three as (slice, row, column).
Instance Number, Slice Location and Slice Thickness play no part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_runtime.assemble.decoded import Plane
from edge_runtime.domain import Array, Geometry, Triple
from edge_runtime.errors import AssemblyRefused

ORIENTATION_TOLERANCE = 1e-3  # of a direction cosine, within a plane and from plane to plane: 0.06 degrees
PIXEL_SPACING_TOLERANCE = 1e-3  # relative, from plane to plane
DRIFT_TOLERANCE = 0.25  # of the finer pixel spacing: how far the stack may lean off its normal, over all slices
SLICE_SPACING_TOLERANCE = 0.05  # relative, from gap to gap
GRID_TOLERANCE = 0.25  # of the slice spacing: how far any slice may lie from its place on the regular grid
DOUBLED_MM = 1e-3
GAP_FACTOR = 1.5  # a gap this much wider than the narrowest misses a slice


def grid_of(
    planes: Sequence[Plane], rows: int, columns: int, frame_of_reference_uid: str | None
) -> tuple[tuple[int, ...], Geometry]:
    """The order of the planes along the normal, and the grid that they make in that order.

    Raises AssemblyRefused: "missing_geometry", "missing_spacing", "mixed_orientation", "mixed_spacing",
    "too_few_slices", "doubled_slices", "missing_slices", "uneven_spacing", "oblique_shear".
    """
    directions = _directions(planes)
    pixel_spacing = _pixel_spacing(planes)
    if len(planes) < 2:
        raise AssemblyRefused("too_few_slices", "one slice has no slice spacing; a volume needs at least 2")
    positions = np.array([plane.position_mm for plane in planes], dtype=np.float64)
    along = positions @ directions[0]
    order = np.argsort(along, kind="stable")
    slice_spacing = _slice_spacing(along[order])
    _check_straight(positions[order], directions, min(pixel_spacing))
    geometry = Geometry(
        shape=(len(planes), rows, columns),
        origin_mm=_triple(positions[order[0]]),
        directions=(_triple(directions[0]), _triple(directions[1]), _triple(directions[2])),
        spacing_mm=(slice_spacing, *pixel_spacing),
        frame_of_reference_uid=frame_of_reference_uid,
    )
    return tuple(int(index) for index in order), geometry


def _directions(planes: Sequence[Plane]) -> Array:
    """Unit vectors of increasing slice, row and column index, shared by all planes; shape (3, 3)."""
    cosines = np.array(
        [(*(plane.row_direction or ()), *(plane.column_direction or ())) for plane in planes if _placed(plane)]
    )
    if len(cosines) < len(planes):
        detail = f"{len(planes) - len(cosines)} of {len(planes)} slices have no position or no orientation"
        raise AssemblyRefused("missing_geometry", detail)
    along_row, along_column = cosines[:, :3], cosines[:, 3:]
    dots = [np.sum(a * b, axis=1) for a, b in ((along_row, along_row), (along_column, along_column))]
    if np.abs(np.array(dots) - 1).max() > 2 * ORIENTATION_TOLERANCE:
        raise AssemblyRefused("missing_geometry", "Image Orientation (Patient) holds no unit vectors")
    if np.abs(np.sum(along_row * along_column, axis=1)).max() > ORIENTATION_TOLERANCE:
        raise AssemblyRefused("missing_geometry", "Image Orientation (Patient) is not orthogonal")
    if np.abs(cosines - cosines[0]).max() > ORIENTATION_TOLERANCE:
        raise AssemblyRefused("mixed_orientation", "the slices do not lie parallel to each other")
    x = along_row[0] / np.linalg.norm(along_row[0])
    y = along_column[0] - x * (along_column[0] @ x)
    y /= np.linalg.norm(y)
    return np.stack([np.cross(x, y), y, x])


def _placed(plane: Plane) -> bool:
    return None not in (plane.position_mm, plane.row_direction, plane.column_direction)


def _pixel_spacing(planes: Sequence[Plane]) -> tuple[float, float]:
    known = [plane.spacing_mm for plane in planes if plane.spacing_mm is not None]
    if len(known) < len(planes):
        raise AssemblyRefused(
            "missing_spacing", f"{len(planes) - len(known)} of {len(planes)} slices have no Pixel Spacing"
        )
    if np.abs(np.array(known) / known[0] - 1).max() > PIXEL_SPACING_TOLERANCE:
        raise AssemblyRefused("mixed_spacing", "the slices differ in Pixel Spacing")
    return known[0]


def _slice_spacing(along: Array) -> float:
    """The spacing of positions in ascending order."""
    gaps = np.diff(along)
    if gaps.min() < max(DOUBLED_MM, SLICE_SPACING_TOLERANCE * float(np.median(gaps))):
        count = int(np.sum(gaps < max(DOUBLED_MM, SLICE_SPACING_TOLERANCE * float(np.median(gaps)))))
        raise AssemblyRefused("doubled_slices", f"{count} slices lie where another one lies")
    narrowest, widest = float(gaps.min()), float(gaps.max())
    if widest > GAP_FACTOR * narrowest:
        missing = int(np.sum(np.maximum(np.rint(gaps / narrowest) - 1, 0)))
        raise AssemblyRefused("missing_slices", f"about {missing} slices are missing between {len(along)}")
    spacing = float(along[-1] - along[0]) / (len(along) - 1)
    off_grid = np.abs(along - along[0] - spacing * np.arange(len(along))).max()
    if widest - narrowest > SLICE_SPACING_TOLERANCE * spacing or off_grid > GRID_TOLERANCE * spacing:
        detail = f"the slices are {narrowest:.4g} to {widest:.4g} mm apart"
        raise AssemblyRefused("uneven_spacing", detail)
    return spacing


def _check_straight(positions: Array, directions: Array, pixel_mm: float) -> None:
    """Refuse a stack that leans off its normal, as a tilted gantry makes it."""
    offsets = positions - positions[0]
    sideways = offsets - np.outer(offsets @ directions[0], directions[0])
    drift = float(np.linalg.norm(sideways, axis=1).max())
    if drift > DRIFT_TOLERANCE * pixel_mm:
        detail = f"the slices are shifted sideways by up to {drift:.3g} mm: a tilted gantry makes no rectangular grid"
        raise AssemblyRefused("oblique_shear", detail)


def _triple(vector: Array) -> Triple:
    x, y, z = vector.tolist()
    return (x, y, z)
