"""Phantoms: CT heads with or without haemorrhages, whose truth is known voxel for voxel. The same seed, the same head.

The head has no mass effect, and its detail ends at about two millimetres: it is a phantom, not a patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.reference.anatomy import AIR_HU, Head, draw_head, tissue_at
from converters.reference.artefacts import (
    Artefacts,
    Confounder,
    blur,
    draw_artefacts,
    harden,
    noise,
    paint_spots,
    shift_plane,
    streaks,
)
from converters.reference.fields import Points, surface_distance
from converters.reference.hemorrhage import Bleed, Kind, draw_bleed, order_at, paint, settle
from converters.reference.scan import Scan, coordinates, draw_scan
from edge_runtime.domain import Array, Box, Geometry, SourceImage, Volume
from edge_runtime.stages.lesions import largest_diameter_mm

NEGATIVE, POSITIVE, ANY = "negative", "positive", "any"
KINDS = (NEGATIVE, POSITIVE, ANY, *(kind.value for kind in Kind))
_COARSE_MM = 2.0
_GAP = 2  # coarse voxels between two haemorrhages
_TRIES = 8
_SMALLEST_ML = 0.2
_DRAWN_MM = 24.0  # how far beyond the skull's inside a head reaches


@dataclass(frozen=True, eq=False)
class Lesion:
    """A haemorrhage as it lies in the image. mask: bool, the image's shape, read-only; `box` is the mask's."""

    kind: Kind
    place: str
    mask: Array
    volume_ml: float
    box: Box
    diameter_mm: float  # the largest, as the daemon measures it
    planned_ml: float  # before it was cut into voxels


@dataclass(frozen=True, eq=False)
class Phantom:
    """A head CT in HU and what is in it."""

    seed: int
    image: Volume
    lesions: tuple[Lesion, ...]
    confounders: tuple[Confounder, ...]
    scan: Scan

    @property
    def truth(self) -> Array:
        """All haemorrhages as one mask, bool."""
        joined = np.zeros(self.image.voxels.shape, dtype=np.bool_)
        for lesion in self.lesions:
            joined |= lesion.mask
        return joined


def make_phantom(seed: int, kind: str = ANY, matrix: int = 256, slices: int | None = None) -> Phantom:
    """The phantom of a seed.

    `kind` is negative, positive (one to three haemorrhages of any kind), any (either, evenly), or a kind of
    haemorrhage, which the phantom then has once. `matrix` is rows and columns; `slices` fixes their number, which is
    drawn from 24 to 60 otherwise.

    Raises:
        ValueError: `kind` is none of KINDS.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}, got {kind!r}")
    rng = np.random.default_rng(np.random.SeedSequence((seed, KINDS.index(kind))))
    scan = draw_scan(rng, matrix, slices)
    head = draw_head(rng)
    artefacts = draw_artefacts(rng, scan.slices, scan.thickness_mm, matrix)
    bleeds = _draw_bleeds(rng, kind, head, scan)
    hounsfield, masks = _render(head, artefacts, bleeds, scan)
    hounsfield = blur(hounsfield, scan.blur_mm / scan.pixel_mm)
    for index in artefacts.moved_slices:
        if index < scan.slices:
            hounsfield[index] = shift_plane(hounsfield[index], scan.pixel_mm, artefacts.moved_mm)
    hounsfield += noise(rng, hounsfield.shape, artefacts)
    hounsfield += np.float32(scan.offset_hu)
    np.clip(hounsfield, -1024, 3071, out=hounsfield)
    if scan.superior_first:
        hounsfield, masks = hounsfield[::-1], [mask[::-1] for mask in masks]
    image = _image(np.ascontiguousarray(np.round(hounsfield)), scan)
    lesions = tuple(
        _lesion(bleed, np.ascontiguousarray(mask), image.geometry) for bleed, mask in zip(bleeds, masks, strict=True)
    )
    return Phantom(seed, image, lesions, artefacts.present, scan)


def _draw_bleeds(rng: np.random.Generator, kind: str, head: Head, scan: Scan) -> list[Bleed]:
    """Haemorrhages that do not touch each other and lie within the scan."""
    if kind == NEGATIVE or (kind == ANY and rng.uniform() < 0.5):
        return []
    single = kind not in (POSITIVE, ANY)
    wanted = 1 if single else int(rng.choice((1, 2, 3), p=(0.7, 0.22, 0.08)))
    points = _coarse_points(head, scan)
    tissue = tissue_at(head, points)
    taken = np.zeros(points.u.shape, dtype=np.bool_)
    bleeds: list[Bleed] = []
    kinds = list(Kind)
    for _ in range(wanted * _TRIES):
        chosen = Kind(kind) if single else kinds[int(rng.integers(len(kinds)))]
        bleed = draw_bleed(rng, chosen, head)
        order = order_at(bleed, tissue, points)
        bleed = settle(bleed, order, _COARSE_MM**3 / 1000)
        blood = order < bleed.level
        if bleed.volume_ml < _SMALLEST_ML or (blood & taken).any():
            continue
        taken |= _grown(blood)
        bleeds.append(bleed)
        if len(bleeds) == wanted:
            break
    return bleeds


