"""The real case: a T1 head from Debian's mricron-data, its extracted brain, and the two networks that find it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from support.built_engines import ROOT, built_engines

from edge_runtime import config
from edge_runtime.domain import Geometry, SourceImage, Volume
from edge_runtime.yaml_schema import read_schema

TEMPLATES = Path("/usr/share/mricron/templates")
ENGINES = ("mr-brain-locator", "mr-brain-segmenter")
# What the published program gives for this head, and how well it agrees with the reference brain.
PUBLISHED_ML = 1956.468
PUBLISHED_DICE = 0.93585


def engines_folder() -> Path:
    """The repository's engines folder with both engines built."""
    return built_engines(ENGINES)


def pipeline_config() -> tuple[config.Pipeline, config.Engines]:
    """The pipeline of examples/mr-brain.yaml, and where its engines are."""
    example = read_schema(config.Config, ROOT / "examples" / "mr-brain.yaml")
    engines = config.Engines(path=str(engines_folder()), allow_unsigned=True, threads=2)
    return example.pipelines[0], engines


@dataclass(frozen=True)
class Head:
    """The head and its brain, index 0 to Right, 1 to Anterior, 2 to Superior, with 1 mm voxels."""

    image: np.ndarray
    brain: np.ndarray


def read_head() -> Head:
    """Read both files."""
    image, brain = (nibabel.as_closest_canonical(nibabel.load(TEMPLATES / f)) for f in ("ch2.nii.gz", "ch2bet.nii.gz"))
    return Head(np.asarray(image.dataobj, dtype=np.float32), np.asarray(brain.dataobj) > 0)


# For each plane: the LPS vectors along slice, row and column index of a usual series.
PLANES = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "axial from above": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
}


def to_plane(canonical: np.ndarray, plane: str) -> np.ndarray:
    """A canonical array as (slice, row, column) of a plane."""
    return _turn(canonical, plane)[0]


def head_volume(canonical: np.ndarray, plane: str) -> Volume:
    """The head as a volume whose slices lie in a plane."""
    voxels, directions = _turn(canonical, plane)
    geometry = Geometry(voxels.shape, (0.0, 0.0, 0.0), directions, (1.0, 1.0, 1.0), "2.25.1")
    source = SourceImage("1.2.840.10008.5.1.4.1.1.4", "2.25.2")
    return Volume(np.ascontiguousarray(voxels), geometry, "MR", (source,) * len(voxels))


def _turn(canonical: np.ndarray, plane: str) -> tuple[np.ndarray, tuple]:
    ras = (np.array([-1, 0, 0]), np.array([0, -1, 0]), np.array([0, 0, 1]))  # LPS vectors along the canonical axes
    directions = PLANES[plane]
    axes = [next(k for k in range(3) if abs(np.dot(ras[k], d)) == 1) for d in directions]
    steps = tuple(slice(None, None, int(np.dot(ras[k], d))) for k, d in zip(axes, directions, strict=True))
    return canonical.transpose(axes)[steps], tuple(tuple(float(v) for v in d) for d in directions)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks, 0 to 1."""
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
