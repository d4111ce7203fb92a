"""What passes between the parts: frozen, validated once, with geometry and units.

Arrays are indexed (slice, row, column). Patient coordinates are DICOM's LPS, in millimetres (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Triple = tuple[float, float, float]

MANUFACTURER = "Edge Runtime"  # in every result; what comes back with it is never analysed again
BANNER = "NOT FOR DIAGNOSIS - UNVERIFIED AI RESULT"  # in every result and on every picture

_UNIT_TOLERANCE = 1e-3


class Answer(Enum):
    """The three values of a condition. `NOT_EVALUATED` is never a negative."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    NOT_EVALUATED = "not_evaluated"


class StageOutcome(Enum):
    """What became of a stage of a job."""

    RAN = "ran"
    NOT_NEEDED = "not_needed"  # its `when` was negative, or `within` gave no region: the answer is whole
    SKIPPED = "skipped"  # optional, left out to make the deadline: the answer is incomplete
    NOT_EVALUATED = "not_evaluated"  # what it depends on has no answer: the answer is incomplete
    FAILED = "failed"  # it raised, or gave NaN: the answer is incomplete


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 section 8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        if not (self.value and self.scheme and self.meaning):
            raise ValueError(f"a code needs value, scheme and meaning, got {self!r}")


@dataclass(frozen=True)
class Measurement:
    """A number with its concept and its UCUM unit."""

    concept: Code
    value: float
    unit: Code

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.concept.meaning} must be finite, got {self.value}")


@dataclass(frozen=True)
class Geometry:
    """A regular grid in patient space.

    `directions` are three orthonormal LPS vectors along increasing slice, row and column index;
    `spacing_mm` are the distances along them; `origin_mm` is the centre of voxel (0, 0, 0).
    """

    shape: tuple[int, int, int]
    origin_mm: Triple
    directions: tuple[Triple, Triple, Triple]
    spacing_mm: Triple
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"every extent of a grid is at least 1, got {self.shape}")
        if not all(math.isfinite(s) and s > 0 for s in self.spacing_mm):
            raise ValueError(f"spacing must be positive, got {self.spacing_mm} mm")
        axes = np.asarray(self.directions, dtype=np.float64)
        if not np.allclose(axes @ axes.T, np.eye(3), atol=_UNIT_TOLERANCE):
            raise ValueError(f"directions must be orthonormal, got {self.directions}")

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return math.prod(self.spacing_mm) / 1000.0

    def position_mm(self, index: Triple) -> Triple:
        """LPS position in mm of a (slice, row, column) index, which may be fractional."""
        axes = np.asarray(self.directions, dtype=np.float64)
        steps = np.asarray(index, dtype=np.float64) * np.asarray(self.spacing_mm)
        x, y, z = (np.asarray(self.origin_mm) + steps @ axes).tolist()
        return (x, y, z)


@dataclass(frozen=True)
class SourceImage:
    """The stored image (or one frame of it) that a plane of an array came from."""

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None = None  # counts from 1; None for a single-frame object


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels on a regular grid, in modality units after rescale (HU for CT).

    voxels: float32 (slices, rows, columns), read-only. `sources` names one image a slice, in slice order.
    """

    voxels: Array
    geometry: Geometry
    modality: str
    sources: tuple[SourceImage, ...]

    def __post_init__(self) -> None:
        if self.voxels.shape != self.geometry.shape:
            raise ValueError(f"voxels {self.voxels.shape} do not fill the grid {self.geometry.shape}")
        if self.voxels.dtype != np.float32:
            raise ValueError(f"voxels must be float32, got {self.voxels.dtype}")
        if len(self.sources) != self.geometry.shape[0]:
            raise ValueError(f"{len(self.sources)} sources for {self.geometry.shape[0]} slices")
        self.voxels.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Frames:
    """One or more two-dimensional pictures of one shape: an X-ray, an ultrasound clip, an endoscopy sequence.

    pixels: (frames, rows, columns) float32 for grey after rescale, with larger values brighter;
    or (frames, rows, columns, 3) uint8 RGB. Read-only. `spacing_mm` is (row, column) in the plane
    that `spacing_plane` names: "patient", "detector", or None where no spacing is known.
    """

    pixels: Array
    modality: str
    sources: tuple[SourceImage, ...]
    spacing_mm: tuple[float, float] | None = None
    spacing_plane: str | None = None
    frame_seconds: float | None = None  # time from one frame to the next

    def __post_init__(self) -> None:
        grey = self.pixels.ndim == 3 and self.pixels.dtype == np.float32
        colour = self.pixels.ndim == 4 and self.pixels.shape[-1] == 3 and self.pixels.dtype == np.uint8
        if not (grey or colour):
            raise ValueError(f"frames are grey float32 or RGB uint8, got {self.pixels.dtype} {self.pixels.shape}")
        if len(self.sources) != self.pixels.shape[0]:
            raise ValueError(f"{len(self.sources)} sources for {self.pixels.shape[0]} frames")
        if (self.spacing_mm is None) != (self.spacing_plane is None):
            raise ValueError("spacing and the plane it holds in come together")
        self.pixels.setflags(write=False)


Image = Volume | Frames


@dataclass(frozen=True)
class Box:
    """A half-open box of indices: `start` is inside, `stop` is not. (slice, row, column)."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    def __post_init__(self) -> None:
        if any(a < 0 or b <= a for a, b in zip(self.start, self.stop, strict=True)):
            raise ValueError(f"a box has 0 <= start < stop on every axis, got {self.start} to {self.stop}")

    @property
    def shape(self) -> tuple[int, int, int]:
        a, b = self.start, self.stop
        return (b[0] - a[0], b[1] - a[1], b[2] - a[2])

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        a, b = self.start, self.stop
        return (slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2]))

    def grown(self, margin: float, limit: tuple[int, int, int]) -> Box:
        """This box with `margin` times its extent added on each side of every axis, cut to `limit`."""
        grow = [round(margin * extent) for extent in self.shape]
        start = [max(0, a - g) for a, g in zip(self.start, grow, strict=True)]
        stop = [min(n, b + g) for b, g, n in zip(self.stop, grow, limit, strict=True)]
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