def _grown(mask: Array) -> Array:
    from scipy import ndimage

    grown: Array = ndimage.binary_dilation(mask, iterations=_GAP)
    return grown


def _coarse_points(head: Head, scan: Scan) -> Points:
    """The cranial cavity as far as it is scanned, every two millimetres."""
    a, b, c = head.inner_radii
    low, high = scan.covered_mm
    axes = [
        np.arange(max(low, -head.inner_below) + 4, min(high, c) - 3, _COARSE_MM),
        np.arange(-b, b, _COARSE_MM),
        np.arange(-a, a, _COARSE_MM),
    ]
    w, v, u = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij")
    return Points(u, v, w)


def _render(head: Head, artefacts: Artefacts, bleeds: list[Bleed], scan: Scan) -> tuple[Array, list[Array]]:
    """Mean HU over each slice's thickness, and for each haemorrhage where it fills at least half of a voxel."""
    shape = (scan.slices, scan.matrix, scan.matrix)
    hounsfield = np.full(shape, AIR_HU, dtype=np.float32)
    masks = [np.zeros(shape, dtype=np.bool_) for _ in bleeds]
    a, b, c = (radius + _DRAWN_MM for radius in head.inner_radii)
    for index in range(scan.slices):
        points = coordinates(scan, index)
        _table(scan, hounsfield[index])
        hit = (surface_distance(points, (a, b, c), 150.0) < 0).any(axis=0)
        if not hit.any():
            continue
        inside = Points(points.u[:, hit], points.v[:, hit], points.w[:, hit])
        tissue = tissue_at(head, inside)
        values = tissue.hounsfield
        paint_spots(artefacts, inside, values)
        for bleed, mask in zip(bleeds, masks, strict=True):
            blood = paint(bleed, order_at(bleed, tissue, inside), tissue, inside, values)
            mask[index][hit] = 2 * np.count_nonzero(blood, axis=0) > len(blood)
        harden(artefacts, inside, tissue.depth_mm, values)
        mean = values.mean(axis=0, dtype=np.float32)
        if artefacts.metal is not None:
            middle = Points(*(p.mean(axis=0, dtype=np.float32) for p in (inside.u, inside.v, inside.w)))
            amount = np.exp(-np.square((middle.w - artefacts.metal.centre[2]) / (scan.thickness_mm + 1)))
            if amount.max() > 0.02:
                mean += streaks(artefacts.metal, middle, 1.0) * amount
        table = hounsfield[index][hit]
        hounsfield[index][hit] = np.where(mean > AIR_HU + 1, mean, table)
    return hounsfield, masks


def _table(scan: Scan, plane: Array) -> None:
    """The head rest: a thin curved shell behind the head."""
    if not scan.table:
        return
    column = (np.arange(scan.matrix) - (scan.matrix - 1) / 2) * scan.pixel_mm
    row = 108 - np.square(column) / 260  # mm behind the middle
    for thickness in (0.0, 3.0, 6.0):
        rows = np.round((row + thickness) / scan.pixel_mm + (scan.matrix - 1) / 2).astype(int)
        seen = (rows >= 0) & (rows < scan.matrix) & (np.abs(column) < 85)
        plane[rows[seen], np.flatnonzero(seen)] = -250 if thickness != 3.0 else -850


def _image(voxels: Array, scan: Scan) -> Volume:
    up = -1.0 if scan.superior_first else 1.0
    half = (scan.matrix - 1) / 2 * scan.pixel_mm
    low, high = scan.bottom_mm, scan.bottom_mm + (scan.slices - 1) * scan.spacing_mm
    geometry = Geometry(
        shape=(scan.slices, scan.matrix, scan.matrix),
        origin_mm=(-half, -half, high if scan.superior_first else low),
        directions=((0.0, 0.0, up), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
        spacing_mm=(scan.spacing_mm, scan.pixel_mm, scan.pixel_mm),
    )
    sources = tuple(SourceImage("1.2.840.10008.5.1.4.1.1.2", f"2.25.{index + 1}") for index in range(scan.slices))
    return Volume(voxels.astype(np.float32, copy=False), geometry, "CT", sources)


def _lesion(bleed: Bleed, mask: Array, geometry: Geometry) -> Lesion:
    count = int(np.count_nonzero(mask))
    hits = [np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)]
    if not count:
        raise ValueError(f"a {bleed.kind.value} haemorrhage of {bleed.volume_ml:.2g} ml fills no voxel")
    start, stop = tuple(int(h[0]) for h in hits), tuple(int(h[-1]) + 1 for h in hits)
    mask.setflags(write=False)
    return Lesion(
        kind=bleed.kind,
        place=bleed.place,
        mask=mask,
        volume_ml=count * geometry.voxel_ml,
        box=Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])),
        diameter_mm=largest_diameter_mm(mask, geometry.spacing_mm),
        planned_ml=bleed.volume_ml,
    )
