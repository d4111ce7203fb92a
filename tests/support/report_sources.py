"""Images and concluded jobs for tests of results: small, made here, with known geometry."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from edge_runtime.domain import (
    Analysis,
    Answer,
    Box,
    Code,
    EngineIdentity,
    Finding,
    Geometry,
    InputInstance,
    JobResult,
    KeyImage,
    Mask,
    Measurement,
    SourceImage,
    StageOutcome,
    StageRecord,
)

STUDY_UID = "2.25.101"
SERIES_UID = "2.25.102"
FRAME_OF_REFERENCE_UID = "2.25.103"
CONCLUDED_AT = 1_795_000_000.25

HEMORRHAGE = Code("1386000", "SCT", "Intracranial hemorrhage")
BRAIN = Code("12738006", "SCT", "Brain")
ORGAN = Code("123037004", "SCT", "Anatomical Structure")
VOLUME = Code("118565006", "SCT", "Volume")
MILLILITRE = Code("ml", "UCUM", "milliliter")
ENGINE = EngineIdentity("mr-brain", "1.2.0", "ab" * 32, "fp32", "onnxruntime", "research only, not for clinical use")

_C, _S = float(np.cos(0.3)), float(np.sin(0.3))
DIRECTIONS = {  # along slices, rows downwards, columns to the right; LPS
    "axial": ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "sagittal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
    "oblique": ((0.0, -_S, _C), (0.0, _C, _S), (1.0, 0.0, 0.0)),
}


def geometry(orientation: str = "axial", shape: tuple[int, int, int] = (6, 20, 24)) -> Geometry:
    return Geometry(shape, (-11.5, -20.25, 7.0), DIRECTIONS[orientation], (2.5, 0.9, 1.1), FRAME_OF_REFERENCE_UID)


def _patient(dataset: Dataset) -> None:
    dataset.PatientName = "Muster^Eva"
    dataset.PatientID = "P-77"
    dataset.PatientBirthDate = "19610203"
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID = STUDY_UID
    dataset.SeriesInstanceUID = SERIES_UID
    dataset.StudyDate = "20261101"
    dataset.StudyTime = "081500"
    dataset.AccessionNumber = "A1"
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = "S1"
    dataset.StudyDescription = "Head"
    dataset.SeriesNumber = 3
    dataset.Manufacturer = "Scanner Works"
    dataset.ManufacturerModelName = "S9"
    dataset.BurnedInAnnotation = "NO"


def slice_header(grid: Geometry, index: int, sop_class: str, modality: str) -> Dataset:
    """One single-frame image of the grid, without pixels."""
    dataset = Dataset()
    _patient(dataset)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = f"2.25.{2000 + index}"
    dataset.Modality = modality
    dataset.InstanceNumber = index + 1
    dataset.FrameOfReferenceUID = FRAME_OF_REFERENCE_UID
    dataset.PositionReferenceIndicator = ""
    dataset.Rows, dataset.Columns = grid.shape[1:]
    dataset.ImageOrientationPatient = [round(v, 10) for v in (*grid.directions[2], *grid.directions[1])]
    dataset.ImagePositionPatient = [round(v, 10) for v in grid.position_mm((index, 0, 0))]
    dataset.PixelSpacing = list(grid.spacing_mm[1:])
    dataset.SliceThickness = 2.0
    return dataset


def enhanced_header(grid: Geometry) -> Dataset:
    """One multi-frame image; its frames are stored from the last slice to the first."""
    dataset = slice_header(grid, 0, EnhancedMRImageStorage, "MR")
    for keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, keyword)
    dataset.NumberOfFrames = grid.shape[0]
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = list(grid.spacing_mm[1:])
    measures.SliceThickness = 2.0
    orientation.ImageOrientationPatient = [round(v, 10) for v in (*grid.directions[2], *grid.directions[1])]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for index in reversed(range(grid.shape[0])):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [round(v, 10) for v in grid.position_mm((index, 0, 0))]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset


def radiograph_header(rows: int = 30, columns: int = 40) -> Dataset:
    dataset = Dataset()
    _patient(dataset)
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = "2.25.3000"
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.PatientOrientation = ["L", "F"]
    return dataset


def store(dataset: Dataset, folder: Path) -> Path:
    """A Part 10 file without pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, enforce_file_format=True)
    return path


@dataclass(frozen=True, eq=False)
class Case:
    """A concluded job and the files it was made from."""

    result: JobResult
    originals: dict[str, Path]


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray[Any, Any]:
    grid = np.indices(shape)
    return sum((grid[a] - centre[a]) ** 2 for a in range(3)) <= radius**2


