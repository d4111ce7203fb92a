"""The report of record: a Measurement Report, TID 1500 of PS3.16, one group a finding."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    ImageRegion,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr import Measurement as NumericItem
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from edge_runtime import __version__
from edge_runtime.domain import (
    MANUFACTURER,
    Answer,
    Box,
    Code,
    Finding,
    Mask,
    Measurement,
    Predecessor,
    SourceImage,
    StageRecord,
)
from edge_runtime.report import seg, sr_codes
from edge_runtime.report.objects import MODEL, Context, finding_tracking, mask_tracking, source_items
from edge_runtime.report.sr_codes import coded
from edge_runtime.report.statements import stage_line, summary
from edge_runtime.report.text import plain

_FINDING = Code("121071", "DCM", "Finding")


def build_sr(
    context: Context, *, segmentation_uid: str | None, no_segmentation: str | None, predecessor: Predecessor | None
) -> Any:
    """The report as a data set: Comprehensive 3D SR for volumes, Comprehensive SR for frame sequences.

    segmentation_uid: SOP Instance UID of the SEG that is written beside it, if one is.
    no_segmentation: why there is none, where one was asked for.
    """
    result = context.result
    content = MeasurementReport(
        observation_context=_observer(context),
        procedure_reported=coded(sr_codes.PROCEDURES.get(result.modality, sr_codes.IMAGING_PROCEDURE)),
        imaging_measurements=_groups(context, segmentation_uid),
    )
    root = content[0].ContentSequence
    root.insert(len(root) - 1, _summary(summary(result, no_segmentation)))
    kind = ComprehensiveSR if result.geometry is None else Comprehensive3DSR
    dataset = kind(
        evidence=_evidence(context, segmentation_uid),
        content=content[0],
        sop_instance_uid=context.uid("sr", "instance"),
        instance_number=context.number(1),
        is_complete=result.analysis.complete,
        is_final=False,
        is_verified=False,
        record_evidence=False,
        **context.series("sr"),
    )
    dataset.CurrentRequestedProcedureEvidenceSequence = _references(context, segmentation_uid)
    dataset.CompletionFlagDescription = (
        "Every stage ran or was not needed" if result.analysis.complete else "Some stages have no answer"
    )
    if predecessor is not None:
        dataset.PredecessorDocumentsSequence = [_predecessor(predecessor)]
    context.finish(dataset)
    return dataset


def _observer(context: Context) -> Any:
    attributes = DeviceObserverIdentifyingAttributes(
        uid=context.device_uid,
        name=MODEL,
        manufacturer_name=MANUFACTURER,
        model_name=f"{MODEL} {__version__}",
        serial_number=plain(context.device_serial, 64),
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=coded(sr_codes.DEVICE), observer_identifying_attributes=attributes
        )
    )


def _summary(lines: tuple[str, ...]) -> Any:
    container = ContainerContentItem(name=coded(sr_codes.SUMMARY), relationship_type="CONTAINS")
    container.ContentSequence = ContentSequence([_comment(line) for line in lines])
    return container


def _comment(text: str) -> Any:
    return TextContentItem(name=coded(sr_codes.COMMENT), value=plain(text) or "-", relationship_type="CONTAINS")


def _groups(context: Context, segmentation_uid: str | None) -> list[Any]:
    """One group a finding; one a mask that no finding names; one a stage that says nothing; never none."""
    analysis = context.result.analysis
    groups = [_finding_group(context, i, finding, segmentation_uid) for i, finding in enumerate(analysis.findings)]
    named = {finding.mask_number for finding in analysis.findings}
    groups += [_mask_group(context, mask, segmentation_uid) for mask in analysis.masks if mask.number not in named]
    heard = {finding.stage for finding in analysis.findings} | {mask.stage for mask in analysis.masks}
    groups += [_silent_group(context, record) for record in analysis.stages if record.stage not in heard]
    return groups


def _finding_group(context: Context, index: int, finding: Finding, segmentation_uid: str | None) -> Any:
    mask = next((m for m in context.result.analysis.masks if m.number == finding.mask_number), None)
    name, uid = mask_tracking(context, mask) if mask else finding_tracking(context, index, finding)
    numbers = [*_volume(context, mask, finding), *finding.measurements]
    if finding.probability is not None:
        numbers.append(Measurement(sr_codes.PROBABILITY, finding.probability, sr_codes.NO_UNITS))
    shared = _shared(context, finding.stage, name, uid, numbers, finding.threshold)
    shared["qualitative_evaluations"] = [
        QualitativeEvaluation(name=coded(finding.concept), value=coded(sr_codes.ANSWERS[finding.answer]))
    ]
    if finding.answer is Answer.POSITIVE:
        shared["finding_type"] = coded(finding.concept)
    group = _placed(context, shared, mask, finding.box, segmentation_uid)
    group[0].ContentSequence.append(_comment(f"{finding.label}: {finding.answer.value.replace('_', ' ')}"))
    return group


def _mask_group(context: Context, mask: Mask, segmentation_uid: str | None) -> Any:
    name, uid = mask_tracking(context, mask)
    shared = _shared(context, mask.stage, name, uid, _volume(context, mask, None), None)
    shared["finding_type"] = coded(mask.kind)
    return _placed(context, shared, mask, None, segmentation_uid)


def _silent_group(context: Context, record: StageRecord) -> Any:
    uid = context.uid("tracking", "stage", record.stage)
    shared = _shared(context, record.stage, plain(f"{record.stage} stage", 64), uid, [], None)
    shared["qualitative_evaluations"] = [
        QualitativeEvaluation(name=coded(_FINDING), value=coded(sr_codes.ANSWERS[Answer.NOT_EVALUATED]))
    ]
    group = MeasurementsAndQualitativeEvaluations(**shared)
    group[0].ContentSequence.append(_comment(stage_line(record)))
    return group


def _shared(
    context: Context, stage: str, name: str, uid: str, numbers: list[Measurement], threshold: float | None
) -> dict[str, Any]:
    return {
        "tracking_identifier": TrackingIdentifier(uid=uid, identifier=name),
        "algorithm_id": _algorithm(context, stage, threshold),
        "measurements": [
            NumericItem(name=coded(m.concept), value=_decimal(m.value), unit=coded(m.unit)) for m in numbers
        ],
    }


def _decimal(value: float) -> float:
    """Seven figures: what float32 arithmetic can know, and what a decimal string of 16 characters holds."""
    return float(f"{value:.7g}")


def _volume(context: Context, mask: Mask | None, finding: Finding | None) -> list[Measurement]:
    """The segment's volume in ml, unless the finding measured it itself."""
    geometry = context.result.geometry
    told = finding is not None and any(m.concept.value == sr_codes.VOLUME.value for m in finding.measurements)
    if mask is None or geometry is None or told:
        return []
    millilitres = int(np.count_nonzero(mask.voxels)) * geometry.voxel_ml
    return [Measurement(sr_codes.VOLUME, millilitres, sr_codes.MILLILITRE)]


