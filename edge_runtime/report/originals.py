"""What a result takes from the stored images: who and which study, copied byte for byte, and where the pixels are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag

from edge_runtime.domain import SourceImage, Triple
from edge_runtime.errors import ReportFailed

# PS3.3 C.7.1.1, C.7.2.1, C.7.2.2: type 2 attributes, written empty where the source has none
_REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
)  # fmt: skip
_OPTIONAL = (
    "IssuerOfPatientID", "TypeOfPatientID", "PatientBirthTime", "OtherPatientNames", "EthnicGroup", "PatientComments",
    "PatientSpeciesDescription", "PatientBreedDescription", "ResponsiblePerson", "ResponsiblePersonRole",
    "ResponsibleOrganization", "PatientIdentityRemoved", "DeidentificationMethod", "QualityControlSubject",
    "StudyDescription", "PatientAge", "PatientSize", "PatientWeight",
)  # fmt: skip
_SEQUENCES = (
    "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence", "PatientSpeciesCodeSequence",
    "PatientBreedCodeSequence", "BreedRegistrationSequence", "DeidentificationMethodCodeSequence",
    "IssuerOfAccessionNumberSequence",
)  # fmt: skip
_EQUIPMENT = (
    "Manufacturer", "InstitutionName", "StationName", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
)  # fmt: skip
_IMAGE = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "PositionReferenceIndicator", "ImagePositionPatient", "ImageOrientationPatient",
    "SliceThickness", "Rows", "Columns", "PatientOrientation", "Laterality", "BurnedInAnnotation",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_WANTED = [*_REQUIRED, *_OPTIONAL, *_SEQUENCES, *_EQUIPMENT, *_IMAGE]
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_UNREADABLE = (OSError, InvalidDicomError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError)


@contextmanager
def no_values_in_warnings() -> Iterator[None]:
    """Silence the DICOM library's warnings, which quote the values they are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True, eq=False)
class Original:
    """The header of one stored image. Values that cannot be read count as absent."""

    dataset: Any

    def text(self, keyword: str) -> str | None:
        """The value as text (several joined by a backslash), or None where it is absent, empty or broken."""
        value = self._value(self.dataset, keyword)
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
        element = self.dataset.get_item(Tag(tag_for_keyword(keyword)))
        stored = getattr(element, "value", None) or b""
        uid = (stored.decode("ascii", "replace") if isinstance(stored, bytes) else str(stored)).rstrip(" \0")
        if len(uid) > 64 or _UID.fullmatch(uid) is None:
            raise ReportFailed(f"the images have no valid {keyword}; no DICOM result can be placed beside them")
        return uid

    def number(self, keyword: str) -> int:
        """A whole number, 0 where there is none."""
        value = self._value(self.dataset, keyword)
        return value if isinstance(value, int) else 0

    def place(self, frame_number: int | None) -> tuple[Triple, tuple[Triple, Triple]] | None:
        """Position of the first voxel and the directions along (columns of a row, rows of a column), LPS, or None.

        PS3.3 C.7.6.2 for single images; C.7.6.16.2.3 and .4 for a frame of a multi-frame image.
        """
        position = orientation = None
        for group in self._groups(frame_number):
            position = position or _numbers(self._value(group, "ImagePositionPatient"), 3)
            orientation = orientation or _numbers(self._value(group, "ImageOrientationPatient"), 6)
        if position is None or orientation is None:
            return None
        p, o = position, orientation
        return (p[0], p[1], p[2]), ((o[0], o[1], o[2]), (o[3], o[4], o[5]))

    def _groups(self, frame_number: int | None) -> Iterator[Any]:
        if frame_number is None:
            yield self.dataset
            return
        frames = self._value(self.dataset, "PerFrameFunctionalGroupsSequence") or []
        shared = self._value(self.dataset, "SharedFunctionalGroupsSequence") or []
        for item in [*frames[frame_number - 1 : frame_number], *shared[:1]]:
            for keyword in ("PlanePositionSequence", "PlaneOrientationSequence"):
                yield from self._value(item, keyword) or []

    @staticmethod
    def _value(dataset: Any, keyword: str) -> Any:
        with no_values_in_warnings():
            try:
                return dataset.get(keyword)
            except _UNREADABLE:
                return None

    def copy_patient_and_study(self, target: Any) -> None:
        """Put the Patient and Study modules into `target` as stored, with their character set, broken or not."""
        character_set = self._value(self.dataset, "SpecificCharacterSet")
        if character_set:
            target.SpecificCharacterSet = character_set
        for keyword in _REQUIRED:
            if not self._copy_raw(keyword, target):
                setattr(target, keyword, None)
        for keyword in _OPTIONAL:
            self._copy_raw(keyword, target)
        for keyword in _SEQUENCES:
            items = self._value(self.dataset, keyword)
            if items and _readable(items):
                setattr(target, keyword, items)

    def copy_equipment(self, target: Any) -> bool:
        """Put the equipment that made the image into `target`; False where it does not name its manufacturer."""
        named = [self._copy_raw(keyword, target) for keyword in _EQUIPMENT]
        return named[0]

    def _copy_raw(self, keyword: str, target: Any) -> bool:
        tag = Tag(tag_for_keyword(keyword))
        element = self.dataset.get_item(tag)
        value = getattr(element, "value", None)
        if not isinstance(value, bytes) or not value.strip(b" \0") or len(value) > 65534:
            return False
        value += b" " * (len(value) % 2)
        vr = dictionary_VR(tag)
        target[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
        return True


def _numbers(value: Any, count: int) -> list[float] | None:
    try:
        numbers = [float(v) for v in value]
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count else None


def _readable(items: Any) -> bool:
    """True once every value inside has been decoded, so that none is written in the source's encoding."""
    with no_values_in_warnings():
        try:
            return all(list(item.iterall()) is not None for item in items)
        except _UNREADABLE:
            return False


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
    except _UNREADABLE as error:
        raise ReportFailed(
            f"a stored image cannot be read ({type(error).__name__}); check the spool's disk, then retry the job"
        ) from None
    return Original(dataset)
