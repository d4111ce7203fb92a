"""Instances to send: CT slices that no compression makes smaller, and a series under ever new UIDs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SIDE = 512
_SALT = 1_000_000_000
_ROOT = "1.2.826.0.1.3680043.8.498"
_SEED = 7


class CtSlices:
    """`count` CT slices of 512 x 512 pixels of 16 bits (525 KB) that can be written again under new UIDs."""

    def __init__(self, count: int) -> None:
        generator = np.random.default_rng(_SEED)
        self._templates = [_encode(_ct(index, generator)) for index in range(count)]
        self._written = 0

    @property
    def bytes_each(self) -> int:
        """Size of one Part 10 file."""
        return len(self._templates[0])

    def write(self, folder: Path, count: int, folders: int = 1) -> list[Path]:
        """Write the first `count` slices under UIDs that were never written before, dealt to that many folders."""
        self._written += 1
        old, new = f".{_SALT}.".encode(), f".{_SALT + self._written}.".encode()
        places = [folder / str(number) for number in range(folders)]
        for place in places:
            place.mkdir(parents=True)
        for index, template in enumerate(self._templates[:count]):
            head, pixels = template[:2048], template[2048:]
            (places[index % folders] / f"{index:04d}.dcm").write_bytes(head.replace(old, new) + pixels)
        return places


def _ct(index: int, generator: np.random.Generator) -> Dataset:
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SOPClassUID = CTImageStorage
    d.SOPInstanceUID = f"{_ROOT}.{_SALT}.{10_000 + index}"
    d.StudyInstanceUID, d.SeriesInstanceUID = f"{_ROOT}.{_SALT}.1", f"{_ROOT}.{_SALT}.2"
    d.FrameOfReferenceUID = f"{_ROOT}.{_SALT}.3"
    d.ImageType, d.Modality, d.BodyPartExamined = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT", "HEAD"
    d.PatientName, d.PatientID, d.StudyDate, d.StudyTime = "Bench^Ingest", "BENCH", "20260101", "120000"
    d.InstanceNumber = index + 1
    d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, index], [1, 0, 0, 0, 1, 0]
    d.PixelSpacing, d.SliceThickness, d.RescaleSlope, d.RescaleIntercept = [0.5, 0.5], 1, 1, -1024
    d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", SIDE, SIDE
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 0
    d.PixelData = generator.integers(0, 1 << 16, (SIDE, SIDE), np.uint16).tobytes()
    return d


def _encode(data_set: Dataset) -> bytes:
    buffer = pydicom.filebase.DicomBytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    encoded: bytes = buffer.getvalue()
    return encoded


def read_series(folder: Path) -> list[Dataset]:
    """The data sets of a folder of Part 10 files, by file name."""
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def write_again(series: Sequence[Dataset], folder: Path, name: str) -> Path:
    """Write a series under UIDs that depend on its own and on `name`: for a receiver, a study never seen before."""
    folder.mkdir(parents=True)
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    for index, original in enumerate(series):
        copy = deepcopy(original)
        for keyword in keywords:
            if keyword in copy:
                setattr(copy, keyword, _uid(name, str(copy[keyword].value)))
        copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
        copy.save_as(folder / f"{index:04d}.dcm", enforce_file_format=True)
    return folder


def _uid(*parts: str) -> str:
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"
