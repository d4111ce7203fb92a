"""Reading of the attributes that assembly decides by: plane geometry, spacing, rescale, time between frames."""

from __future__ import annotations

from edge_runtime.assemble.decoded import ImageFacts, Pair, Plane
from edge_runtime.assemble.elements import Elements
from edge_runtime.assemble.header import burned_in_annotation, patient_key
from edge_runtime.domain import Triple

_CROSS_SECTIONAL = ("CT", "MR", "PT", "NM")
_UNIT_CM = 3  # Physical Units X/Y Direction (PS3.3 C.8.5.5.1.15)
_FORMAT_2D = 1  # Region Spatial Format


def planes_of(elements: Elements, frames: int) -> tuple[Plane, ...]:
    """One plane a frame, from the functional groups (PS3.3 C.7.6.16) or else from the object itself."""
    shared = _first(elements, "SharedFunctionalGroupsSequence")
    per_frame = elements.items("PerFrameFunctionalGroupsSequence")
    if not per_frame and shared is None:
        return (_plane((elements,)),) * frames
    # Too few items leave the remaining frames with what is shared: no position, so no volume.
    groups = (*per_frame[:frames], *([None] * (frames - len(per_frame))))
    return tuple(_plane(tuple(g for g in (group, shared, elements) if g is not None)) for group in groups)


def _plane(holders: tuple[Elements, ...]) -> Plane:
    orientation = _grouped(holders, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    slope = _grouped(holders, "PixelValueTransformationSequence", "RescaleSlope", 1)
    intercept = _grouped(holders, "PixelValueTransformationSequence", "RescaleIntercept", 1)
    thickness = _grouped(holders, "PixelMeasuresSequence", "SliceThickness", 1)
    return Plane(
        position_mm=_triple(_grouped(holders, "PlanePositionSequence", "ImagePositionPatient", 3)),
        row_direction=_triple(orientation[:3]),
        column_direction=_triple(orientation[3:]),
        spacing_mm=_positive_pair(_grouped(holders, "PixelMeasuresSequence", "PixelSpacing", 2)),
        thickness_mm=thickness[0] if thickness else None,
        rescale=(slope[0], intercept[0]) if slope and intercept else None,
    )


def _grouped(holders: tuple[Elements, ...], sequence: str, keyword: str, count: int) -> tuple[float, ...]:
    """The values from the first holder that has the functional group, or has the attribute itself."""
    for holder in holders:
        inner = _first(holder, sequence)
        found = (holder if inner is None else inner).numbers(keyword)
        if len(found) == count:
            return found
    return ()


def facts_of(elements: Elements, planes: tuple[Plane, ...], multi_frame: bool) -> ImageFacts:
    """The attributes of one object; text that cannot be read counts as absent."""
    modality = elements.text("Modality") or ""
    spacing, spacing_plane = _picture_spacing(elements, modality, planes)
    aspect = elements.numbers("PixelAspectRatio")
    centre, width = elements.number("WindowCenter"), elements.number("WindowWidth")
    images = elements.number("ImagesInAcquisition")
    has_lut = bool(elements.items("ModalityLUTSequence"))
    return ImageFacts(
        sop_class_uid=elements.text("SOPClassUID") or "",
        sop_instance_uid=elements.text("SOPInstanceUID") or "",
        patient_key=patient_key(elements),
        modality=modality,
        image_type=elements.texts("ImageType"),
        multi_frame=multi_frame,
        instance_number=elements.integer("InstanceNumber"),
        images_in_acquisition=None if images is None else int(images),
        frame_of_reference_uid=elements.text("FrameOfReferenceUID"),
        photometric_interpretation=elements.text("PhotometricInterpretation") or "",
        in_modality_units=has_lut or all(plane.rescale is not None for plane in planes),
        square_pixels=len(aspect) != 2 or aspect[0] == aspect[1],
        spacing_mm=spacing,
        spacing_plane=spacing_plane,
        frame_seconds=_frame_seconds(elements),
        window=None if centre is None or width is None else (centre, width),
        burned_in_annotation=burned_in_annotation(elements),
    )


def _picture_spacing(elements: Elements, modality: str, planes: tuple[Plane, ...]) -> tuple[Pair | None, str | None]:
    """Spacing in mm and the plane that it holds in (PS3.3 10.7.1.3 and C.8.5.5)."""
    regions = elements.items("SequenceOfUltrasoundRegions")
    if regions or modality == "US":
        spacing = _ultrasound_spacing(regions)
        return spacing, "patient" if spacing else None
    own = planes[0].spacing_mm if len({plane.spacing_mm for plane in planes}) == 1 else None
    if modality in _CROSS_SECTIONAL or (own and elements.text("PixelSpacingCalibrationType")):
        return own, "patient" if own else None
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        own = _positive_pair(elements.numbers(keyword)) or own
    return own, "detector" if own else None


def _ultrasound_spacing(regions: tuple[Elements, ...]) -> Pair | None:
    """(row, column) spacing in mm when all regions are two-dimensional tissue in cm and agree, else None."""
    found = set()
    for region in regions:
        units = (region.integer("PhysicalUnitsXDirection"), region.integer("PhysicalUnitsYDirection"))
        if region.integer("RegionSpatialFormat") != _FORMAT_2D or units != (_UNIT_CM, _UNIT_CM):
            return None
        deltas = (region.number("PhysicalDeltaY") or 0.0, region.number("PhysicalDeltaX") or 0.0)
        found.add((abs(deltas[0]) * 10.0, abs(deltas[1]) * 10.0))
    return _positive_pair(found.pop()) if len(found) == 1 else None


def _frame_seconds(elements: Elements) -> float | None:
    """Time from one frame to the next (PS3.3 C.7.6.5): Frame Time, an even Frame Time Vector, or Cine Rate."""
    milliseconds = elements.number("FrameTime")
    if milliseconds is None:
        steps = elements.numbers("FrameTimeVector")[1:]  # the first is the offset of the first frame
        if steps and max(steps) - min(steps) <= 0.01 * max(steps):
            milliseconds = sum(steps) / len(steps)
    if milliseconds is not None:
        return milliseconds / 1000.0 if milliseconds > 0 else None
    rate = elements.number("CineRate")
    return 1.0 / rate if rate is not None and rate > 0 else None


def _first(elements: Elements, keyword: str) -> Elements | None:
    found = elements.items(keyword)
    return found[0] if found else None


def _triple(values: tuple[float, ...]) -> Triple | None:
    return (values[0], values[1], values[2]) if len(values) == 3 else None


def _positive_pair(values: tuple[float, ...]) -> Pair | None:
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None
