"""What the decoding of one stored object gives: frames, where each lies, and what assembly must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_runtime.domain import Array, Triple

Pair = tuple[float, float]


@dataclass(frozen=True)
class Plane:
    """Where one frame lies (PS3.3 C.7.6.2), in LPS millimetres; None where the object does not say.

    `row_direction` is the direction of increasing column index, `column_direction` that of increasing row index.
    `spacing_mm` is (between rows, between columns). `rescale` is (slope, intercept), already applied to the pixels.
    """

    position_mm: Triple | None = None
    row_direction: Triple | None = None
    column_direction: Triple | None = None
    spacing_mm: Pair | None = None
    thickness_mm: float | None = None
    rescale: Pair | None = None


@dataclass(frozen=True)
class ImageFacts:
    """Attributes of one object that assembly decides by.

    `spacing_mm` and `spacing_plane` are those of a two-dimensional picture, as domain.Frames has them.
    `in_modality_units` is true when a rescale or a Modality LUT was applied to every frame.
    """

    sop_class_uid: str
    sop_instance_uid: str
    patient_key: str
    modality: str
    image_type: tuple[str, ...]
    multi_frame: bool
    instance_number: int
    images_in_acquisition: int | None
    frame_of_reference_uid: str | None
    photometric_interpretation: str
    in_modality_units: bool
    square_pixels: bool
    spacing_mm: Pair | None
    spacing_plane: str | None
    frame_seconds: float | None
    window: Pair | None  # centre and width
    burned_in_annotation: bool | None


@dataclass(frozen=True, eq=False)
class DecodedObject:
    """One object's pixels in stored order, read-only, with a plane a frame.

    frames: float32 (frames, rows, columns) in modality units, or uint8 (frames, rows, columns, 3) RGB.

    Rescale or Modality LUT is applied. MONOCHROME1 is turned so that larger is brighter, by mirroring the stored range
    before the rescale; CT and PT keep their sign, for their rescaled values are physical (HU, Bq/ml), whatever
    the display does. Pixels that Pixel Padding Value marks get the lowest value of the rest of their frame.
    """

    facts: ImageFacts
    planes: tuple[Plane, ...]
    frames: Array

    def __post_init__(self) -> None:
        if len(self.planes) != self.frames.shape[0]:
            raise ValueError(f"{len(self.planes)} planes for {self.frames.shape[0]} frames")
        self.frames.setflags(write=False)


def description(facts: ImageFacts, planes: tuple[Plane, ...]) -> dict[str, Any]:
    """What a decode process says of an object, as JSON-able data; planes as rows of values to keep it small."""
    return {"facts": vars(facts), "planes": [list(vars(plane).values()) for plane in planes]}


def described(data: dict[str, Any]) -> tuple[ImageFacts, tuple[Plane, ...]]:
    """The inverse of `description`."""
    planes = tuple(Plane(*(_frozen(value) for value in row)) for row in data["planes"])
    return ImageFacts(**{key: _frozen(value) for key, value in data["facts"].items()}), planes


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
