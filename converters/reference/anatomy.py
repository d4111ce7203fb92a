"""A head: skull, brain, fluid spaces, sheets of dura and venous sinuses, as tissue and Hounsfield units at points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.reference.fields import Points, Waves, capsule, draw_waves, ellipsoid, surface_distance
from edge_runtime.domain import Array, Triple

AIR_HU = -1000.0
_BASE_NORMAL = (0.64, 0.77)  # the floor of the anterior fossa: forwards and down
_BASE_MM = 50.0


@dataclass(frozen=True, eq=False)
class Head:
    """One head's sizes in mm and densities in HU."""

    inner_radii: Triple  # of the skull's inside: left, back, up
    inner_below: float
    skull_mm: float
    scalp_mm: float
    taper: float  # how much narrower the front is
    ventricle_scale: float
    space_mm: float  # between brain and skull
    sulcus: float
    sulcus_depth_mm: float
    falx_bend_mm: float
    white_hu: float
    grey_hu: float
    fluid_hu: float
    dura_hu: float
    sinus_hu: float
    bumps: Waves
    folds: Waves
    texture: Waves


@dataclass(frozen=True, eq=False)
class Tissue:
    """What is at points. `depth_mm` below the skull's inside, `hounsfield` float32, the rest bool."""

    depth_mm: Array
    hounsfield: Array
    parenchyma: Array
    ventricle: Array
    subarachnoid: Array


def draw_head(rng: np.random.Generator) -> Head:
    """A random adult head."""
    age = rng.uniform(0, 1)  # widens every fluid space together
    white = rng.uniform(25, 30)
    return Head(
        inner_radii=(rng.uniform(63, 71), rng.uniform(78, 88), rng.uniform(70, 79)),
        inner_below=rng.uniform(54, 61),
        skull_mm=rng.uniform(5.0, 8.5),
        scalp_mm=rng.uniform(3.5, 8.0),
        taper=rng.uniform(0.05, 0.14),
        ventricle_scale=0.65 + 0.7 * age + rng.uniform(-0.1, 0.15),
        space_mm=0.8 + 2.7 * age + rng.uniform(0, 0.5),
        sulcus=0.10 + 0.38 * age + rng.uniform(0, 0.08),
        sulcus_depth_mm=rng.uniform(11, 18),
        falx_bend_mm=rng.uniform(-2, 2),
        white_hu=white,
        grey_hu=white + rng.uniform(6.5, 11),
        fluid_hu=rng.uniform(3, 11),
        dura_hu=rng.uniform(42, 56),
        sinus_hu=rng.uniform(46, 66),
        bumps=draw_waves(rng, (60, 140), 5),
        folds=draw_waves(rng, (15, 24), 7),
        texture=draw_waves(rng, (25, 70), 4),
    )


def skull_distance(head: Head, points: Points) -> tuple[Array, Array]:
    """Distance to the skull's inside (negative in the cranial cavity), and the slow bumps of the skull."""
    bumps = head.bumps.at(points)
    narrowed = Points(points.u * (1 - np.float32(head.taper / head.inner_radii[1]) * points.v), points.v, points.w)
    distance = surface_distance(narrowed, head.inner_radii, head.inner_below) + np.float32(1.2) * bumps
    floor = np.float32(-_BASE_NORMAL[0]) * points.v - np.float32(_BASE_NORMAL[1]) * points.w - np.float32(_BASE_MM)
    return np.maximum(distance, floor), bumps


def tissue_at(head: Head, points: Points) -> Tissue:
    """Tissue and Hounsfield units of the head without lesions."""
    distance, bumps = skull_distance(head, points)
    hounsfield = _outside(head, points, distance, bumps)
    inside = distance < 0
    depth = -distance
    texture = head.texture.at(points)
    folds = np.abs(head.folds.at(points))
    ventricle = inside & _ventricles(head, points)
    sulci = folds < np.float32(head.sulcus) * (1 - depth / np.float32(head.sulcus_depth_mm))
    subarachnoid = inside & ~ventricle & (sulci | (depth < head.space_mm) | _cisterns(head, points, depth, texture))
    parenchyma = inside & ~ventricle & ~subarachnoid
    ribbon = (depth < head.sulcus_depth_mm + 3) & (folds < head.sulcus + 0.9)
    grey = ribbon | (depth < head.space_mm + 3.5) | _deep_grey(points)
    tissue = np.where(grey, np.float32(head.grey_hu), np.float32(head.white_hu)) + np.float32(0.8) * texture
    np.copyto(hounsfield, tissue, where=parenchyma)
    np.copyto(hounsfield, np.float32(head.fluid_hu), where=subarachnoid | ventricle)
    for where, value in _dura(head, points, depth, inside):
        np.copyto(hounsfield, np.float32(value), where=where)
        parenchyma &= ~where
        subarachnoid &= ~where
    petrous = inside & (capsule(points.mirrored(), (18, 6, -40), (60, 30, -42)) < 8 + bumps)
    np.copyto(hounsfield, np.float32(1150) + np.float32(250) * bumps, where=petrous)
    return Tissue(depth, hounsfield, parenchyma & ~petrous, ventricle & ~petrous, subarachnoid & ~petrous)


