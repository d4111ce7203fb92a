"""A real MR head as a DICOM series: Debian's `mricron-data` carries the T1 volume and its extracted brain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

TEMPLATES = Path("/usr/share/mricron/templates")
HEAD = TEMPLATES / "ch2.nii.gz"
BRAIN = TEMPLATES / "ch2bet.nii.gz"

PLANES = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
"""Which RAS axis runs along slices, rows and columns."""

_FLIPPED = {"axial": (False, True, True), "coronal": (True, True, True), "sagittal": (True, True, True)}
"""Which of them run against RAS, so that the picture stands as radiologists expect it."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Head:
    """Voxels in RAS index order (right, anterior, superior), 1 mm apart; `origin_mm`: RAS position of the first."""

    voxels: Array
    origin_mm: tuple[float, float, float]


def load_nifti(path: Path) -> Head:
    """Read a NIfTI of 1 mm isotropic voxels in its closest canonical (RAS) orientation."""
    import nibabel

    image = nibabel.as_closest_canonical(nibabel.load(path))
    x, y, z = image.affine[:3, 3].tolist()
    return Head(np.asarray(image.dataobj), (x, y, z))


def uid(*parts: object) -> str:
    """A UID that depends on the parts alone."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_mr_series(
    head: Head,
    folder: Path,
    *,
    plane: str = "axial",
    name: str = "ch2",
    slope: float = 1.0,
    intercept: float = 0.0,
    patient: tuple[str, str] = ("Template^Head", "CH2"),
) -> list[Path]:
    """Write one MR Image Storage file a slice and return the paths in slice order.

    With `slope` and `intercept` the stored values are (value - intercept) / slope, rounded, signed where needed.
    """
    axes, flipped = PLANES[plane], _FLIPPED[plane]
    stack = np.transpose(head.voxels, axes)
    stack = stack[tuple(slice(None, None, -1 if f else 1) for f in flipped)]
    signs = [-1.0 if f else 1.0 for f in flipped]
    ras = np.eye(3)
    steps = [ras[axis] * sign for axis, sign in zip(axes, signs, strict=True)]
    start = np.asarray(head.origin_mm, dtype=np.float64)
    for axis, f in zip(axes, flipped, strict=True):
        start = start + (ras[axis] * (head.voxels.shape[axis] - 1) if f else 0.0)
    to_lps = np.array([-1.0, -1.0, 1.0])
    stored = np.round((stack.astype(np.float64) - intercept) / slope).astype(np.int16)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, pixels in enumerate(stored):
        data_set = _slice(pixels, name, plane, index, patient)
        data_set.ImagePositionPatient = [f"{v:.6g}" for v in (start + steps[0] * index) * to_lps]
        data_set.ImageOrientationPatient = [f"{v:.6g}" for step in (steps[2], steps[1]) for v in step * to_lps]
        if (slope, intercept) != (1.0, 0.0):
            data_set.RescaleSlope, data_set.RescaleIntercept, data_set.RescaleType = (
                f"{slope:g}",
                f"{intercept:g}",
                "US",
            )
        path = folder / f"{index:04d}.dcm"
        data_set.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _slice(pixels: Array, name: str, plane: str, index: int, patient: tuple[str, str]) -> Dataset:
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SpecificCharacterSet = "ISO_IR 192"
    d.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    d.SOPClassUID = MRImageStorage
    d.SOPInstanceUID = uid(name, plane, index)
    d.StudyInstanceUID = uid(name, "study")
    d.SeriesInstanceUID = uid(name, plane)
    d.FrameOfReferenceUID = uid(name, "frame of reference")
    d.StudyDate = d.SeriesDate = d.ContentDate = "20260101"
    d.StudyTime = d.SeriesTime = d.ContentTime = "120000"
    d.Modality, d.BodyPartExamined, d.SeriesDescription = "MR", "HEAD", f"T1 {plane}"
    d.Manufacturer, d.AccessionNumber, d.ReferringPhysicianName, d.StudyID = "mricron", "", "", "1"
    d.PatientName, d.PatientID = patient
    d.PatientBirthDate, d.PatientSex = "", "O"
    d.PatientPosition, d.PositionReferenceIndicator = "HFS", ""
    d.ScanningSequence, d.SequenceVariant, d.ScanOptions, d.MRAcquisitionType = "GR", "SP", "", "3D"
    d.EchoTime, d.RepetitionTime, d.FlipAngle, d.EchoTrainLength, d.InversionTime = "4.6", "18", "10", "1", "0"
    d.SeriesNumber, d.AcquisitionNumber, d.InstanceNumber = 1, 1, index + 1
    d.PixelSpacing, d.SliceThickness = ["1", "1"], "1"
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = pixels.shape
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
    d.BurnedInAnnotation = "NO"
    d.PixelData = np.ascontiguousarray(pixels).astype("<i2").tobytes()
    return d


def brain_on_series(brain: Head, plane: str = "axial") -> Array:
    """The extracted brain's mask (bool) in the slice, row, column order of `write_mr_series`."""
    stack = np.transpose(brain.voxels, PLANES[plane])
    flips = tuple(slice(None, None, -1 if f else 1) for f in _FLIPPED[plane])
    return np.ascontiguousarray(stack[flips] > 0)


def dice(a: Array, b: Array) -> float:
    """Overlap of two masks: 2 |A and B| / (|A| + |B|) (Dice 1945)."""
    return float(2.0 * np.logical_and(a, b).sum() / (a.sum() + b.sum()))
