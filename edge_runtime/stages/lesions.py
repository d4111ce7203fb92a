"""Lesions of a mask: its connected parts, each with volume and largest diameter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.domain import Array, Box, Code, Geometry, Measurement
from edge_runtime.engines.views import Region

VOLUME = Code("118565006", "SCT", "Volume")
MILLILITRE = Code("ml", "UCUM", "milliliter")
DIAMETER = Code("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh")
MILLIMETRE = Code("mm", "UCUM", "millimeter")

_FACES = np.vstack([np.eye(3), -np.eye(3)]) / 2


@dataclass(frozen=True, eq=False)
class Lesion:
    """One connected part. voxels: bool, the box's shape."""

    box: Box
    voxels: Array
    volume: Measurement
    diameter: Measurement

    @property
    def region(self) -> Region:
        """The box as a region that a later stage may run within."""
        return Region(tuple(map(float, self.box.start)), tuple(map(float, self.box.stop)))

    def on_grid(self, shape: tuple[int, int, int]) -> Array:
        """The lesion's mask on the whole grid."""
        whole = np.zeros(shape, dtype=np.bool_)
        whole[self.box.slices] = self.voxels
        return whole


def lesions(mask: Array, geometry: Geometry, minimum_ml: float = 0.0) -> list[Lesion]:
    """The parts of a mask (slices, rows, columns) that hang together by face, edge or corner; the largest first.

    Parts smaller than `minimum_ml` are left out.
    """
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    found = []
    for index, (z, y, x) in enumerate(ndimage.find_objects(labels)):
        part = labels[z, y, x] == index + 1
        volume = volume_of(part, geometry)
        if volume.value >= minimum_ml:
            diameter = Measurement(DIAMETER, largest_diameter_mm(part, geometry.spacing_mm), MILLIMETRE)
            found.append(Lesion(Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop)), part, volume, diameter))
    return sorted(found, key=lambda lesion: (-lesion.volume.value, lesion.box.start))


def volume_of(mask: Array, geometry: Geometry) -> Measurement:
    """The mask's volume in ml."""
    return Measurement(VOLUME, int(np.count_nonzero(mask)) * geometry.voxel_ml, MILLILITRE)


def largest_diameter_mm(mask: Array, spacing_mm: tuple[float, float, float]) -> float:
    """The largest distance between two points of a mask's surface, taken at the middles of its voxels' faces.

    Never 0: a single voxel is as wide as its largest extent.

    Raises:
        ValueError: the mask is empty.
    """
    from scipy import ndimage
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    surface = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    if not len(surface):
        raise ValueError("an empty mask has no diameter")
    faces = np.unique((2 * surface[:, None, :] + np.round(2 * _FACES).astype(int)).reshape(-1, 3), axis=0)
    points = faces / 2 * np.asarray(spacing_mm)
    return float(pdist(points[ConvexHull(points).vertices]).max())
