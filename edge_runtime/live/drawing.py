"""A live frame with what was found drawn on it, and with what must be known of it written above and below.

Arrays and a result in, an array out. Nothing that is written covers the image, but a label at its box.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np

from edge_runtime.domain import BANNER, Answer, Array, Box, Finding, StageOutcome
from edge_runtime.frames.frame_result import FrameResult
from edge_runtime.live.lettering import Colour, line_rows, text_columns, write

LARGEST = 1280
"""More rows or columns are scaled down, by a whole number."""

NARROWEST = 560
"""Narrower pictures are scaled up, by a whole number, and get a black margin for the rest."""

_PALETTE: tuple[Colour, ...] = (
    (64, 255, 64), (0, 224, 255), (255, 230, 0), (96, 144, 255), (240, 240, 240),
)  # fmt: skip
"""None is red or pink, as the inside of a body is."""
_WARNING: Colour = (255, 176, 0)
_TEXT: Colour = (230, 230, 230)
_PAPER = 24
_WORDS = {
    StageOutcome.SKIPPED: "skipped",
    StageOutcome.NOT_EVALUATED: "not evaluated",
    StageOutcome.FAILED: "failed",
}
_BELOW = 3


def draw(pixels: Array, result: FrameResult, now: float) -> Array:
    """The picture: uint8 RGB (rows, columns, 3), both even, of a size that follows from that of the frame alone.

    pixels: uint8 RGB (rows, columns, 3), the frame. now: CLOCK_MONOTONIC seconds; the age at this moment is written.
    """
    scale = scale_of(*pixels.shape[:2])
    image = _scaled(pixels, scale)
    size = _text_size(image.shape[1])
    line = line_rows(size)
    width = _even(max(image.shape[1], NARROWEST))
    height = _even(image.shape[0] + (1 + _BELOW) * line + 2)
    canvas = np.zeros((height, width, 3), np.uint8)
    left = (width - image.shape[1]) // 2
    middle = canvas[line : line + image.shape[0], left : left + image.shape[1]]
    middle[...] = image
    _draw_masks(middle, result, scale)
    _draw_boxes(middle, result, scale, size)
    write(canvas[:line, 4:-4], BANNER, size, _WARNING)
    below = line + image.shape[0] + 2
    for number, (text, ink) in enumerate(lines_below(result, now)):
        write(canvas[below + number * line :, 4:-4], text, size, ink)
    return canvas


def scale_of(rows: int, columns: int) -> float:
    """By what frames of this size are multiplied: a whole number, or one divided by a whole number."""
    if max(rows, columns) > LARGEST:
        return 1 / math.ceil(max(rows, columns) / LARGEST)
    return max(1, min(NARROWEST // columns, LARGEST // rows))


def lines_below(result: FrameResult, now: float) -> tuple[tuple[str, Colour], ...]:
    """What is written below, always as many lines: how old it is; what is lacking; what is said of the whole frame."""
    moment = datetime.fromtimestamp(result.captured_unix, timezone.utc)
    time = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC"
    age, budget = 1000 * (now - result.captured_at), 1000 * result.deadline_seconds
    return (
        (f"{age:.0f} ms old when drawn, budget {budget:.0f} ms   {time}   {result.source}", _TEXT),
        ("   ".join([*marks(result), *result.notes]), _WARNING),
        ("   ".join(_said(finding) for finding in result.analysis.findings if finding.box is None), _TEXT),
    )


def marks(result: FrameResult) -> tuple[str, ...]:
    """What must not be overlooked: that the analysis is not whole, and which stages it lacks; that it is late."""
    lacking = [f"{s.stage} {_WORDS[s.outcome]}" for s in result.analysis.stages if s.outcome in _WORDS]
    found = [f"INCOMPLETE: {', '.join(lacking)}"] if lacking else []
    if result.late:
        found.append(f"LATE: {1000 * (result.age_seconds - result.deadline_seconds):.0f} ms after its deadline")
    return tuple(found)


def _said(finding: Finding) -> str:
    answer = "NOT EVALUATED" if finding.answer is Answer.NOT_EVALUATED else finding.answer.value
    sure = "" if finding.probability is None else f" p={finding.probability:.2f}"
    return f"{finding.stage} {finding.label}: {answer}{sure}"


def colour(label: str) -> Colour:
    """The colour of a label: the same in every frame, and for its masks and its boxes."""
    return _PALETTE[zlib.crc32(label.encode()) % len(_PALETTE)]


def _scaled(pixels: Array, scale: float) -> Array:
    if scale > 1:
        return np.repeat(np.repeat(pixels, int(scale), axis=0), int(scale), axis=1)
    if scale < 1:
        from PIL import Image

        return np.asarray(Image.fromarray(pixels).reduce(round(1 / scale)))
    return pixels


def _draw_masks(image: Array, result: FrameResult, scale: float) -> None:
    for mask in result.analysis.masks:
        plane = mask.voxels[0]
        place = _extent(plane)
        if place is None:
            continue
        rows, columns = (
            np.arange(math.floor(part.start * scale), min(math.ceil(part.stop * scale), limit))
            for part, limit in zip(place, image.shape[:2], strict=True)
        )
        inside = plane[np.ix_((rows / scale).astype(np.intp), (columns / scale).astype(np.intp))]
        area = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        area[outline(inside, _line_width(image))] = colour(mask.label)


def _extent(plane: Array) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    if rows.size == 0:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def outline(mask: Array, width: int) -> Array:
    """The pixels of a bool mask (rows, columns) within `width` pixels of its outside (four neighbours a step); bool."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: Array = mask & ~inner
    return edge


def _draw_boxes(image: Array, result: FrameResult, scale: float, size: int) -> None:
    for finding in _boxed(result.analysis.findings):
        assert finding.box is not None
        top, left, bottom, right = _corners(finding.box, scale, image.shape)
        ink = colour(finding.label)
        width = _line_width(image)
        frame = image[top:bottom, left:right]
        for side in (frame[:width], frame[-width:], frame[:, :width], frame[:, -width:]):
            side[...] = ink
        sure = "" if finding.probability is None else f" {finding.probability:.2f}"
        _tag(image, finding.label + sure, top, left, size, ink)


def _boxed(findings: Sequence[Finding]) -> list[Finding]:
    """The positive ones that have a place, the surest last, so that it lies on top."""
    found = [finding for finding in findings if finding.box is not None and finding.answer is Answer.POSITIVE]
    return sorted(found, key=lambda finding: finding.probability or 0.0)


def _corners(box: Box, scale: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    top, left = (min(math.floor(edge * scale), limit - 1) for edge, limit in zip(box.start[1:], shape, strict=False))
    bottom, right = (min(math.ceil(edge * scale), limit) for edge, limit in zip(box.stop[1:], shape, strict=False))
    return top, left, bottom, right


def _tag(image: Array, text: str, top: int, left: int, size: int, ink: Colour) -> None:
    """A label on dark ground above the box, or within it where there is no room; moved left to be whole."""
    height, width = line_rows(size), text_columns(text, size) + 6
    top = top - height if top >= height else top
    left = max(0, min(left, image.shape[1] - width))
    ground = image[top : top + height, left : left + width]
    ground[...] = _PAPER
    write(ground[:, 3:], text, size, ink)


def _text_size(columns: int) -> int:
    return max(13, min(columns, LARGEST) // 48)


def _line_width(image: Array) -> int:
    return max(2, int(image.shape[1]) // 400)


def _even(extent: int) -> int:
    return extent + extent % 2
