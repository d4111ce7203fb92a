"""What every DICOM result has in common: identity, equipment, times, and the patient and study it belongs to."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from edge_runtime import __version__
from edge_runtime.domain import MANUFACTURER, Code, Finding, InputInstance, JobResult, Mask
from edge_runtime.report.originals import Original, no_values_in_warnings
from edge_runtime.report.text import moment, offset_of, plain
from edge_runtime.report.uids import named_uid, result_digest, result_uid

MODEL = "Edge Runtime"
IMPLEMENTATION_CLASS_UID = named_uid("implementation")
IMPLEMENTATION_VERSION_NAME = f"EDGE_RT_{__version__}"[:16]

_SERIES_NUMBERS = {"sr": 9101, "seg": 9102, "overlay": 9103}  # far from a scanner's own
_ACQUISITION = Code("109101", "DCM", "Acquisition Equipment")
_PROCESSING = Code("109102", "DCM", "Processing Equipment")


def code_item(code: Code) -> Any:
    """A code as an item of a code sequence (PS3.3 section 8.8), for attributes that are set by hand."""
    item = Dataset()
    item.CodeValue = plain(code.value, 16)
    item.CodingSchemeDesignator = plain(code.scheme, 16)
    item.CodeMeaning = plain(code.meaning, 64)
    return item


@dataclass(frozen=True, eq=False)
class Context:
    """One job's result, the header of an original of its series, and the identity that all its objects share."""

    result: JobResult
    original: Original
    device_serial: str

    @cached_property
    def digest(self) -> str:
        """What all UIDs of this result are made from."""
        return result_digest(self.result)

    @cached_property
    def study_uid(self) -> str:
        """Study Instance UID of the images, which is that of the results."""
        return self.original.uid("StudyInstanceUID")

    @cached_property
    def source_series_uid(self) -> str:
        """Series Instance UID of the images."""
        return self.original.uid("SeriesInstanceUID")

    @cached_property
    def key_frame(self) -> int:
        """The number of the frame of live video that this runtime stored as the image; 0 for a study."""
        return self.original.number("InstanceNumber") if self.original.ascii("Manufacturer") == MANUFACTURER else 0

    @cached_property
    def device_uid(self) -> str:
        """Device Observer UID, the same as long as the serial number is."""
        return named_uid("device", self.device_serial)

    def uid(self, *purpose: str) -> str:
        """The UID of one thing in this result, such as ("seg", "instance")."""
        return result_uid(self.digest, *purpose)

    def number(self, number: int) -> int:
        """The Instance Number of the object that is the `number`th of its kind in this result."""
        return self.key_frame or number

    def series_uid(self, kind: str) -> str:
        """The series of one kind of result: one for each result; of key frames, one for each examination."""
        if self.key_frame:
            return named_uid("key frames", self.source_series_uid, self.result.pipeline, kind)
        return self.uid(kind, "series")

    def series(self, kind: str) -> dict[str, Any]:
        """The arguments that highdicom's constructors share: series, instance and equipment."""
        return {
            "series_instance_uid": self.series_uid(kind),
            "series_number": _SERIES_NUMBERS[kind],
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL,
            "software_versions": __version__,
            "device_serial_number": plain(self.device_serial, 64),
            "series_description": plain(f"{MODEL} {self.result.pipeline} {kind.upper()}", 64),
        }

    def template(self, sop_class_uid: str, sop_instance_uid: str) -> Any:
        """A stand-in for a source image without patient data: highdicom logs and checks what it copies."""
        dataset = Dataset()
        dataset.SOPClassUID = sop_class_uid
        dataset.SOPInstanceUID = sop_instance_uid
        dataset.StudyInstanceUID = self.study_uid
        dataset.SeriesInstanceUID = self.source_series_uid
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
                        "StudyDate", "StudyTime", "ReferringPhysicianName"):  # fmt: skip
            setattr(dataset, keyword, "")
        return dataset

    def finish(self, dataset: Any) -> None:
        """Replace what highdicom took from the clock and the template: patient, study, equipment, times."""
        self.original.copy_patient_and_study(dataset)
        when = moment(self.result.concluded_at, offset_of(self.original.text("TimezoneOffsetFromUTC")))
        dataset.TimezoneOffsetFromUTC = when.strftime("%z")
        pairs = ["InstanceCreationDate InstanceCreationTime", "SeriesDate SeriesTime", "ContentDate ContentTime"]
        for names in pairs:
            date, time = names.split()
            setattr(dataset, date, when.strftime("%Y%m%d"))
            setattr(dataset, time, when.strftime("%H%M%S.%f"))
        if self.key_frame:  # one series, so one date
            dataset.SeriesDate, dataset.SeriesTime = (self.original.text(f"Series{part}") for part in ("Date", "Time"))
        dataset.ContributingEquipmentSequence = self._equipment(when.strftime("%Y%m%d%H%M%S.%f%z"))

    def _equipment(self, when: str) -> list[Any]:
        """PS3.3 C.12.1: this runtime, by which a result that comes back is known, and the scanner."""
        runtime = Dataset()
        runtime.Manufacturer = MANUFACTURER
        runtime.ManufacturerModelName = MODEL
        runtime.DeviceSerialNumber = plain(self.device_serial, 64)
        runtime.SoftwareVersions = __version__
        runtime.ContributionDateTime = when
        runtime.ContributionDescription = "Automatic analysis, not verified"
        runtime.PurposeOfReferenceCodeSequence = [code_item(_PROCESSING)]
        scanner = Dataset()
        if not self.original.copy_equipment(scanner):
            return [runtime]
        scanner.PurposeOfReferenceCodeSequence = [code_item(_ACQUISITION)]
        return [runtime, scanner]


def source_items(inputs: tuple[InputInstance, ...]) -> list[Any]:
    """The stored objects as items of a Referenced SOP Sequence (PS3.3 10.8)."""
    items = []
    for one in inputs:
        item = Dataset()
        item.ReferencedSOPClassUID = one.sop_class_uid
        item.ReferencedSOPInstanceUID = one.sop_instance_uid
        items.append(item)
    return items


def mask_tracking(context: Context, mask: Mask) -> tuple[str, str]:
    """Tracking identifier and UID of a segment, the same in SEG and SR."""
    return plain(f"{mask.stage} {mask.label} {mask.number}", 64), context.uid("tracking", "mask", str(mask.number))


def finding_tracking(context: Context, index: int, finding: Finding) -> tuple[str, str]:
    """Tracking identifier and UID of the finding with that index in the analysis."""
    name = plain(f"{finding.stage} {finding.label} finding {index + 1}", 64)
    return name, context.uid("tracking", "finding", str(index))


def part10(dataset: Any) -> bytes:
    """The whole file: the same bytes for the same data set, whoever runs this and when (PS3.10 section 7)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta
    buffer = io.BytesIO()
    with no_values_in_warnings():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()
