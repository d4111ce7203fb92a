"""Makers of synthetic DICOM objects from arrays: deterministic, with values that no patient has.

`volume_series` gives CT, MR or PT slices of any orientation; `enhanced` the same as one multi-frame object;
`picture` and `multi_frame` anything two-dimensional. Arguments named by DICOM keywords set or (None) delete attributes.
`save` writes a Part 10 file in any native syntax or RLE; `dcmtk` turns it into the others.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
)

NATIVE_SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
DX = "1.2.840.10008.5.1.4.1.1.1.1"
US_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PET = "1.2.840.10008.5.1.4.1.1.128"
AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))  # row direction, column direction
SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
CORONAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))


def uid(*parts: object) -> str:
    """A UID that is the same whenever the parts are."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def picture(
    pixels: np.ndarray, *, modality: str = "DX", sop_class: str = DX, name: str = "picture", **attributes: Any
) -> Dataset:
    """One object from stored pixels: (rows, columns) integers or (rows, columns, 3) uint8 RGB."""
    return _with_pixels(_header(modality, sop_class, name), pixels, frames=None, attributes=attributes)


def multi_frame(
    pixels: np.ndarray, *, modality: str = "US", sop_class: str = US_MULTI_FRAME, name: str = "clip", **attributes: Any
) -> Dataset:
    """One object from (frames, rows, columns) or (frames, rows, columns, 3)."""
    return _with_pixels(_header(modality, sop_class, name), pixels, frames=len(pixels), attributes=attributes)


def volume_series(
    voxels: np.ndarray,
    *,
    modality: str = "CT",
    spacing_mm: Sequence[float] = (5.0, 0.5, 0.5),
    origin_mm: Sequence[float] = (-10.0, -20.0, 30.0),
    orientation: Sequence[Sequence[float]] = AXIAL,
    rescale: tuple[float, float] | None = (1.0, -1024.0),
    name: str = "series",
    **attributes: Any,
) -> list[Dataset]:
    """Slices from stored (slice, row, column) integers, ascending along the normal row x column direction.

    Instance Numbers descend, to lead astray whoever sorts by them.
    """
    row, column = (np.asarray(vector, float) for vector in orientation)
    normal = np.cross(row, column)
    sop_class = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PET}[modality]
    series = []
    for k, stored in enumerate(voxels):
        data_set = _header(modality, sop_class, name, instance=k)
        data_set.InstanceNumber = len(voxels) - k
        data_set.ImagePositionPatient = _decimals(np.asarray(origin_mm, float) + k * spacing_mm[0] * normal)
        data_set.ImageOrientationPatient = _decimals([*row, *column])
        data_set.PixelSpacing = _decimals(spacing_mm[1:])
        data_set.SliceThickness = "1.25"  # not the spacing, on purpose
        if rescale is not None:
            data_set.RescaleSlope, data_set.RescaleIntercept = _decimals(rescale)
        series.append(_with_pixels(data_set, stored, frames=None, attributes=attributes))
    return series


def ct_series(hounsfield: np.ndarray, **options: Any) -> list[Dataset]:
    """CT slices from (slice, row, column) HU of -1024 to 3071, stored unsigned in 12 of 16 bits, intercept -1024."""
    stored = (np.asarray(hounsfield) + 1024).astype(np.uint16)
    return volume_series(stored, **{"BitsStored": 12, "HighBit": 11, "BodyPartExamined": "HEAD", **options})


def mr_series(signal: np.ndarray, **options: Any) -> list[Dataset]:
    """MR slices from (slice, row, column) signal of 0 or more, without rescale."""
    stored = np.asarray(signal).astype(np.uint16)
    defaults = {"modality": "MR", "rescale": None, "spacing_mm": (1.0, 1.0, 1.0), "BodyPartExamined": "BRAIN"}
    return volume_series(stored, **{**defaults, **options})


def enhanced(
    voxels: np.ndarray,
    *,
    modality: str = "CT",
    spacing_mm: Sequence[float] = (5.0, 0.5, 0.5),
    origin_mm: Sequence[float] = (-10.0, -20.0, 30.0),
    orientation: Sequence[Sequence[float]] = AXIAL,
    rescales: Sequence[tuple[float, float]] | None = None,
    order: Sequence[int] | None = None,
    name: str = "enhanced",
    **attributes: Any,
) -> Dataset:
    """An Enhanced CT or MR object; `order` gives the slice that each frame holds, `rescales` one a slice."""
    row, column = (np.asarray(vector, float) for vector in orientation)
    normal = np.cross(row, column)
    order = range(len(voxels)) if order is None else order
    sop_class = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage}[modality]
    data_set = _header(modality, sop_class, name)
    data_set.SharedFunctionalGroupsSequence = Items(
        [
            _item(
                PlaneOrientationSequence=_item(ImageOrientationPatient=_decimals([*row, *column])),
                PixelMeasuresSequence=_item(PixelSpacing=_decimals(spacing_mm[1:]), SliceThickness="1.25"),
            )
        ]
    )
    groups = []
    for k in order:
        slope, intercept = rescales[k] if rescales else (1.0, -1024.0)
        position = np.asarray(origin_mm, float) + k * spacing_mm[0] * normal
        transformation = dict(zip(("RescaleSlope", "RescaleIntercept"), _decimals((slope, intercept)), strict=True))
        groups.append(
            _item(
                PlanePositionSequence=_item(ImagePositionPatient=_decimals(position)),
                PixelValueTransformationSequence=_item(**transformation, RescaleType="HU"),
                FrameContentSequence=_item(StackID="1", InStackPositionNumber=k + 1),
            )
        )
    data_set.PerFrameFunctionalGroupsSequence = Items(groups)
    return _with_pixels(data_set, np.asarray(voxels)[list(order)], frames=len(voxels), attributes=attributes)


