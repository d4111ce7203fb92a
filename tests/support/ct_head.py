"""Head CTs for the triage pipeline: phantoms, real slices, and what is no head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from support.built_engines import built_engines

from benchmarks.ct_series import Labels, write_ct_series
from benchmarks.heads import uid
from edge_runtime.domain import Geometry, SourceImage, Volume

ENGINES = ("ct-hemorrhage-classifier", "ct-hemorrhage-detector", "ct-hemorrhage-segmenter")
REAL_HEAD = "693_J2KI.dcm"  # pydicom: 5 mm head CT of 512 x 512 pixels, JPEG 2000
TILTED_HEAD = "J2K_pixelrep_mismatch.dcm"  # pydicom: head CT with the gantry tilted by 22 degrees, JPEG 2000


def engines_folder() -> Path:
    """The repository's engines folder with the three engines built."""
    return built_engines(ENGINES)


def write_real_series(name: str, folder: Path, slices: int, step_mm: tuple[float, float, float]) -> list[Path]:
    """A series of one real slice again and again, each under its own UID and one step further; pixel data untouched."""
    folder.mkdir(parents=True)
    source = pydicom.dcmread(get_testdata_file(name))
    first = np.array([float(v) for v in source.ImagePositionPatient])
    paths = []
    for index in range(slices):
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = uid(name, folder, index)
        source.SeriesInstanceUID, source.BodyPartExamined = uid(name, folder), "HEAD"
        source.InstanceNumber = index + 1
        source.ImagePositionPatient = [f"{v:.6f}" for v in first + index * np.asarray(step_mm)]
        paths.append(folder / f"{index:04d}.dcm")
        source.save_as(paths[-1])
    return paths


def image(voxels: np.ndarray, spacing_mm: tuple[float, float, float]) -> Volume:
    """Axial slices of HU, from the feet up."""
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    geometry = Geometry(voxels.shape, (0.0, 0.0, 0.0), axes, spacing_mm)
    return Volume(voxels.astype(np.float32), geometry, "CT", (SourceImage("1.2", "2.25.1"),) * len(voxels))


def foot(slices: int = 40) -> Volume:
    """A foot-like thing: 0.9 l of soft tissue around two thin-walled bones, in air."""
    z, y, x = np.meshgrid(np.arange(slices), np.arange(128), np.arange(128), indexing="ij")
    voxels = np.full(z.shape, -1000.0)
    voxels[((y - 64) / 30.0) ** 2 + ((x - 64) / 22.0) ** 2 < 1] = 55.0
    for centre in (52, 76):
        bone = np.hypot(y - centre, x - 64)
        voxels[bone < 8] = 30.0
        voxels[(bone >= 6) & (bone < 8)] = 900.0
    return image(voxels, (5.0, 1.6, 1.6))


def write_foot(folder: Path) -> list[Path]:
    """The foot as a CT series that claims to be a head."""
    return write_ct_series(foot(), folder, Labels("foot"))
