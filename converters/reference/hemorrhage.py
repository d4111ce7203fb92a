"""Haemorrhages of known place, kind and volume: a rule that says in which order blood fills the points of a head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from converters.reference.anatomy import Head, Tissue
from converters.reference.fields import Points, Waves, draw_waves
from edge_runtime.domain import Array, Triple


class Kind(Enum):
    """Where the blood is."""

    INTRAPARENCHYMAL = "intraparenchymal"
    SUBDURAL = "subdural"
    EPIDURAL = "epidural"
    INTRAVENTRICULAR = "intraventricular"
    SUBARACHNOID = "subarachnoid"


_VOLUMES_ML = {
    Kind.INTRAPARENCHYMAL: (0.3, 60.0),
    Kind.SUBDURAL: (4.0, 60.0),
    Kind.EPIDURAL: (3.0, 60.0),
    Kind.INTRAVENTRICULAR: (0.8, 15.0),
    Kind.SUBARACHNOID: (2.0, 20.0),
}
_HOUNSFIELD = {Kind.SUBARACHNOID: (50.0, 68.0), Kind.INTRAVENTRICULAR: (52.0, 78.0)}
_HOUNSFIELD_ELSE = (52.0, 82.0)
_SHARE = 0.6  # of the space that there is, at most


@dataclass(frozen=True, eq=False)
class Bleed:
    """One haemorrhage: points where `order` is below `level` are blood. `order` depends on the kind; see `order_at`."""

    kind: Kind
    volume_ml: float
    centre: Triple  # in head coordinates, mm
    radii: Triple  # relative extents along left, back, up
    hounsfield: float
    mottled_hu: float  # deviation inside; 0 is homogeneous
    oedema_hu: float  # how much darker the rim around is; 0 is none
    bumps: Waves
    level: float = 0.0

    @property
    def place(self) -> str:
        """Side and height: left or right, and upper, middle or lower third."""
        height = "upper" if self.centre[2] > 25 else "lower" if self.centre[2] < -15 else "middle"
        return f"{'left' if self.centre[0] > 0 else 'right'} {height}"


def draw_bleed(rng: np.random.Generator, kind: Kind, head: Head) -> Bleed:
    """A random haemorrhage of the kind, its level not known yet."""
    low, high = np.log(_VOLUMES_ML[kind])
    side = float(rng.choice((-1.0, 1.0)))
    oedema = kind is Kind.INTRAPARENCHYMAL and rng.uniform() < 0.6
    bright = rng.uniform(*_HOUNSFIELD.get(kind, _HOUNSFIELD_ELSE))
    mottled = rng.uniform(3, 9) if rng.uniform() < 0.35 else rng.uniform(0, 2)
    stretch = rng.uniform(0.75, 1.35, 3)
    return Bleed(
        kind=kind,
        volume_ml=float(np.exp(rng.uniform(low, high))),
        centre=_centre(rng, kind, head, side),
        radii=(float(stretch[0]), float(stretch[1]), float(stretch[2])),
        hounsfield=float(bright),
        mottled_hu=float(mottled),
        oedema_hu=float(rng.uniform(5, 14)) if oedema else 0.0,
        bumps=draw_waves(rng, (18, 45), 5),
    )


def _centre(rng: np.random.Generator, kind: Kind, head: Head, side: float) -> Triple:
    """Where it begins: in the brain, or on the skull's inside, or in an occipital horn."""
    a, b, c = head.inner_radii
    if kind is Kind.INTRAPARENCHYMAL:
        u, v, w = rng.uniform(8, 0.72 * a), rng.uniform(-0.62 * b, 0.62 * b), rng.uniform(-25, 0.62 * c)
        scale = min(1.0, 0.72 / float(np.sqrt((u / a) ** 2 + (v / b) ** 2 + (w / c) ** 2)))
        return (side * u * scale, v * scale, w * scale)
    if kind is Kind.INTRAVENTRICULAR:
        return (side * 22.0, 46.0, float(rng.uniform(4, 12)))
    turn = rng.uniform(0.2, 2.6) if kind is Kind.SUBARACHNOID else rng.uniform(0.5, 2.5)
    lift = np.arcsin(rng.uniform(-0.2, 0.75))
    flat = float(np.cos(lift))
    return (side * a * flat * float(np.sin(turn)), -b * flat * float(np.cos(turn)), c * float(np.sin(lift)))