def ultrasound_region(delta_cm: tuple[float, float] = (0.05, 0.05), units: int = 3, spatial_format: int = 1) -> Dataset:
    """An item of Sequence of Ultrasound Regions; `delta_cm` is (x, y)."""
    return _item(
        RegionSpatialFormat=spatial_format,
        RegionDataType=1,
        RegionFlags=0,
        RegionLocationMinX0=0,
        RegionLocationMinY0=0,
        RegionLocationMaxX1=31,
        RegionLocationMaxY1=23,
        PhysicalUnitsXDirection=units,
        PhysicalUnitsYDirection=units,
        PhysicalDeltaX=delta_cm[0],
        PhysicalDeltaY=delta_cm[1],
    )


def save(data_set: Dataset, path: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a Part 10 file; `data_set` stays as it is (little endian, native)."""
    written = Dataset()
    written.update({element.tag: element for element in data_set})
    written.file_meta = FileMetaDataset()
    written.file_meta.TransferSyntaxUID = transfer_syntax
    written.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    written.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    if transfer_syntax == ExplicitVRBigEndian and data_set.get("BitsAllocated") == 16:
        written.PixelData = np.frombuffer(data_set.PixelData, "<u2").astype(">u2").tobytes()
    if transfer_syntax == RLELossless:
        written.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        written.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    written.save_as(path, enforce_file_format=True)
    return path


def save_series(series: Iterable[Dataset], folder: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> list[Path]:
    """Write each object to folder/NNNN.dcm, in the order given."""
    return [save(data_set, folder / f"{k:04}.dcm", transfer_syntax) for k, data_set in enumerate(series)]


def dcmtk(command: Sequence[str], source: Path, target: Path) -> Path:
    """Run a DCMTK converter such as ("dcmcjpeg", "+e1") from one file to another."""
    subprocess.run([*command, str(source), str(target)], check=True, capture_output=True, timeout=60)
    return target


def _header(modality: str, sop_class: str, name: str, instance: int = 0) -> Dataset:
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data_set.SOPClassUID = sop_class
    data_set.SOPInstanceUID = uid(name, "instance", instance)
    data_set.StudyDate = data_set.SeriesDate = data_set.ContentDate = "20200102"
    data_set.StudyTime = data_set.SeriesTime = data_set.ContentTime = "030405"
    data_set.AccessionNumber = "TEST-0001"
    data_set.Modality = modality
    data_set.Manufacturer = "Synthetic"
    data_set.ReferringPhysicianName = ""
    data_set.SeriesDescription = f"{modality} synthetic"
    data_set.PatientName = "Synthetic^Phantom"
    data_set.PatientID = "PHANTOM-1"
    data_set.PatientBirthDate = "19700101"
    data_set.PatientSex = "O"
    data_set.StudyInstanceUID = uid(name, "study")
    data_set.SeriesInstanceUID = uid(name, "series")
    data_set.StudyID = "1"
    data_set.SeriesNumber = 1
    data_set.InstanceNumber = instance + 1
    if modality in ("CT", "MR", "PT"):
        data_set.FrameOfReferenceUID = uid(name, "frame-of-reference")
        data_set.PositionReferenceIndicator = ""
    data_set.BurnedInAnnotation = "NO"
    return data_set


def _with_pixels(data_set: Dataset, pixels: np.ndarray, frames: int | None, attributes: dict[str, Any]) -> Dataset:
    pixels = np.ascontiguousarray(pixels)
    shape = pixels.shape if frames is None else pixels.shape[1:]
    bits = 8 * pixels.dtype.itemsize
    data_set.Rows, data_set.Columns = shape[:2]
    data_set.SamplesPerPixel = 3 if len(shape) == 3 else 1
    data_set.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    if len(shape) == 3:
        data_set.PlanarConfiguration = 0
    if frames is not None:
        data_set.NumberOfFrames = frames
    data_set.BitsAllocated = data_set.BitsStored = bits
    data_set.HighBit = bits - 1
    data_set.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    data_set.add_new("PixelData", "OW" if bits == 16 else "OB", data + b"\0" * (len(data) % 2))
    for keyword, value in attributes.items():
        if value is None and keyword in data_set:
            delattr(data_set, keyword)
        elif value is not None:
            setattr(data_set, keyword, value)
    return data_set


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, Items([value]) if isinstance(value, Dataset) else value)
    return item


def _decimals(values: Iterable[float]) -> list[str]:
    """Decimal Strings: at most 16 characters each (PS3.5 6.2)."""
    return [
        min((f"{float(v):.{digits}g}" for digits in (10, 9, 8)), key=lambda text: (len(text) > 16, -len(text)))
        for v in values
    ]
