"""Key images as RGB Secondary Capture, for viewers that show neither SR nor SEG (PS3.3 A.8)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.sc import SCImage
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from edge_runtime.domain import BANNER, Code, Geometry, JobResult, KeyImage, SourceImage
from edge_runtime.report import statements
from edge_runtime.report.drawing import Outlined, picture
from edge_runtime.report.objects import Context, code_item
from edge_runtime.report.originals import Original, read_original
from edge_runtime.report.text import moment, plain

SOP_CLASS_UID = "1.2.840.10008.5.1.4.1.1.7"

_SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
_BLANK = KeyImage(0, np.zeros((64, 512), dtype=np.uint8))


def build_overlays(context: Context, originals: Mapping[str, Path]) -> list[Any]:
    """One single-frame data set a key image; one with text alone where there is no key image.

    Raises:
        ReportFailed: the stored image of a key image cannot be read.
    """
    keys = context.result.key_images
    if not keys:
        return [_capture(context, _BLANK, 1, None, context.original)]
    overlays = []
    for number, key in enumerate(keys, start=1):
        source = context.result.sources[key.slice_index]
        overlays.append(_capture(context, key, number, source, read_original(source, originals)))
    return overlays


def _capture(context: Context, key: KeyImage, number: int, source: SourceImage | None, original: Original) -> Any:
    result = context.result
    drawn = _drawn(result, key) if source is not None else []
    pixels = picture(key.pixels, drawn, BANNER, _plain(statements.marks(result)), _lines(result, key, source))
    dataset = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=context.study_uid,
        sop_instance_uid=context.uid("overlay", "instance", str(number)),
        instance_number=context.number(number),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **context.series("overlay"),
    )
    dataset.PatientOrientation = _orientation(result.geometry, original)
    dataset.Laterality = original.text("Laterality")
    dataset.ConversionType = "WSD"
    del dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture
    told = original.text("BurnedInAnnotation")
    if told is not None or not context.key_frame:  # a video signal may carry text of its own
        dataset.BurnedInAnnotation = "YES" if told == "YES" else "NO"
    dataset.DerivationDescription = plain(f"Outlines and text of {statements.identity(result)}; {BANNER}")
    dataset.ImageComments = plain("; ".join([BANNER, *statements.marks(result)]))
    _copy_lossy(original, dataset)
    if source is not None:
        dataset.SourceImageSequence = [_reference(source)]
    context.finish(dataset)
    dataset.DateOfSecondaryCapture = dataset.ContentDate
    dataset.TimeOfSecondaryCapture = dataset.ContentTime
    return dataset


def _plain(lines: tuple[str, ...]) -> list[str]:
    return [plain(line) for line in lines]


def _lines(result: JobResult, key: KeyImage, source: SourceImage | None) -> list[str]:
    concluded = moment(result.concluded_at).strftime("%Y-%m-%d %H:%M:%S UTC")
    what = "frame" if result.geometry is None else "slice"
    shown = "No key image" if source is None else f"Image: {what} {key.slice_index + 1} of {len(result.sources)}"
    whole = "complete" if result.analysis.complete else "INCOMPLETE"
    return _plain(
        (
            f"{statements.identity(result)}; engines {', '.join(statements.engines(result))}",
            f"Result of {concluded}; analysis {whole}; input: {result.completeness}",
            *(statements.finding_line(finding) for finding in result.analysis.findings),
            *(f"Intended use of {use}" for use in statements.intended_uses(result)),
            shown,
        )
    )


def _drawn(result: JobResult, key: KeyImage) -> list[Outlined]:
    """The masks and boxes that meet the slice. Boxes are coloured after the masks."""
    index = key.slice_index
    drawn = []
    for mask in result.analysis.masks:
        plane = mask.voxels[index]
        if plane.shape == key.pixels.shape[:2] and plane.any():
            drawn.append(Outlined(mask.number, plain(f"Segment {mask.number}: {mask.label}"), mask=plane))
    first = max((mask.number for mask in result.analysis.masks), default=0) + 1
    boxed = [finding for finding in result.analysis.findings if finding.box is not None]
    for number, finding in enumerate(boxed, start=first):
        assert finding.box is not None
        (z0, top, left), (z1, bottom, right) = finding.box.start, finding.box.stop
        if z0 <= index < z1:
            label = plain(statements.finding_line(finding))
            drawn.append(Outlined(number, label, rectangle=(top, left, bottom, right)))
    return drawn


def _orientation(geometry: Geometry | None, original: Original) -> Any:
    """Patient Orientation (PS3.3 C.7.6.1.1.1): where rows and columns run to; for frames, as the source says."""
    if geometry is None:
        told = original.text("PatientOrientation")
        return told.split("\\") if told else None
    letters = (("L", "R"), ("P", "A"), ("H", "F"))
    named = []
    for direction in (geometry.directions[2], geometry.directions[1]):
        order = sorted(range(3), key=lambda axis: -abs(direction[axis]))
        strong = [axis for axis in order if abs(direction[axis]) > 0.2]
        named.append("".join(letters[axis][0 if direction[axis] > 0 else 1] for axis in strong))
    return named


def _copy_lossy(original: Original, dataset: Any) -> None:
    """A picture of an image that was once compressed with loss says so (PS3.3 C.7.6.1.1.5)."""
    lossy = original.text("LossyImageCompression") == "01"
    dataset.LossyImageCompression = "01" if lossy else "00"
    ratio, method = (original.text(f"LossyImageCompression{name}") for name in ("Ratio", "Method"))
    if lossy and ratio and method:
        dataset.LossyImageCompressionRatio = ratio.split("\\")
        dataset.LossyImageCompressionMethod = method.split("\\")


def _reference(source: SourceImage) -> Any:
    item = Dataset()
    item.ReferencedSOPClassUID = source.sop_class_uid
    item.ReferencedSOPInstanceUID = source.sop_instance_uid
    if source.frame_number is not None:
        item.ReferencedFrameNumber = source.frame_number
    item.PurposeOfReferenceCodeSequence = [code_item(_SOURCE_IMAGE)]
    return item
