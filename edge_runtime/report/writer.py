"""Write a concluded job's results: durable files, and what they are."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from edge_runtime.domain import Analysis, JobResult, Predecessor
from edge_runtime.errors import EdgeRuntimeError, ReportFailed, SpoolFull
from edge_runtime.report.event import Announcement, event_json
from edge_runtime.report.json_result import result_json
from edge_runtime.report.objects import Context, part10, sha256
from edge_runtime.report.originals import Original, read_original, read_whole
from edge_runtime.report.overlay import build_overlays
from edge_runtime.report.seg import build_seg, no_segmentation
from edge_runtime.report.sr import build_sr
from edge_runtime.result_objects import ResultKind, ResultObject

T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_BUILD_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, NotImplementedError)
_IDENTITY = ["StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"]


def write_results(
    result: JobResult,
    kinds: Sequence[ResultKind],
    originals: Mapping[str, Path],
    predecessor: Predecessor | None,
    folder: Path,
    device_serial: str = "unknown",
    announcements: Sequence[Announcement] = (),
) -> tuple[ResultObject, ...]:
    """Write the wanted kinds and events into `folder` (it exists and is empty); every file and it are fsynced.

    originals: SOP Instance UID -> Part 10 file of the images the result was made from; they are only read.
    predecessor: the report that this one replaces. device_serial: the serial number that the objects carry.
    The same arguments give the same bytes. A SEG that cannot be is left out, and SR and JSON say why.
    After an error, what the folder holds is of no use.

    Raises:
        ReportFailed: a result could not be made; the message names no patient.
        SpoolFull: the disk did not take the bytes.
    """
    if any(folder.iterdir()):
        raise ReportFailed(f"the report folder of job {result.job_id} is not empty; clear it and retry the job")
    if not result.sources:
        raise ReportFailed(f"job {result.job_id} names no source image")
    context = Context(result, read_original(result.sources[0], originals), device_serial)
    reason = no_segmentation(context) if ResultKind.SEG in kinds else "not asked for"
    written: list[ResultObject] = []

    def put(kind: ResultKind, name: str, dataset: Any) -> None:
        data = _told(kind, result, lambda: part10(dataset))
        _write(folder / name, data)
        identity = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
        written.append(ResultObject(kind, name, sha256(data), *identity))

    if reason is None:
        put(ResultKind.SEG, "seg.dcm", _told(ResultKind.SEG, result, lambda: build_seg(context, originals)))
    if ResultKind.SR in kinds:
        segmentation_uid = context.uid("seg", "instance") if reason is None else None
        report = _told(
            ResultKind.SR,
            result,
            lambda: build_sr(
                context, segmentation_uid=segmentation_uid, no_segmentation=reason, predecessor=predecessor
            ),
        )
        put(ResultKind.SR, "sr.dcm", report)
    if ResultKind.OVERLAY in kinds:
        if context.key_frame:  # nobody else has the image that the results speak of
            frame = _told(ResultKind.OVERLAY, result, lambda: read_whole(result, originals))
            put(ResultKind.OVERLAY, "frame.dcm", frame)
        overlays = _told(ResultKind.OVERLAY, result, lambda: build_overlays(context, originals))
        for number, overlay in enumerate(overlays, start=1):
            put(ResultKind.OVERLAY, f"overlay-{number}.dcm", overlay)
    if ResultKind.JSON in kinds:
        data = _told(ResultKind.JSON, result, lambda: result_json(context, written, predecessor, reason))
        _write(folder / "result.json", data)
        written.append(ResultObject(ResultKind.JSON, "result.json", sha256(data)))
    for one in announcements:
        data = _told(ResultKind.EVENT, result, partial(event_json, context, one))
        _write(folder / one.file_name, data)
        written.append(ResultObject(ResultKind.EVENT, one.file_name, sha256(data), destination=one.destination))
    _sync_folder(folder)
    return tuple(written)


def prepare() -> None:
    """Load highdicom's tables and the font by drawing a result of nothing, so that the first job is as fast."""
    header = Dataset()
    header.StudyInstanceUID = header.SeriesInstanceUID = "2.25.1"
    nothing = JobResult("", "", "", 1, "OT", None, (), (), "", 0.0, 0.0, 0.0, 0.0, Analysis((), ()), ())
    build_overlays(Context(nothing, Original(header), "unknown"), {})


def identify_report(path: Path) -> Predecessor:
    """The identity of a written report, by which a later revision names it.

    Raises:
        ReportFailed: the file is no DICOM object or names itself incompletely.
    """
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_IDENTITY)
        study, series, sop_class, instance = (str(dataset[keyword].value) for keyword in _IDENTITY)
    except (*_BUILD_ERRORS, InvalidDicomError) as error:
        raise ReportFailed(f"report {path.name} cannot be read ({type(error).__name__})") from None
    return Predecessor(study, series, sop_class, instance)


def _told(kind: ResultKind, result: JobResult, build: Callable[[], T]) -> T:
    """Run `build`; what goes wrong is told by type and place only, for messages of libraries quote values."""
    try:
        return build()
    except EdgeRuntimeError:
        raise
    except _BUILD_ERRORS as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        raise ReportFailed(
            f"the {kind.value} of job {result.job_id} could not be made ({type(error).__name__} at {place}); "
            "compare its source with docs/dicom-results.md, or remove the kind from the pipeline's results"
        ) from None


def _write(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise _disk_error(error, path.name) from error


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _disk_error(error, "the report folder") from error


def _disk_error(error: OSError, name: str) -> EdgeRuntimeError:
    why = os.strerror(error.errno or 0)
    if error.errno in _FULL:
        return SpoolFull(f"{name} could not be written: {why}; free space on the spool's disk, then retry the job")
    return ReportFailed(f"{name} could not be written: {why}; check the spool's permissions, then retry the job")
