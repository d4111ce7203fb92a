"""Key images with outlines, a banner, statements and a legend, as RGB pixels: arrays and text in, an array out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge_runtime.domain import Array

_COLOURS = (
    (255, 64, 64), (64, 220, 64), (80, 160, 255), (255, 200, 0),
    (255, 96, 255), (0, 220, 220), (255, 144, 48), (176, 128, 255),
)  # fmt: skip
_WARNING = (255, 176, 0)
_TEXT = (230, 230, 230)
_SMALLEST_WIDTH = 512


@dataclass(frozen=True, eq=False)
class Outlined:
    """What is outlined in one colour: a mask (rows, columns), bool, or a rectangle (top, left, bottom, right)."""

    number: int
    label: str
    mask: Array | None = None
    rectangle: tuple[int, int, int, int] | None = None


def colour(number: int) -> tuple[int, int, int]:
    """The RGB colour of the segment with that number."""
    return _COLOURS[(number - 1) % len(_COLOURS)]


def outline(mask: Array, width: int) -> Array:
    """The pixels of a bool mask that lie within `width` pixels of its outside (four neighbours a step); bool."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: Array = mask & ~inner
    return edge


def magnification(rows: int, columns: int) -> int:
    """The whole number that brings a small picture to a size on which text can be read."""
    return max(1, math.ceil(_SMALLEST_WIDTH / max(1, columns)) if rows <= 4 * columns else 1)


def picture(pixels: Array, drawn: Sequence[Outlined], banner: str, marks: Sequence[str], lines: Sequence[str]) -> Array:
    """RGB uint8 (rows, columns, 3). Nothing written covers the image: banner above, marks, lines and legend below.

    pixels: uint8 (rows, columns) or RGB (rows, columns, 3), the key image; outlines are drawn on it, magnified by a
    whole number.
    """
    factor = magnification(*pixels.shape[:2])
    image = _outlined(pixels, drawn, factor)
    width = max(image.shape[1], _SMALLEST_WIDTH)
    font = _font(max(13, width // 42))
    large = _font(max(16, width // 28))
    above = [_Line(banner, _WARNING)]
    below = [_Line(mark, _WARNING) for mark in marks] + [_Line(line, _TEXT) for line in lines]
    below += [_Line(item.label, _TEXT, colour(item.number)) for item in drawn]
    top, bottom = _band(above, width, large), _band(below, width, font)
    middle = np.zeros((image.shape[0], width, 3), dtype=np.uint8)
    left = (width - image.shape[1]) // 2
    middle[:, left : left + image.shape[1]] = image
    return np.concatenate([top, middle, bottom])


def _outlined(pixels: Array, drawn: Sequence[Outlined], factor: int) -> Array:
    large = np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
    rgb = np.stack([large] * 3, axis=-1) if large.ndim == 2 else large
    width = max(2, large.shape[1] // 400)
    for item in drawn:
        mask = item.mask
        if mask is not None:
            rgb[outline(np.repeat(np.repeat(mask, factor, axis=0), factor, axis=1), width)] = colour(item.number)
        if item.rectangle is not None:
            top, left, bottom, right = (factor * edge for edge in item.rectangle)
            area = np.zeros(large.shape[:2], dtype=np.bool_)
            area[top:bottom, left:right] = True
            rgb[outline(area, width)] = colour(item.number)
    return rgb


@dataclass(frozen=True)
class _Line:
    text: str
    ink: tuple[int, int, int]
    swatch: tuple[int, int, int] | None = None


def _band(lines: Sequence[_Line], width: int, font: Any) -> Array:
    """White-on-black text, wrapped to the width; a line's swatch is a filled square before it."""
    size = int(font.size)
    step, margin = round(size * 1.3), round(size * 0.6)
    rows: list[_Line] = []
    for line in lines:
        indent = step if line.swatch else 0
        wrapped = _wrap(line.text, width - 2 * margin - indent, font)
        rows += [_Line(text, line.ink, line.swatch if i == 0 else None) for i, text in enumerate(wrapped)]
    image = Image.new("RGB", (width, step * len(rows) + margin))
    draw = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        x, y = margin, margin // 2 + number * step
        if row.swatch is not None:
            draw.rectangle((x, y + size // 6, x + size - 2, y + size), fill=row.swatch)
            x += step
        draw.text((x, y), row.text, fill=row.ink, font=font)
    return np.asarray(image, dtype=np.uint8)


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=256)  # every picture of a result carries the same lines
def _wrap(text: str, width: int, font: Any) -> tuple[str, ...]:
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and font.getlength(longer) > width:
            rows.append(word)
        else:
            rows[-1] = longer
        while font.getlength(rows[-1]) > width and len(rows[-1]) > 1:
            cut = len(rows[-1]) * width // math.ceil(font.getlength(rows[-1]))
            cut = min(max(1, cut), len(rows[-1]) - 1)
            rows[-1:] = [rows[-1][:cut], rows[-1][cut:]]
    return tuple(rows)
