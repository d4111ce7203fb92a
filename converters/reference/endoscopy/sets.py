"""Frames that calibrate INT8 and that the gate measures on: of patients that serve no other purpose."""

from __future__ import annotations

from collections.abc import Iterator

from converters.reference.endoscopy.frames import Frame
from converters.reference.endoscopy.samples import MARGIN, as_image, frames_of, region_of
from converters.samples import Sample, TrueBox, Truth, content_sha256
from edge_runtime.domain import Box
from edge_runtime.engines.views import Region

INFORMATIVE_LABEL, POLYP_LABEL = "informative", "polyp"
CALIBRATION_SEED, HOLDOUT_SEED = 900_000, 950_000


def calibration(count: int) -> Iterator[Sample]:
    """Whole frames of every kind, for the classifier and the detectors."""
    for name, frame in _frames(CALIBRATION_SEED, count):
        yield Sample.of(name, as_image(frame.pixels))


def calibration_regions(count: int) -> Iterator[Sample]:
    """The regions of polyps, for the segmenter."""
    return _regions(CALIBRATION_SEED, count)


def holdout_informative(count: int) -> Iterator[Sample]:
    """Whole frames of every kind, and whether they are informative."""
    for name, frame in _frames(HOLDOUT_SEED, count):
        positive = frozenset({INFORMATIVE_LABEL} if frame.informative else ())
        yield Sample.of(name, as_image(frame.pixels), Truth(positive))


def holdout(count: int) -> Iterator[Sample]:
    """Informative frames with the boxes of their polyps, for the detectors."""
    given = 0
    for name, frame in _frames(HOLDOUT_SEED):
        if frame.informative and given < count:
            given += 1
            boxes = tuple(TrueBox(POLYP_LABEL, region_of(polyp.box)) for polyp in frame.polyps)
            yield Sample.of(name, as_image(frame.pixels), Truth(boxes=boxes))
        if given == count:
            return


def holdout_regions(count: int) -> Iterator[Sample]:
    """The regions of polyps with their masks, for the segmenter; those of one frame follow each other."""
    return _regions(HOLDOUT_SEED, count)


def _frames(seed: int, count: int | None = None) -> Iterator[tuple[str, Frame]]:
    """Frames of one patient after the other, with names."""
    given = 0
    while count is None or given < count:
        for number, frame in enumerate(frames_of(seed), start=1):
            if given == count:
                return
            given += 1
            yield f"patient {seed}, frame {number}", frame
        seed += 1


def _regions(seed: int, count: int) -> Iterator[Sample]:
    given = 0
    for name, frame in _frames(seed):
        image = as_image(frame.pixels)
        sha256, truth = content_sha256(image), Truth(masks={POLYP_LABEL: frame.truth[None]})
        for polyp in frame.polyps[: count - given]:
            given += 1
            yield Sample(f"{name}, polyp {polyp.number}", sha256, image, truth, grown(polyp.box, frame))
        if given == count:
            return


def grown(box: tuple[int, int, int, int], frame: Frame) -> Region:
    """A polyp's box with the margin that the shipped pipeline has around a detected one."""
    rows, columns = frame.pixels.shape[:2]
    larger = Box((0, *box[:2]), (1, *box[2:])).grown(MARGIN, (1, rows, columns))
    return Region(tuple(map(float, larger.start)), tuple(map(float, larger.stop)))