def _algorithm(context: Context, stage: str, threshold: float | None) -> Any:
    record = next((s for s in context.result.analysis.stages if s.stage == stage), None)
    if record is None:
        return None
    engine = record.engine
    parameters = [
        f"stage={stage}",
        f"engine_sha256={engine.sha256}",
        f"precision={engine.precision}",
        f"backend={engine.backend}",
        f"pipeline_sha256={hashlib.sha256(context.result.pipeline_stages.encode()).hexdigest()}",
    ]
    if threshold is not None:
        parameters.append(f"threshold={threshold:.7g}")
    return AlgorithmIdentification(
        name=plain(engine.name, 64) or "unnamed",
        version=plain(engine.version, 64) or "unknown",
        parameters=[plain(p) for p in parameters],
        family=coded(seg.ARTIFICIAL_INTELLIGENCE),
    )


def _placed(
    context: Context, shared: dict[str, Any], mask: Mask | None, box: Box | None, segmentation_uid: str | None
) -> Any:
    """The group with its place: a segment (TID 1411), a rectangle on one image (TID 1410), or the whole (TID 1501)."""
    if mask is not None and segmentation_uid is not None:
        segment = ReferencedSegment(
            sop_class_uid=seg.SOP_CLASS_UID,
            sop_instance_uid=segmentation_uid,
            segment_number=mask.number,
            source_series=SourceSeriesForSegmentation(context.source_series_uid),
        )
        return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **shared)
    if box is None:
        return MeasurementsAndQualitativeEvaluations(**shared)
    region = _rectangle(box, _middle(box, context))
    group = PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **shared)
    (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
    group[0].ContentSequence.append(
        _comment(
            f"Box on images {z0 + 1} to {z1}, rows {y0 + 1} to {y1}, columns {x0 + 1} to {x1}; shown on the middle"
        )
    )
    return group


def _middle(box: Box, context: Context) -> SourceImage:
    return context.result.sources[(box.start[0] + box.stop[0] - 1) // 2]


def _rectangle(box: Box, source: SourceImage) -> Any:
    """PS3.3 C.18.6.1.2: (column, row), where (0, 0) is the outer corner of the first pixel."""
    (_, top, left), (_, bottom, right) = box.start, box.stop
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    frames = None if source.frame_number is None else [source.frame_number]
    image = SourceImageForRegion(source.sop_class_uid, source.sop_instance_uid, frames)
    return ImageRegion(GraphicTypeValues.POLYLINE, np.asarray(corners, dtype=np.float64), image)


def _evidence(context: Context, segmentation_uid: str | None) -> list[Any]:
    """A stand-in to take the study from, then what the content names: images with a rectangle, the segmentation."""
    boxes = [finding.box for finding in context.result.analysis.findings if finding.box is not None]
    named = {source.sop_instance_uid: source.sop_class_uid for source in (_middle(box, context) for box in boxes)}
    if segmentation_uid is not None:
        named[segmentation_uid] = seg.SOP_CLASS_UID
    evidence = [context.template(CTImageStorage, "2.25.1")]
    return evidence + [context.template(sop_class, uid) for uid, sop_class in named.items()]


def _references(context: Context, segmentation_uid: str | None) -> list[Any]:
    """Every object that went in, and the segmentation (PS3.3 C.17.2.3)."""
    series = [(context.source_series_uid, source_items(context.result.inputs))]
    if segmentation_uid is not None:
        item = Dataset()
        item.ReferencedSOPClassUID = seg.SOP_CLASS_UID
        item.ReferencedSOPInstanceUID = segmentation_uid
        series.append((context.series_uid("seg"), [item]))
    study = Dataset()
    study.StudyInstanceUID = context.study_uid
    study.ReferencedSeriesSequence = []
    for uid, instances in series:
        one = Dataset()
        one.SeriesInstanceUID = uid
        one.ReferencedSOPSequence = instances
        study.ReferencedSeriesSequence.append(one)
    return [study]


def _predecessor(predecessor: Predecessor) -> Any:
    instance = Dataset()
    instance.ReferencedSOPClassUID = predecessor.sop_class_uid
    instance.ReferencedSOPInstanceUID = predecessor.sop_instance_uid
    series = Dataset()
    series.SeriesInstanceUID = predecessor.series_instance_uid
    series.ReferencedSOPSequence = [instance]
    study = Dataset()
    study.StudyInstanceUID = predecessor.study_instance_uid
    study.ReferencedSeriesSequence = [series]
    return study
