"""Small results to send, as files and parcels, and a delivery queue in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from edge_runtime.deliver.base import Delivery, Outcome, Parcel
from edge_runtime.deliver.queue import QueuedDelivery
from edge_runtime.result_objects import ResultKind

SOP_CLASSES = {
    ResultKind.SR: ComprehensiveSRStorage,
    ResultKind.SEG: SegmentationStorage,
    ResultKind.OVERLAY: SecondaryCaptureImageStorage,
}


def make_parcel(
    folder: Path,
    kind: ResultKind = ResultKind.OVERLAY,
    job_id: str = "job-1",
    extra_bytes: int = 0,
    syntax: str = ExplicitVRLittleEndian,
) -> Parcel:
    """A result file of that kind in `folder`, and the parcel that names it."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind in (ResultKind.JSON, ResultKind.EVENT):
        path = folder / ("result.json" if kind is ResultKind.JSON else "event-alert.json")
        path.write_bytes(b'{"answer": "negative", "note": "%s"}\n' % (b"x" * extra_bytes))
        return Parcel(job_id, kind, path, sha256(path), None, None, path.name)
    dataset = _dataset(SOP_CLASSES[kind], extra_bytes)
    dataset.file_meta.TransferSyntaxUID = syntax
    path = folder / f"{kind.value}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return Parcel(job_id, kind, path, sha256(path), str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), path.name)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def data_set_bytes(path: Path) -> bytes:
    """The encoded data set of a Part 10 file, found by the group length of its meta information."""
    raw = path.read_bytes()
    assert raw[128:132] == b"DICM"
    return raw[144 + int.from_bytes(raw[140:144], "little") :]


def _dataset(sop_class: str, extra_bytes: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientName, dataset.PatientID = "Nobody^At All", "T-0"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.StudyID = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    if sop_class == ComprehensiveSRStorage:
        dataset.Modality, dataset.ValueType, dataset.ContinuityOfContent = "SR", "CONTAINER", "SEPARATE"
        dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
        dataset.ContentDate, dataset.ContentTime = "20260101", "000000"
    else:
        dataset.Modality = "SEG" if sop_class == SegmentationStorage else "OT"
        pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
        dataset.Rows = dataset.Columns = 8
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        dataset.ImageType = ["DERIVED", "SECONDARY"]
        dataset.ConversionType = "WSD"
        if sop_class == SegmentationStorage:
            dataset.NumberOfFrames, dataset.SegmentationType = 1, "FRACTIONAL"
        dataset.PixelData = pixels.tobytes()
    if extra_bytes:
        dataset.private_block(0x0009, "EDGE TEST", create=True).add_new(1, "OB", bytes(extra_bytes))
    return dataset


@dataclass
class MemoryQueue:
    """A DeliveryQueue that keeps nothing over a restart, and tells what was done to it."""

    waiting: dict[int, tuple[QueuedDelivery, float]] = field(default_factory=dict)
    finished: dict[int, list[Delivery]] = field(default_factory=dict)
    next_attempts: dict[int, float | None] = field(default_factory=dict)
    begun: list[tuple[int, ...]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, parcel: Parcel, due_at: float = 0.0) -> int:
        with self.lock:
            number = len(self.waiting) + len(self.finished) + 1
            self.waiting[number] = (QueuedDelivery(number, parcel, 0), due_at)
            return number

    def due(self, destination: str, now: float, limit: int) -> Sequence[QueuedDelivery]:
        with self.lock:
            ready = sorted((at, number) for number, (_, at) in self.waiting.items() if at <= now)
            return [self.waiting[number][0] for _, number in ready[:limit]]

    def begin(self, delivery_ids: Sequence[int]) -> None:
        with self.lock:
            self.begun.append(tuple(delivery_ids))
            for number in delivery_ids:
                queued, at = self.waiting[number]
                self.waiting[number] = (replace(queued, attempts=queued.attempts + 1), at)

    def finish(self, delivery_id: int, delivery: Delivery, next_attempt_at: float | None) -> None:
        with self.lock:
            self.finished.setdefault(delivery_id, []).append(delivery)
            self.next_attempts[delivery_id] = next_attempt_at
            if delivery.outcome is Outcome.DEFERRED:
                assert next_attempt_at is not None
                self.waiting[delivery_id] = (self.waiting[delivery_id][0], next_attempt_at)
            else:
                assert next_attempt_at is None
                del self.waiting[delivery_id]

    def next_due_at(self, destination: str) -> float | None:
        with self.lock:
            return min((at for _, at in self.waiting.values()), default=None)

    def reasons(self, delivery_id: int) -> list[str]:
        with self.lock:
            return [delivery.reason.value for delivery in self.finished.get(delivery_id, [])]
