"""From decoded objects of one series to a Volume or Frames, or the reason why not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from edge_runtime.assemble.decoded import DecodedObject, Plane
from edge_runtime.assemble.geometry import grid_of
from edge_runtime.domain import Frames, SourceImage, Volume
from edge_runtime.errors import AssemblyRefused

MAXIMUM_BYTES = 4_000_000_000  # of the assembled array
REASONS = (
    "no_images",
    "mixed_patients",
    "conflicting_instances",
    "mixed_modality",
    "mixed_size",
    "mixed_colour",
    "too_large",
    "localizer",
    "colour_volume",
    "missing_rescale",
    "mixed_frame_of_reference",
    "missing_geometry",
    "missing_spacing",
    "mixed_orientation",
    "mixed_spacing",
    "too_few_slices",
    "doubled_slices",
    "missing_slices",
    "uneven_spacing",
    "oblique_shear",
    "not_square",
)


def assemble(
    objects: Sequence[DecodedObject], kind: Literal["volume", "frames"], maximum_bytes: int = MAXIMUM_BYTES
) -> Volume | Frames:
    """Put the frames of all objects of a series together; the order of `objects` does not matter.

    "volume": every frame is a slice of one regular grid, ordered as `geometry` says.
    "frames": pictures of one shape; a multi-frame object in its stored order, several objects by Instance Number.
    Raises AssemblyRefused with one of REASONS. Of an instance that came with different bytes pass both: that refuses.
    """
    ordered = sorted(objects, key=lambda o: (o.facts.instance_number, o.facts.sop_instance_uid))
    _check_alike(ordered)
    size = sum(o.frames.nbytes for o in ordered)
    if size > maximum_bytes:
        raise AssemblyRefused("too_large", f"{size} bytes of pixels; at most {maximum_bytes} are assembled")
    return _volume(ordered) if kind == "volume" else _frames(ordered)


def stated_count(objects: Sequence[DecodedObject]) -> int | None:
    """How many images the acquisition has, where all objects state the same Images in Acquisition (0020,1002)."""
    stated = {o.facts.images_in_acquisition for o in objects}
    return stated.pop() if len(stated) == 1 else None


def _check_alike(objects: Sequence[DecodedObject]) -> None:
    if not objects:
        raise AssemblyRefused("no_images", "the series has no image that could be decoded")
    if len({o.facts.patient_key for o in objects}) > 1:
        raise AssemblyRefused("mixed_patients", "the series holds images of more than one patient")
    instances = Counter(o.facts.sop_instance_uid for o in objects)
    doubled = sum(1 for count in instances.values() if count > 1)
    if doubled:
        detail = f"{doubled} of {len(instances)} instances arrived more than once with different content"
        raise AssemblyRefused("conflicting_instances", detail)
    if len({o.facts.modality for o in objects}) > 1:
        raise AssemblyRefused("mixed_modality", "the series holds images of more than one modality")
    if len({o.frames.ndim for o in objects}) > 1:
        raise AssemblyRefused("mixed_colour", "the series holds grey and colour images")
    sizes = sorted({o.frames.shape[1:3] for o in objects})
    if len(sizes) > 1:
        raise AssemblyRefused("mixed_size", f"the images have {len(sizes)} sizes: {sizes[0]} to {sizes[-1]}")


def _volume(objects: Sequence[DecodedObject]) -> Volume:
    localizers = sum("LOCALIZER" in o.facts.image_type for o in objects)
    if localizers:
        raise AssemblyRefused("localizer", f"{localizers} of {len(objects)} images are localizers")
    if objects[0].frames.ndim == 4:
        raise AssemblyRefused("colour_volume", "a volume is made of grey images; these are in colour")
    raw = sum(o.facts.modality == "CT" and not o.facts.in_modality_units for o in objects)
    if raw:
        raise AssemblyRefused(
            "missing_rescale", f"{raw} of {len(objects)} CT images have no rescale to Hounsfield units"
        )
    references = {o.facts.frame_of_reference_uid for o in objects}
    if len(references) > 1:
        raise AssemblyRefused("mixed_frame_of_reference", f"the slices name {len(references)} frames of reference")
    planes: list[Plane] = [plane for o in objects for plane in o.planes]
    places = [(o, index) for o in objects for index in range(len(o.planes))]
    rows, columns = objects[0].frames.shape[1:3]
    order, geometry = grid_of(planes, rows, columns, references.pop())
    voxels = np.empty(geometry.shape, np.float32)
    for k, (o, index) in enumerate(places[i] for i in order):
        voxels[k] = o.frames[index]
    sources = tuple(_source(*places[i]) for i in order)
    return Volume(voxels, geometry, objects[0].facts.modality, sources)


def _frames(objects: Sequence[DecodedObject]) -> Frames:
    facts = [o.facts for o in objects]
    if any(not f.square_pixels and f.spacing_mm is None for f in facts):
        raise AssemblyRefused("not_square", "the pixels are not square and their spacing is unknown")
    spacings = {(f.spacing_mm, f.spacing_plane) for f in facts}
    if len(spacings) > 1:
        raise AssemblyRefused("mixed_spacing", "the images differ in pixel spacing")
    spacing_mm, spacing_plane = spacings.pop()
    pixels = objects[0].frames if len(objects) == 1 else np.concatenate([o.frames for o in objects])
    return Frames(
        pixels=pixels,
        modality=facts[0].modality,
        sources=tuple(_source(o, index) for o in objects for index in range(len(o.planes))),
        spacing_mm=spacing_mm,
        spacing_plane=spacing_plane,
        frame_seconds=facts[0].frame_seconds if len(objects) == 1 else None,
    )


def _source(decoded: DecodedObject, index: int) -> SourceImage:
    facts = decoded.facts
    return SourceImage(facts.sop_class_uid, facts.sop_instance_uid, index + 1 if facts.multi_frame else None)