def brain_mask(grid: Geometry, number: int = 1, label: str = "brain", shift: float = 0.0) -> Mask:
    slices, rows, columns = grid.shape
    voxels = ball(grid.shape, (slices / 2, rows / 2 + shift, columns / 3), min(slices - 3, rows) / 2)
    voxels[slices // 2, 1, columns - 2] = True  # so that a mirrored mask is not the same mask
    return Mask(number, label, ORGAN, BRAIN, "brain", voxels)


def brain_finding(mask: Mask, grid: Geometry, answer: Answer = Answer.POSITIVE) -> Finding:
    millilitres = float(np.count_nonzero(mask.voxels)) * grid.voxel_ml
    return Finding(
        "brain", mask.label, BRAIN, answer, probability=0.875, threshold=0.5,
        measurements=(Measurement(VOLUME, millilitres, MILLILITRE),), mask_number=mask.number,
    )  # fmt: skip


def record(stage: str = "brain", outcome: StageOutcome = StageOutcome.RAN, reason: str = "") -> StageRecord:
    return StageRecord(stage, replace(ENGINE, name=f"{stage}-engine"), outcome, reason, 0.125, 1)


def job_result(
    sources: tuple[SourceImage, ...], inputs: tuple[InputInstance, ...], grid: Geometry | None, modality: str,
    analysis: Analysis, key_images: tuple[KeyImage, ...],
) -> JobResult:  # fmt: skip
    return JobResult(
        job_id="j-000001", pipeline="mr-brain", pipeline_stages='[{"engine":"mr-brain","name":"brain"}]', revision=1,
        modality=modality, geometry=grid, sources=sources, inputs=inputs,
        completeness="6 images seen; none for 5 s", first_received_at=CONCLUDED_AT - 9,
        last_received_at=CONCLUDED_AT - 7,
        concluded_at=CONCLUDED_AT, deadline_at=CONCLUDED_AT + 50, analysis=analysis, key_images=key_images,
        notes=("threshold of brain is 0.5, the card says 0.4",),
    )  # fmt: skip


def volume_case(
    folder: Path, orientation: str = "axial", modality: str = "MR", shape: tuple[int, int, int] = (6, 20, 24),
    enhanced: bool = False, edit: Any = None,
) -> Case:  # fmt: skip
    """A brain segmented on a volume. `edit(dataset)` may change each header before it is stored."""
    grid = geometry(orientation, shape)
    sop_class = CTImageStorage if modality == "CT" else MRImageStorage
    count = shape[0]
    if enhanced:
        headers = [enhanced_header(grid)]
        sources = tuple(SourceImage(EnhancedMRImageStorage, "2.25.2000", count - i) for i in range(count))
    else:
        headers = [slice_header(grid, i, sop_class, modality) for i in range(count)]
        sources = tuple(SourceImage(sop_class, f"2.25.{2000 + i}") for i in range(count))
    originals = {}
    for header in headers:
        if edit is not None:
            edit(header)
        originals[str(header.SOPInstanceUID)] = store(header, folder)
    inputs = tuple(InputInstance(str(h.SOPClassUID), str(h.SOPInstanceUID), f"{i:064x}") for i, h in enumerate(headers))
    mask = brain_mask(grid)
    ramp = np.tile(np.linspace(0, 255, shape[2]).astype(np.uint8), (shape[1], 1))
    keys = (KeyImage(count // 2, ramp), KeyImage(count // 2 - 1, ramp.copy()))
    analysis = Analysis((record(),), (brain_finding(mask, grid),), (mask,))
    return Case(job_result(sources, inputs, grid, modality, analysis, keys), originals)


def radiograph_case(folder: Path, edit: Any = None) -> Case:
    """Two findings without masks on one X-ray; one has a box."""
    header = radiograph_header()
    if edit is not None:
        edit(header)
    path = store(header, folder)
    source = SourceImage(ComputedRadiographyImageStorage, "2.25.3000")
    findings = (
        Finding("lungs", "pneumothorax", Code("36118008", "SCT", "Pneumothorax"), Answer.NEGATIVE, 0.03, 0.4),
        Finding("lungs", "nodule", Code("27925004", "SCT", "Nodule"), Answer.POSITIVE, 0.7, 0.4,
                box=Box((0, 5, 6), (1, 15, 26))),
    )  # fmt: skip
    key = KeyImage(0, np.full((30, 40), 90, dtype=np.uint8))
    inputs = (InputInstance(ComputedRadiographyImageStorage, "2.25.3000", "c" * 64),)
    result = job_result((source,), inputs, None, "CR", Analysis((record("lungs"),), findings), (key,))
    return Case(result, {"2.25.3000": path})


def changed(case: Case, **changes: Any) -> Case:
    return Case(replace(case.result, **changes), case.originals)
