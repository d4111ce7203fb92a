"""One object of each kind of result to each destination, as the daemon would send it, of a patient who is a test."""

from __future__ import annotations

import secrets
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from edge_runtime.config import Destination
from edge_runtime.deliver.base import Delivery, Outcome, Parcel, Reason
from edge_runtime.deliver.registry import build_destination
from edge_runtime.doctor.check import Check, Site, fail, ok, warn
from edge_runtime.doctor.destinations import PATIENT_ID, kinds_for, senders, takes_volumes, webhook_todo
from edge_runtime.doctor.disk import nearest_folder
from edge_runtime.domain import (
    Analysis,
    Answer,
    Code,
    EngineIdentity,
    Finding,
    Geometry,
    InputInstance,
    JobResult,
    KeyImage,
    Mask,
    SourceImage,
    StageOutcome,
    StageRecord,
)
from edge_runtime.report.event import doctor_event
from edge_runtime.report.objects import sha256
from edge_runtime.report.writer import write_results
from edge_runtime.result_objects import ResultKind, ResultObject

PATIENT_NAME = "EDGE^DOCTOR"

_SHAPE = (2, 16, 16)
_STATEMENT = "test object of edge-runtime doctor; delete it"
_OBJECT = Code("260787004", "SCT", "Physical object")
_ENGINE = EngineIdentity("doctor", "0", "0" * 64, "fp32", "none", _STATEMENT)


def examine_by_sending(destination: Destination, site: Site) -> Iterator[Check]:
    """Send what the pipelines would send here; without `--send` say that it was left out."""
    what, kinds = f"{destination.name}: test object", kinds_for(site.config, destination.name)
    if not kinds:
        return
    if not site.send:
        yield ok(what, f"left out ({', '.join(kind.value for kind in kinds)}): add --send to store test objects there")
        return
    title, folder = site.config.receive.dicom.ae_title, Path(destination.path or "").absolute()
    there = nearest_folder(folder)
    volume = any(takes_volumes(pipeline, site.config) for pipeline in senders(site.config, destination.name))
    with tempfile.TemporaryDirectory(prefix="edge-doctor-") as place:
        parcels = write_parcels(Path(place), kinds, title, volume)
        for parcel, delivery in zip(parcels, build_destination(destination, title).send_many(parcels), strict=True):
            if destination.type == "folder":
                (folder / f"{parcel.job_id}-{parcel.file_name}").unlink(missing_ok=True)
            yield sent_check(f"{what} {parcel.kind.value}", destination.type, delivery)
    with suppress(OSError):  # somebody else writes there already
        while destination.type == "folder" and folder != there and folder.is_dir():  # what was made for the test
            folder.rmdir()
            folder = folder.parent


def sent_check(what: str, kind: str, delivery: Delivery) -> Check:
    """What came of a test object."""
    found = f"{delivery.outcome.value}: {delivery.reason.value}" + (f", {delivery.detail}" if delivery.detail else "")
    if delivery.outcome is not Outcome.DONE:
        todo = "look at the receiver's log; see the line of this destination above"
        return fail(what, found, webhook_todo(delivery) if kind == "webhook" else todo)
    if delivery.reason is Reason.WARNING:
        return warn(what, found, "look at the receiver's log: it has changed or dropped something")
    left = {"folder": "written and removed", "webhook": "test event taken"}
    return ok(what, left.get(kind, f"stored; delete patient {PATIENT_ID} there"))


def write_parcels(folder: Path, kinds: Sequence[ResultKind], title: str, volume: bool) -> list[Parcel]:
    """The test objects, as files in `folder`. Every call makes a study of its own, with UIDs under 2.25.

    `title` is our AE title. `volume` is false for what pipelines of frames send: another kind of SR, and no SEG.
    """
    job_id = f"doctor-{secrets.token_hex(4)}"
    out = folder / "report"
    out.mkdir()
    result, originals = made_up_result(job_id, folder)
    if not volume:
        flat = replace(result.analysis, masks=(), findings=(replace(result.analysis.findings[0], mask_number=None),))
        result = replace(result, geometry=None, sources=result.sources[:1], analysis=flat)
    objects = list(write_results(result, kinds, originals, None, out, title))
    if ResultKind.EVENT in kinds:
        event = doctor_event(title, result.concluded_at)
        (out / "event.json").write_bytes(event)
        objects.append(ResultObject(ResultKind.EVENT, "event.json", sha256(event)))
    return [
        Parcel(
            job_id, one.kind, out / one.file_name, one.sha256, one.sop_class_uid, one.sop_instance_uid, one.file_name
        )
        for one in objects
    ]


def _fresh_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def made_up_result(job_id: str, folder: Path) -> tuple[JobResult, dict[str, Path]]:
    """A concluded job on two made-up slices, and the files of the slices by SOP Instance UID."""
    study, series, frame = _fresh_uid(), _fresh_uid(), _fresh_uid()
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    geometry = Geometry(_SHAPE, (0.0, 0.0, 0.0), axes, (1.0, 1.0, 1.0), frame)
    originals: dict[str, Path] = {}
    for index in range(_SHAPE[0]):
        uid = _fresh_uid()
        originals[uid] = _write_slice(folder / f"{index}.dcm", (study, series, frame, uid), index, geometry)
    sources = tuple(SourceImage(MRImageStorage, uid) for uid in originals)
    inputs = tuple(InputInstance(MRImageStorage, uid, sha256(path.read_bytes())) for uid, path in originals.items())
    voxels = np.zeros(_SHAPE, dtype=np.bool_)
    voxels[:, 4:8, 4:8] = True
    mask = Mask(1, "test", _OBJECT, _OBJECT, "doctor", voxels)
    finding = Finding("doctor", "test", _OBJECT, Answer.NEGATIVE, mask_number=1)
    record = StageRecord("doctor", _ENGINE, StageOutcome.RAN)
    now = time.time()
    result = JobResult(
        job_id=job_id, pipeline="doctor", pipeline_stages="[]", revision=1, modality="MR", geometry=geometry,
        sources=sources, inputs=inputs, completeness=_STATEMENT, first_received_at=now, last_received_at=now,
        concluded_at=now, deadline_at=now, analysis=Analysis((record,), (finding,), (mask,)),
        key_images=(KeyImage(0, np.zeros(_SHAPE[1:], dtype=np.uint8)),), notes=(_STATEMENT,),
    )  # fmt: skip
    return result, originals


def _write_slice(path: Path, uids: tuple[str, str, str, str], index: int, geometry: Geometry) -> Path:
    """The header of one slice as a Part 10 file; nothing reads pixels of it."""
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID, dataset.SOPInstanceUID = uids
    dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
    dataset.StudyDate, dataset.StudyTime = time.strftime("%Y%m%d"), time.strftime("%H%M%S")
    dataset.StudyID, dataset.StudyDescription, dataset.AccessionNumber = "DOCTOR", _STATEMENT, ""
    dataset.PatientBirthDate = dataset.PatientSex = dataset.ReferringPhysicianName = ""
    dataset.QualityControlSubject = "YES"
    dataset.Rows, dataset.Columns = geometry.shape[1:]
    dataset.ImagePositionPatient = list(geometry.position_mm((index, 0, 0)))
    dataset.ImageOrientationPatient = [*geometry.directions[2], *geometry.directions[1]]
    dataset.PixelSpacing, dataset.SliceThickness = list(geometry.spacing_mm[1:]), 1.0
    dataset.BurnedInAnnotation = "NO"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    return path
