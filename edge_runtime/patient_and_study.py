"""Who and which study: copied from one DICOM data set to another as stored, byte for byte, or made of single values."""

from __future__ import annotations

import io
import struct
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pydicom.valuerep import VR, validate_value

# PS3.3 C.7.1.1, C.7.2.1, C.7.2.2: type 2 attributes, written empty where the source has none
REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
)  # fmt: skip
OPTIONAL = (
    "IssuerOfPatientID", "TypeOfPatientID", "PatientBirthTime", "OtherPatientNames", "EthnicGroup", "PatientComments",
    "PatientSpeciesDescription", "PatientBreedDescription", "ResponsiblePerson", "ResponsiblePersonRole",
    "ResponsibleOrganization", "PatientIdentityRemoved", "DeidentificationMethod", "QualityControlSubject",
    "StudyDescription", "PatientAge", "PatientSize", "PatientWeight",
)  # fmt: skip
SEQUENCES = (
    "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence", "PatientSpeciesCodeSequence",
    "PatientBreedCodeSequence", "BreedRegistrationSequence", "DeidentificationMethodCodeSequence",
    "IssuerOfAccessionNumberSequence",
)  # fmt: skip
UNREADABLE = (
    OSError, InvalidDicomError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError, EOFError,
    RecursionError, struct.error,
)  # fmt: skip


@contextmanager
def no_values_in_warnings() -> Iterator[None]:
    """Silence the DICOM library's warnings, which quote the values they are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def value_of(dataset: Any, keyword: str) -> Any:
    """The value, or None where it is absent or cannot be read."""
    with no_values_in_warnings():
        try:
            return dataset.get(keyword)
        except UNREADABLE:
            return None


def encode(dataset: Any) -> bytes:
    """A data set in Explicit VR Little Endian, without the header of a file."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    with no_values_in_warnings():
        write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def decode(data: bytes) -> Any:
    """The data set that `encode` wrote, each value as stored until it is asked for."""
    dataset: Dataset = read_dataset(io.BytesIO(data), is_implicit_VR=False, is_little_endian=True)
    return dataset


def copy_patient_and_study(source: Any, target: Any) -> None:
    """Put the Patient and Study modules into `target` as stored, with their character set."""
    character_set = value_of(source, "SpecificCharacterSet")
    if character_set:
        target.SpecificCharacterSet = character_set
    for keyword in REQUIRED:
        if not copy_raw(source, keyword, target):
            setattr(target, keyword, None)
    for keyword in OPTIONAL:
        copy_raw(source, keyword, target)
    for keyword in SEQUENCES:
        items = value_of(source, keyword)
        if items and _readable(items):
            setattr(target, keyword, items)


def copy_raw(source: Any, keyword: str, target: Any) -> bool:
    """Put one value into `target` as stored; False where `source`, which was read from a file, has none."""
    tag = Tag(tag_for_keyword(keyword))
    element = source.get_item(tag)
    value = getattr(element, "value", None)
    if not isinstance(value, bytes) or not value.strip(b" \0") or len(value) > 65534:
        return False
    value += b" " * (len(value) % 2)
    vr = dictionary_VR(tag)
    target[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return True


def _readable(items: Any) -> bool:
    """True once every value inside has been decoded, so that none is written in the source's encoding."""
    with no_values_in_warnings():
        try:
            return all(list(item.iterall()) is not None for item in items)
        except UNREADABLE:
            return False


def new_uid() -> str:
    """A UID that nobody else has (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def attributes_of(path: Path) -> bytes:
    """The Patient and Study modules of any DICOM file: an image, or a worklist item; encoded.

    Raises:
        ValueError: it is none, or names no patient or no study. The message holds no value of the file.
    """
    try:
        with no_values_in_warnings():
            source = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            kept = Dataset()
            copy_patient_and_study(source, kept)
            zone = source.get_item("TimezoneOffsetFromUTC")
            if zone is not None:
                kept["TimezoneOffsetFromUTC"] = source["TimezoneOffsetFromUTC"]
            encoded = encode(kept)
            read = decode(encoded)
            named = bool(str(read.PatientID or "").strip()) and UID(str(read.StudyInstanceUID or "")).is_valid
    except OSError as error:
        raise ValueError(f"--like: the file cannot be read: {error.strerror}") from None
    except UNREADABLE as error:
        raise ValueError(f"--like: this is no DICOM file that can be read ({type(error).__name__})") from None
    if not named:
        raise ValueError("--like: the file names no Patient ID, or no valid Study Instance UID")
    return encoded


_VALUES = {
    "PatientID": ("--patient-id", VR.LO),
    "PatientName": ("--patient-name", VR.PN),
    "PatientBirthDate": ("--birth-date", VR.DA),
    "PatientSex": ("--sex", VR.CS),
    "AccessionNumber": ("--accession", VR.SH),
    "StudyInstanceUID": ("--study-uid", VR.UI),
    "StudyDescription": ("--study-description", VR.LO),
}


PATIENT_KEYWORDS = tuple(_VALUES)
"""What `attributes_from` knows, by keyword."""


def attributes_from(given: Mapping[str, str | None]) -> bytes:
    """The Patient and Study modules from single values by keyword; a study without UID is a new one.

    Raises:
        ValueError: a value is not allowed (PS3.5 section 6.2), or there is no Patient ID.
    """
    if not (given.get("PatientID") or "").strip():
        raise ValueError("give --like FILE, or at least --patient-id")
    kept = Dataset()
    kept.SpecificCharacterSet = "ISO_IR 192"
    for keyword, (option, vr) in _VALUES.items():
        value = (given.get(keyword) or "").strip()
        try:
            if "\\" in value or not value.isprintable():
                raise ValueError
            validate_value(vr, value, pydicom.config.RAISE)
        except ValueError:
            raise ValueError(f"{option}: this is no value of {keyword} (PS3.5 section 6.2, {vr.value})") from None
        setattr(kept, keyword, value)
    if kept.PatientSex not in ("", "M", "F", "O"):
        raise ValueError("--sex: M, F or O")
    if not kept.StudyInstanceUID:
        kept.StudyInstanceUID = new_uid()
    kept.ReferringPhysicianName = kept.StudyID = ""
    return encode(kept)
