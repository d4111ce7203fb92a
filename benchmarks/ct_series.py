"""A CT volume as a DICOM series, as a scanner would write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from benchmarks.heads import Array, uid
from edge_runtime.domain import Geometry, Volume

_INTERCEPT = -1024


@dataclass(frozen=True)
class Labels:
    """What a series is called. UIDs follow from `name`."""

    name: str
    patient: tuple[str, str] = ("Phantom^Head", "PHANTOM")  # name and ID
    accession_number: str = ""
    description: str = "Head without contrast"
    body_part: str = "HEAD"


def write_ct_series(image: Volume, folder: Path, labels: Labels) -> list[Path]:
    """Write one CT Image Storage file a slice; the paths in slice order. Values are HU, -1024 to 3071."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.clip(np.round(image.voxels), _INTERCEPT, 3071).astype(np.int32) - _INTERCEPT
    paths = []
    for index, pixels in enumerate(stored.astype("<u2")):
        path = folder / f"{index:04d}.dcm"
        ct_slice(pixels, index, image.geometry, labels).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def ct_slice(pixels: Array, index: int, geometry: Geometry, labels: Labels) -> Dataset:
    """One slice. pixels: uint16 (rows, columns), HU + 1024."""
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SpecificCharacterSet = "ISO_IR 192"
    d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    d.SOPClassUID = CTImageStorage
    d.SOPInstanceUID = uid(labels.name, "instance", index)
    d.StudyInstanceUID = uid(labels.name, "study")
    d.SeriesInstanceUID = uid(labels.name, "series")
    d.FrameOfReferenceUID = uid(labels.name, "frame of reference")
    d.StudyDate = d.SeriesDate = d.AcquisitionDate = d.ContentDate = "20260101"
    d.StudyTime = d.SeriesTime = d.AcquisitionTime = d.ContentTime = "120000"
    d.Modality, d.BodyPartExamined, d.SeriesDescription = "CT", labels.body_part, labels.description
    d.Manufacturer, d.ReferringPhysicianName, d.StudyID = "Edge Runtime phantom", "", "1"
    d.AccessionNumber = labels.accession_number
    d.PatientName, d.PatientID = labels.patient
    d.PatientBirthDate, d.PatientSex = "", "O"
    d.PatientPosition, d.PositionReferenceIndicator = "HFS", ""
    d.KVP, d.GantryDetectorTilt = "120", "0"
    d.SeriesNumber, d.AcquisitionNumber, d.InstanceNumber = 2, 1, index + 1
    between, row, column = geometry.spacing_mm
    _, down, right = geometry.directions
    d.ImagePositionPatient = [f"{v:.6f}" for v in geometry.position_mm((index, 0, 0))]
    d.ImageOrientationPatient = [f"{v:.6g}" for v in (*right, *down)]
    d.PixelSpacing, d.SliceThickness = [f"{row:.8g}", f"{column:.8g}"], f"{between:.6g}"
    d.RescaleSlope, d.RescaleIntercept, d.RescaleType = "1", str(_INTERCEPT), "HU"
    d.WindowCenter, d.WindowWidth = "40", "80"
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = pixels.shape
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
    d.BurnedInAnnotation = "NO"
    d.PixelData = np.ascontiguousarray(pixels).astype("<u2").tobytes()
    return d