@dataclass(frozen=True, eq=False)
class Mask:
    """A segment on the source's grid. voxels: bool (slices, rows, columns), read-only; never empty of shape."""

    number: int  # Segment Number, counts from 1 (PS3.3 C.8.20.2)
    label: str
    category: Code  # Segmented Property Category
    kind: Code  # Segmented Property Type
    stage: str
    voxels: Array

    def __post_init__(self) -> None:
        if self.number < 1 or not self.label:
            raise ValueError(f"a mask has a number from 1 and a label, got {self.number} {self.label!r}")
        if self.voxels.dtype != np.bool_ or self.voxels.ndim != 3:
            raise ValueError(f"a mask is bool (slices, rows, columns), got {self.voxels.dtype} {self.voxels.shape}")
        self.voxels.setflags(write=False)


@dataclass(frozen=True)
class Finding:
    """One statement of the result: what a stage says, how sure it is, and what was measured."""

    stage: str
    label: str
    concept: Code
    answer: Answer
    probability: float | None = None
    threshold: float | None = None
    measurements: tuple[Measurement, ...] = ()
    box: Box | None = None
    mask_number: int | None = None

    def __post_init__(self) -> None:
        if self.probability is not None and not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability of {self.label} must be within 0..1, got {self.probability}")


@dataclass(frozen=True)
class EngineIdentity:
    """Which engine answered: enough to name it in a result and to build it again."""

    name: str
    version: str
    sha256: str
    precision: str
    backend: str
    statement: str  # intended use, e.g. "research only, not for clinical use"


@dataclass(frozen=True)
class StageRecord:
    """What a stage did for this job."""

    stage: str
    engine: EngineIdentity
    outcome: StageOutcome
    reason: str = ""
    seconds: float = 0.0
    regions: int = 0
    waited_seconds: float = 0.0  # of `seconds`: for its turn on the device
    expected_seconds: float | None = None  # what it was thought to need; None where no deadline was set


@dataclass(frozen=True, eq=False)
class Analysis:
    """What the pipeline says of one image: stage records, findings and masks."""

    stages: tuple[StageRecord, ...]
    findings: tuple[Finding, ...]
    masks: tuple[Mask, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """True when every stage ran or was not needed."""
        return all(s.outcome in (StageOutcome.RAN, StageOutcome.NOT_NEEDED) for s in self.stages)


@dataclass(frozen=True, eq=False)
class KeyImage:
    """A slice or frame chosen to be shown with the masks drawn on it.

    pixels: uint8 (rows, columns), windowed for display; or uint8 (rows, columns, 3) RGB. Read-only.
    """

    slice_index: int
    pixels: Array

    def __post_init__(self) -> None:
        colour = self.pixels.ndim == 3 and self.pixels.shape[-1] == 3
        if self.pixels.dtype != np.uint8 or not (self.pixels.ndim == 2 or colour):
            raise ValueError(
                f"a key image is uint8 (rows, columns), or with 3 colours, got {self.pixels.dtype} {self.pixels.shape}"
            )
        self.pixels.setflags(write=False)


@dataclass(frozen=True)
class InputInstance:
    """One stored object that a result was made from, and the hash of its data set as received."""

    sop_class_uid: str
    sop_instance_uid: str
    sha256: str


@dataclass(frozen=True)
class Predecessor:
    """The structured report that a later one amends (PS3.3 C.17.2.3, Predecessor Documents Sequence)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, eq=False)
class JobResult:
    """All that the writers of DICOM need to know of a concluded job. Times are Unix seconds (UTC).

    `geometry` is None for frame sequences. `completeness` says how many objects were seen and how the
    runtime knows that they were all. `pipeline_stages` is the configuration of the stages as canonical JSON.
    """

    job_id: str
    pipeline: str
    pipeline_stages: str
    revision: int
    modality: str
    geometry: Geometry | None
    sources: tuple[SourceImage, ...]
    inputs: tuple[InputInstance, ...]
    completeness: str
    first_received_at: float
    last_received_at: float
    concluded_at: float
    deadline_at: float
    analysis: Analysis
    key_images: tuple[KeyImage, ...]
    notes: tuple[str, ...] = ()

    @property
    def late(self) -> bool:
        """True when the answer came after the job's deadline."""
        return self.concluded_at > self.deadline_at
