"""What grouping and matching need to know of a stored file, read without its pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.assemble.elements import Elements
from edge_runtime.assemble.part10 import quiet, read_header_elements
from edge_runtime.domain import MANUFACTURER
from edge_runtime.errors import DecodeRefused

_UID_CHARACTERS = 64


@dataclass(frozen=True)
class SeriesHeader:
    """The attributes of one instance that group it into a series and choose its pipeline.

    `patient_key` is a SHA-256 (hex) over what identifies the patient. `own_result` is true for objects that
    Edge Runtime wrote itself. `body_part` is Body Part Examined, else the meaning of the first Anatomic Region.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    patient_key: str
    modality: str | None
    body_part: str | None
    series_description: str | None
    image_type: tuple[str, ...]
    number_of_frames: int
    rows: int
    columns: int
    has_pixels: bool
    own_result: bool
    burned_in_annotation: bool | None  # None: the object does not say
    accession_number: str | None


def read_header(path: Path) -> SeriesHeader:
    """Read at most 64 MiB of a file. Raises DecodeRefused("unreadable_header") for all that is wrong with it."""
    try:
        part10 = read_header_elements(path)
    except OSError as error:
        raise DecodeRefused("unreadable_header", f"the file cannot be opened: {error.strerror}") from error
    with quiet():
        return _header(part10.elements, part10.transfer_syntax_uid, part10.has_pixels)


def _header(elements: Elements, transfer_syntax_uid: str, has_pixels: bool) -> SeriesHeader:
    return SeriesHeader(
        study_instance_uid=_uid(elements, "StudyInstanceUID"),
        series_instance_uid=_uid(elements, "SeriesInstanceUID"),
        sop_class_uid=_uid(elements, "SOPClassUID"),
        sop_instance_uid=_uid(elements, "SOPInstanceUID"),
        transfer_syntax_uid=transfer_syntax_uid,
        patient_key=patient_key(elements),
        modality=elements.text("Modality"),
        body_part=_body_part(elements),
        series_description=elements.text("SeriesDescription"),
        image_type=elements.texts("ImageType"),
        number_of_frames=max(1, elements.integer("NumberOfFrames", 1)),
        rows=elements.integer("Rows"),
        columns=elements.integer("Columns"),
        has_pixels=has_pixels,
        own_result=_is_own_result(elements),
        burned_in_annotation=burned_in_annotation(elements),
        accession_number=elements.text("AccessionNumber"),
    )


def _uid(elements: Elements, keyword: str) -> str:
    uid = elements.text(keyword)
    if uid is None:
        raise DecodeRefused("unreadable_header", f"{keyword} is missing")
    if len(uid) > _UID_CHARACTERS or "\\" in uid:
        raise DecodeRefused("unreadable_header", f"{keyword} is not one UID of at most {_UID_CHARACTERS} characters")
    return uid


def patient_key(elements: Elements) -> str:
    """SHA-256 (hex) over Patient ID, its issuer, Patient's Name and Birth Date (PS3.3 C.7.1.1)."""
    parts = [elements.text(k) or "" for k in ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")]
    canonical = "\x1f".join(part.strip("^ ").casefold() for part in parts)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def burned_in_annotation(elements: Elements) -> bool | None:
    """Burned In Annotation (0028,0301): True for YES, False for NO, None for anything else."""
    return {"YES": True, "NO": False}.get((elements.text("BurnedInAnnotation") or "").upper())


def _body_part(elements: Elements) -> str | None:
    examined = elements.text("BodyPartExamined")
    if examined is not None:
        return examined
    shared = [g for s in elements.items("SharedFunctionalGroupsSequence") for g in s.items("FrameAnatomySequence")]
    for holder in (elements, *shared):
        for region in holder.items("AnatomicRegionSequence"):
            return region.text("CodeMeaning")
    return None


def _is_own_result(elements: Elements) -> bool:
    equipment = elements.items("ContributingEquipmentSequence")
    return any(holder.text("Manufacturer") == MANUFACTURER for holder in (elements, *equipment))