def _outside(head: Head, points: Points, distance: Array, bumps: Array) -> Array:
    """Air, scalp and face, skull with its diploe, orbits and the sphenoid sinus."""
    a, b, c = head.inner_radii
    shell = head.skull_mm + head.scalp_mm
    skin = surface_distance(points, (a + shell, b + shell, c + shell), 130.0) + np.float32(1.2) * bumps
    hounsfield = np.full(points.u.shape, AIR_HU, dtype=np.float32)
    np.copyto(hounsfield, np.float32(30) - np.float32(40) * (bumps > 0.3), where=skin < 0)
    np.copyto(hounsfield, np.float32(45), where=(skin < 0) & (skin > -2))
    for side in (-1, 1):
        orbit = ellipsoid(points, (31.0 * side, -62, -40), (20, 22, 18))
        np.copyto(hounsfield, np.float32(-85), where=(orbit < 1) & (skin < -3) & (distance > 0))
        eye = ellipsoid(points, (32.0 * side, -66, -40), (12, 12, 12))
        np.copyto(hounsfield, np.float32(10), where=(eye < 1) & (skin < 0) & (distance > 0))
        np.copyto(hounsfield, np.float32(45), where=(eye < 1) & (eye > 0.9) & (skin < 0) & (distance > 0))
    thickness = np.float32(head.skull_mm) * (1 + np.float32(0.22) * bumps)
    relative = distance / np.maximum(thickness, 2)
    bone = (relative >= 0) & (relative < 1) & (skin < 0)
    diploe = bone & (np.abs(relative - np.float32(0.5)) < 0.22)
    np.copyto(hounsfield, np.float32(1250) + np.float32(150) * bumps, where=bone)
    np.copyto(hounsfield, np.float32(550) + np.float32(200) * bumps, where=diploe)
    sinus = ellipsoid(points, (0, -38, -50), (15, 12, 9))
    np.copyto(hounsfield, np.float32(-850), where=(sinus < 1) & (distance > 2))
    return hounsfield


def _ventricles(head: Head, points: Points) -> Array:
    """Both lateral ventricles with their horns, the third and the fourth."""
    s = head.ventricle_scale
    folded = Points(np.abs(points.u - np.float32(0.5 * head.falx_bend_mm)), points.v, points.w)
    width = 1 + 0.3 * (s - 1)
    frontal, body, atrium = (9 * width, -36, 9), (12 * width, -4, 21), (21 * width, 27, 15)
    lateral = capsule(folded, frontal, body) < 4.6 * s
    lateral |= capsule(folded, body, atrium) < 5.4 * s
    lateral |= capsule(folded, atrium, (22 * width, 45, 9)) < 4.6 * s
    lateral |= capsule(folded, atrium, (31 * width, 4, -15)) < 2.3 * s
    lateral &= folded.u > 1.4
    lateral |= ellipsoid(points, (0, 4, 0), (2.2 * s, 14, 10)) < 1
    lateral |= ellipsoid(points, (0, 36, -30), (7 * s, 6 * s, 9)) < 1
    return lateral


def _cisterns(head: Head, points: Points, depth: Array, texture: Array) -> Array:
    """Suprasellar and ambient cisterns, Sylvian fissures and the gap between the hemispheres."""
    folded = points.mirrored()
    narrow = np.float32(0.6 + 3.5 * head.sulcus)
    lens = narrow * (1 - np.square((folded.v + 9) / 26))
    fissure = (np.abs(folded.w - np.float32(0.25) * folded.v + 4 - 3 * texture) < lens) & (folded.u > 36 + 3 * texture)
    gap = (folded.u < 0.6 + narrow) & (depth < 28) & (points.w > -8)
    basal = (ellipsoid(points, (0, -6, -20), (13, 11, 5)) < 1) | (ellipsoid(points, (0, 26, -12), (13, 5, 5)) < 1)
    found: Array = fissure | gap | basal
    return found


def _deep_grey(points: Points) -> Array:
    folded = points.mirrored()
    found = ellipsoid(folded, (25, -6, 4), (7, 19, 11)) < 1
    found |= ellipsoid(folded, (11, 10, 5), (8, 13, 8)) < 1
    return found | (points.w < -42)  # the cerebellum's cortex is too fine to see


def _dura(head: Head, points: Points, depth: Array, inside: Array) -> list[tuple[Array, float]]:
    """Falx, tentorium and the venous sinuses in them, with their HU."""
    across = np.abs(points.u - np.float32(head.falx_bend_mm) * np.exp(-np.square(depth / 40)))
    falx = inside & (across < 0.9) & (depth < 34) & (points.w > -6)
    side = np.abs(points.u)
    sheet = np.abs(points.w + 6 + np.float32(0.32) * side + np.float32(0.12) * (points.v - 20))
    behind = inside & (points.v > 14 + 0.15 * side) & (depth < 48)
    tentorium = behind & (sheet < 0.8)
    sagittal = inside & (across < 4.5 * (1 - depth / 7.5)) & ((points.w > 5) | (points.v > 45))
    transverse = behind & (sheet < 3.8) & (depth < 5.5) & (points.v > 25)
    return [(falx | tentorium, head.dura_hu), (sagittal | transverse, head.sinus_hu)]
