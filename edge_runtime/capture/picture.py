"""A decoded picture as the slot takes it: RGB, as large as it is asked for, and a number that stands for its pixels."""

from __future__ import annotations

import zlib

import numpy as np
from av import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from edge_runtime.domain import Array

_HD_ROWS = 720
_UNSPECIFIED = 2
_HASHED_ROWS = 4  # every fourth


class Converter:
    """Makes RGB of whatever a decoder gives. `columns`: wider pictures are scaled down to this, keeping their shape."""

    def __init__(self, columns: int | None) -> None:
        self._columns = columns
        self._reformatter = VideoReformatter()

    def rgb(self, frame: VideoFrame) -> Array:
        """uint8 (rows, columns, 3), a view of the conversion's memory: its rows may lie further apart."""
        columns, rows = size(frame.width, frame.height, self._columns)
        untagged_hd = frame.colorspace == _UNSPECIFIED and frame.height >= _HD_ROWS
        converted = self._reformatter.reformat(
            frame,
            columns,
            rows,
            "rgb24",
            src_colorspace=Colorspace.ITU709 if untagged_hd else None,
            interpolation=Interpolation.AREA,
        )
        plane = converted.planes[0]
        lines: Array = np.frombuffer(memoryview(plane), np.uint8)[: rows * plane.line_size]
        return lines.reshape(rows, plane.line_size)[:, : 3 * columns].reshape(rows, columns, 3)


def size(width: int, height: int, columns: int | None) -> tuple[int, int]:
    """(columns, rows) of a picture that is made `columns` wide where it is wider."""
    if columns is None or width <= columns:
        return width, height
    return columns, max(1, round(height * columns / width))


def image_number(pixels: Array) -> int:
    """Equal for equal pictures, and as good as never for others."""
    return zlib.crc32(pixels[::_HASHED_ROWS].tobytes(), pixels.shape[0] << 16 ^ pixels.shape[1])
