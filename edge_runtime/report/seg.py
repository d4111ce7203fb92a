"""Masks as a DICOM Segmentation, BINARY, on the grid of the source images (PS3.3 A.51, C.8.20)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation as HighdicomSegmentation
from highdicom.seg import SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat, format_number_as_ds

from edge_runtime.domain import Array, Code, EngineIdentity, Geometry, JobResult, Mask, SourceImage
from edge_runtime.errors import ReportFailed
from edge_runtime.report.drawing import colour
from edge_runtime.report.objects import Context, mask_tracking
from edge_runtime.report.originals import read_original
from edge_runtime.report.sr_codes import coded
from edge_runtime.report.text import plain

SOP_CLASS_UID = "1.2.840.10008.5.1.4.1.1.66.4"
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

_DIRECTION_TOLERANCE = 1e-2


def no_segmentation(context: Context) -> str | None:
    """Why this result has no segmentation object, or None where it has one."""
    result = context.result
    if not result.analysis.masks:
        return "no stage gave a mask"
    if result.geometry is None:
        return "masks of frame sequences are drawn on the overlay only"
    if not any(mask.voxels.any() for mask in result.analysis.masks):
        return "every mask is empty"
    if _frame_of_reference(context) is None:
        return "the source images have no Frame of Reference UID"
    return None


def build_seg(context: Context, originals: Mapping[str, Path]) -> Any:
    """The segmentation as a data set. Call it only where `no_segmentation` is None.

    Raises:
        ReportFailed: the masks are not numbered 1, 2, ..., or their grid is not that of the source images.
    """
    result = context.result
    geometry = result.geometry
    assert geometry is not None
    masks = sorted(result.analysis.masks, key=lambda mask: mask.number)
    if [mask.number for mask in masks] != list(range(1, len(masks) + 1)):
        raise ReportFailed(f"the masks of job {result.job_id} must be numbered 1 to {len(masks)}, as segments are")
    _check_grid(result, geometry, originals)
    dataset = HighdicomSegmentation(
        source_images=_stand_ins(context, geometry),
        pixel_array=_pixels(masks),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(context, mask) for mask in masks],
        sop_instance_uid=context.uid("seg", "instance"),
        instance_number=1,
        content_label="EDGE_SEG",
        content_description=plain(f"Unverified segments of {result.pipeline}", 64),
        content_creator_name="Edge Runtime^",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        **context.series("seg"),
    )
    _name_sources(dataset, result.sources, context)
    _name_dimensions(dataset, context.uid("seg", "dimensions"))
    _end_with_zero(dataset)
    context.finish(dataset)
    return dataset


def _frame_of_reference(context: Context) -> str | None:
    geometry = context.result.geometry
    own = geometry.frame_of_reference_uid if geometry else None
    return own or context.original.text("FrameOfReferenceUID")


def _check_grid(result: JobResult, geometry: Geometry, originals: Mapping[str, Path]) -> None:
    """Compare the first and last plane of the grid with the stored images, to half a voxel."""
    tolerance_mm = min(geometry.spacing_mm) / 2
    for mask in result.analysis.masks:
        if mask.voxels.shape != geometry.shape:
            raise ReportFailed(f"mask {mask.number} of job {result.job_id} does not fill the grid of its volume")
    if len(result.sources) != geometry.shape[0]:
        raise ReportFailed(f"job {result.job_id} names {len(result.sources)} images for {geometry.shape[0]} slices")
    for index in {0: None, geometry.shape[0] - 1: None}:
        source = result.sources[index]
        original = read_original(source, originals)
        place = original.place(source.frame_number)
        if place is None or (original.number("Rows"), original.number("Columns")) != geometry.shape[1:]:
            raise ReportFailed(f"slice {index} of job {result.job_id} has not the size and place of its stored image")
        position, axes = place
        moved = math.dist(position, geometry.position_mm((index, 0, 0)))
        turned = np.abs(np.asarray(axes) - np.asarray([geometry.directions[2], geometry.directions[1]])).max()
        if moved > tolerance_mm or turned > _DIRECTION_TOLERANCE:
            raise ReportFailed(
                f"slice {index} of job {result.job_id} lies {moved:.2f} mm from its stored image; "
                "masks must be on the grid of their source"
            )


def _pixels(masks: list[Mask]) -> Array:
    """Bool (slices, rows, columns); numbers for several masks; bool with a last axis of segments where they overlap."""
    if len(masks) == 1:
        return masks[0].voxels
    numbers = np.zeros(masks[0].voxels.shape, dtype=np.uint8 if len(masks) < 256 else np.uint16)
    for mask in masks:
        if numbers[mask.voxels].any():
            return np.stack([m.voxels for m in masks], axis=-1)
        numbers[mask.voxels] = mask.number
    return numbers


def _decimals(values: Any) -> list[Any]:
    return [DSfloat(format_number_as_ds(float(value))) for value in values]


def _stand_ins(context: Context, geometry: Geometry) -> list[Any]:
    """One plain data set a slice, numbered: highdicom needs places, not headers; `_name_sources` gives the names."""
    first = context.template(CTImageStorage, "2.25.1")
    first.PositionReferenceIndicator = context.original.text("PositionReferenceIndicator")
    first.Modality = context.result.modality
    first.PixelSpacing = _decimals(geometry.spacing_mm[1:])
    thickness = context.original.text("SliceThickness")
    try:
        first.SliceThickness = _decimals([float(thickness or "")])[0]
    except (ValueError, OverflowError):
        first.SliceThickness = _decimals(geometry.spacing_mm[:1])[0]
    first.SpacingBetweenSlices = _decimals(geometry.spacing_mm[:1])[0]
    first.LossyImageCompression = "01" if context.original.text("LossyImageCompression") == "01" else "00"
    orientation = _decimals([*geometry.directions[2], *geometry.directions[1]])
    frame_of_reference = _frame_of_reference(context)
    images = []
    for index in range(geometry.shape[0]):
        image = first if index == 0 else Dataset()
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = f"2.25.{index + 1}"
        image.StudyInstanceUID = first.StudyInstanceUID
        image.SeriesInstanceUID = first.SeriesInstanceUID
        image.FrameOfReferenceUID = frame_of_reference
        image.Rows, image.Columns = geometry.shape[1:]
        image.ImageOrientationPatient = orientation
        image.ImagePositionPatient = _decimals(geometry.position_mm((index, 0, 0)))
        images.append(image)
    return images


def _segment(context: Context, mask: Mask) -> Any:
    engine = next((s.engine for s in context.result.analysis.stages if s.stage == mask.stage), None)
    name, uid = mask_tracking(context, mask)
    return SegmentDescription(
        segment_number=mask.number,
        segment_label=plain(mask.label, 64) or f"Segment {mask.number}",
        segmented_property_category=coded(mask.category),
        segmented_property_type=coded(mask.kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=_algorithm(engine, context),
        tracking_uid=uid,
        tracking_id=name,
        display_color=CIELabColor.from_rgb(*colour(mask.number)),
    )


def _algorithm(engine: EngineIdentity | None, context: Context) -> Any:
    if engine is None:
        raise ReportFailed(f"a mask of job {context.result.job_id} names a stage that the job has not")
    return AlgorithmIdentificationSequence(
        name=plain(engine.name, 64),
        family=coded(ARTIFICIAL_INTELLIGENCE),
        version=plain(engine.version, 64),
        source="Edge Runtime",
        parameters={"engine_sha256": engine.sha256, "precision": engine.precision, "backend": engine.backend},
    )


def _name_sources(dataset: Any, sources: tuple[SourceImage, ...], context: Context) -> None:
    """Put the true images, and frames of them, where the stand-ins were. Frames of several segments share an item."""
    derivations = (d for group in dataset.PerFrameFunctionalGroupsSequence for d in group.DerivationImageSequence)
    stand_ins = {id(item): item for derivation in derivations for item in derivation.SourceImageSequence}
    for item in stand_ins.values():
        source = sources[int(item.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1]
        item.ReferencedSOPClassUID = source.sop_class_uid
        item.ReferencedSOPInstanceUID = source.sop_instance_uid
        if source.frame_number is not None:
            item.ReferencedFrameNumber = source.frame_number
    series = Dataset()
    series.SeriesInstanceUID = context.source_series_uid
    series.ReferencedInstanceSequence = _references(sources)
    dataset.ReferencedSeriesSequence = [series]
    dataset.SourceImageSequence = _references(sources)


def _references(sources: tuple[SourceImage, ...]) -> list[Any]:
    """Each stored object once."""
    items = []
    for uid, sop_class in {s.sop_instance_uid: s.sop_class_uid for s in sources}.items():
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = uid
        items.append(item)
    return items


def _name_dimensions(dataset: Any, uid: str) -> None:
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def _end_with_zero(dataset: Any) -> None:
    """Pad the packed bits to an even length with a zero byte (PS3.5 8.1.1)."""
    used = (dataset.NumberOfFrames * dataset.Rows * dataset.Columns + 7) // 8
    dataset.PixelData = dataset.PixelData[:used] + b"\0" * (used % 2)