def order_at(bleed: Bleed, tissue: Tissue, points: Points) -> Array:
    """The order in which blood fills the points, in about mm from the centre; infinite where it cannot be."""
    far = [(p - np.float32(c)) / np.float32(r)
           for p, c, r in zip((points.u, points.v, points.w), bleed.centre, bleed.radii, strict=True)]  # fmt: skip
    distance = np.sqrt(far[0] * far[0] + far[1] * far[1] + far[2] * far[2])
    same_side = points.u * np.float32(np.sign(bleed.centre[0])) > 1.2
    allowed, order = _RULES[bleed.kind](tissue, distance, points)
    bumps = bleed.bumps.at(points) * (1 + np.float32(0.07) * np.minimum(distance, 25))
    order = order + (bumps if bleed.kind is Kind.INTRAPARENCHYMAL else np.float32(0.4) * bumps)
    return np.where(allowed & same_side, order, np.float32(np.inf))


def _intraparenchymal(tissue: Tissue, distance: Array, points: Points) -> tuple[Array, Array]:
    return (tissue.parenchyma | tissue.subarachnoid) & (tissue.depth_mm > 2.5) & (points.w > -48), distance


def _subdural(tissue: Tissue, distance: Array, points: Points) -> tuple[Array, Array]:
    """A crescent: along the skull it reaches nine times as far as it is thick."""
    thin = 9 * tissue.depth_mm
    return _below_skull(tissue, points), np.sqrt(0.8 * distance * distance + thin * thin)


def _epidural(tissue: Tissue, distance: Array, points: Points) -> tuple[Array, Array]:
    """A lens: thickest over its centre."""
    return _below_skull(tissue, points), np.sqrt(distance * distance + np.square(2.2 * tissue.depth_mm))


def _intraventricular(tissue: Tissue, distance: Array, points: Points) -> tuple[Array, Array]:
    """Blood settles at the back of one lateral ventricle."""
    return tissue.ventricle & (points.w > -20), np.float32(0.2) * distance - points.v


def _subarachnoid(tissue: Tissue, distance: Array, points: Points) -> tuple[Array, Array]:
    return tissue.subarachnoid & (points.w > -45), distance


def _below_skull(tissue: Tissue, points: Points) -> Array:
    found: Array = (tissue.depth_mm > 0) & (tissue.hounsfield < 300) & (points.w > -35)
    return found


_RULES = {
    Kind.INTRAPARENCHYMAL: _intraparenchymal,
    Kind.SUBDURAL: _subdural,
    Kind.EPIDURAL: _epidural,
    Kind.INTRAVENTRICULAR: _intraventricular,
    Kind.SUBARACHNOID: _subarachnoid,
}


def settle(bleed: Bleed, order: Array, voxel_ml: float) -> Bleed:
    """The haemorrhage with the level at which it fills its volume, which is cut to the space that there is."""
    values = np.sort(order[np.isfinite(order)])
    count = min(round(bleed.volume_ml / voxel_ml), int(_SHARE * values.size))
    level = float(values[count]) if count >= 1 else float("-inf")
    return replace(bleed, level=level, volume_ml=count * voxel_ml)


def paint(bleed: Bleed, order: Array, tissue: Tissue, points: Points, hounsfield: Array) -> Array:
    """Draw the haemorrhage (and its oedema) into `hounsfield`; returns where the blood is, bool."""
    blood: Array = order < bleed.level
    if bleed.oedema_hu:
        rim = tissue.parenchyma & (order < bleed.level * 1.25 + 2) & ~blood
        np.subtract(hounsfield, np.float32(bleed.oedema_hu), out=hounsfield, where=rim)
    values: Array = np.full_like(hounsfield, bleed.hounsfield)
    if bleed.mottled_hu:
        values = values + np.float32(bleed.mottled_hu) * bleed.bumps.at(
            Points(points.u * 2, points.v * 2, points.w * 2)
        )
    np.copyto(hounsfield, np.clip(values, 48, 88), where=blood)
    return blood
