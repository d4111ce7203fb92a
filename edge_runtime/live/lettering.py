"""Text for live pictures. Every character is drawn once; a line is put together from them in microseconds."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge_runtime.domain import Array

Colour = tuple[int, int, int]
_REMEMBERED = 1000


def line_rows(size: int) -> int:
    """The height of a line of text of this size, in pixels."""
    return round(size * 1.35)


def write(area: Array, text: str, size: int, ink: Colour) -> int:
    """Write from the upper left corner of `area`, uint8 (rows, columns, 3), over what is there; the columns taken.

    What does not fit is cut, and then the text ends with three dots.
    """
    columns = area.shape[1]
    cover = _cover(text, size)
    if cover.shape[1] > columns:
        cover = _cover(_cut(text, size, columns), size)[:, :columns]
    target = area[: cover.shape[0], : cover.shape[1]]
    alpha = cover[: target.shape[0], :, np.newaxis]
    target[...] = (target * (255 - alpha) + alpha * np.array(ink, np.uint16)) // 255
    return int(cover.shape[1])


def text_columns(text: str, size: int) -> int:
    """How wide the text is, in pixels."""
    return sum(_character(each, size).shape[1] for each in text)


def _cover(text: str, size: int) -> Array:
    """uint16 (rows, columns): 0 where the text leaves the picture as it is, 255 where it covers it."""
    if not text:
        return np.zeros((line_rows(size), 0), np.uint16)
    return np.concatenate([_character(each, size) for each in text], axis=1)


def _cut(text: str, size: int, columns: int) -> str:
    left = columns - text_columns("...", size)
    for count, each in enumerate(text):
        left -= _character(each, size).shape[1]
        if left < 0:
            return f"{text[:count].rstrip()}..."
    return text


@lru_cache(maxsize=_REMEMBERED)
def _character(character: str, size: int) -> Array:
    font = _font(size)
    columns = max(1, math.ceil(font.getlength(character)))
    image = Image.new("L", (columns, line_rows(size)))
    ImageDraw.Draw(image).text((0, 0), character, fill=255, font=font)
    return np.asarray(image, dtype=np.uint16)


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)
