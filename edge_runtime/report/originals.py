"""What a result takes from the stored images: who and which study, copied byte for byte, and where the pixels are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from edge_runtime.domain import JobResult, SourceImage, Triple
from edge_runtime.errors import ReportFailed
from edge_runtime.patient_and_study import (
    OPTIONAL,
    REQUIRED,
    SEQUENCES,
    UNREADABLE,
    copy_patient_and_study,
    copy_raw,
    no_values_in_warnings,
    value_of,
)

__all__ = ["Original", "no_values_in_warnings", "read_original", "read_whole"]

_EQUIPMENT = (
    "Manufacturer", "InstitutionName", "StationName", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
)  # fmt: skip
_IMAGE = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID",
    "InstanceNumber", "SeriesDate", "SeriesTime",
    "FrameOfReferenceUID", "PositionReferenceIndicator", "ImagePositionPatient", "ImageOrientationPatient",
    "SliceThickness", "Rows", "Columns", "PatientOrientation", "Laterality", "BurnedInAnnotation",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_WANTED = [*REQUIRED, *OPTIONAL, *SEQUENCES, *_EQUIPMENT, *_IMAGE]
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


@dataclass(frozen=True, eq=False)
class Original:
    """The header of one stored image. Values that cannot be read count as absent."""

    dataset: Any

    def text(self, keyword: str) -> str | None:
        """The value as text (several joined by a backslash), or None where it is absent, empty or broken."""
        value = value_of(self.dataset, keyword)
        if value is None or isinstance(value, str):
            return (value or "").strip() or None
        try:
            return "\\".join(str(v) for v in value) or None
        except TypeError:
            return str(value)

    def uid(self, keyword: str) -> str:
        """A UID, left as raw as it is stored.

        Raises:
            ReportFailed: it is absent or not a UID (PS3.5 section 9.1).
        """
        uid = self.ascii(keyword)
        if len(uid) > 64 or _UID.fullmatch(uid) is None:
            raise ReportFailed(f"the images have no valid {keyword}; no DICOM result can be placed beside them")
        return uid

    def ascii(self, keyword: str) -> str:
        """A value of ASCII text, left as raw as it is stored; "" where there is none."""
        element = self.dataset.get_item(Tag(tag_for_keyword(keyword)))
        stored = getattr(element, "value", None) or b""
        return (stored.decode("ascii", "replace") if isinstance(stored, bytes) else str(stored)).rstrip(" \0")

    def number(self, keyword: str) -> int:
        """A whole number, 0 where there is none."""
        value = value_of(self.dataset, keyword)
        return value if isinstance(value, int) else 0

    def place(self, frame_number: int | None) -> tuple[Triple, tuple[Triple, Triple]] | None:
        """Position of the first voxel and the directions along (columns of a row, rows of a column), LPS, or None.

        PS3.3 C.7.6.2 for single images; C.7.6.16.2.3 and .4 for a frame of a multi-frame image.
        """
        position = orientation = None
        for group in self._groups(frame_number):
            position = position or _numbers(value_of(group, "ImagePositionPatient"), 3)
            orientation = orientation or _numbers(value_of(group, "ImageOrientationPatient"), 6)
        if position is None or orientation is None:
            return None
        p, o = position, orientation
        return (p[0], p[1], p[2]), ((o[0], o[1], o[2]), (o[3], o[4], o[5]))

    def _groups(self, frame_number: int | None) -> Iterator[Any]:
        if frame_number is None:
            yield self.dataset
            return
        frames = value_of(self.dataset, "PerFrameFunctionalGroupsSequence") or []
        shared = value_of(self.dataset, "SharedFunctionalGroupsSequence") or []
        for item in [*frames[frame_number - 1 : frame_number], *shared[:1]]:
            for keyword in ("PlanePositionSequence", "PlaneOrientationSequence"):
                yield from value_of(item, keyword) or []

    def copy_patient_and_study(self, target: Any) -> None:
        """Put the Patient and Study modules into `target` as stored, with their character set, broken or not."""
        copy_patient_and_study(self.dataset, target)

    def copy_equipment(self, target: Any) -> bool:
        """Put the equipment that made the image into `target`; False where it does not name its manufacturer."""
        named = [copy_raw(self.dataset, keyword, target) for keyword in _EQUIPMENT]
        return named[0]


def _numbers(value: Any, count: int) -> list[float] | None:
    try:
        numbers = [float(v) for v in value]
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count else None


def read_original(source: SourceImage, originals: Mapping[str, Path]) -> Original:
    """The header of the stored image, without its pixels.

    Raises:
        ReportFailed: the file is not known, or cannot be read as DICOM.
    """
    path = originals.get(source.sop_instance_uid)
    if path is None:
        raise ReportFailed("an image that the result names is not in the spool; retry the job while its originals are")
    try:
        with no_values_in_warnings():
            dataset: Dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_WANTED)
    except UNREADABLE as error:
        raise ReportFailed(
            f"a stored image cannot be read ({type(error).__name__}); check the spool's disk, then retry the job"
        ) from None
    return Original(dataset)


def read_whole(result: JobResult, originals: Mapping[str, Path]) -> Any:
    """The first stored image with its pixels, each value as stored.

    Raises:
        ReportFailed: the file is not known, or cannot be read as DICOM.
    """
    path = originals.get(result.sources[0].sop_instance_uid)
    if path is None:
        raise ReportFailed("the key frame is not in the spool; cancel the job")
    try:
        with no_values_in_warnings():
            dataset: Dataset = pydicom.dcmread(path)
    except UNREADABLE as error:
        raise ReportFailed(f"the key frame cannot be read ({type(error).__name__}); check the spool's disk") from None
    return dataset
