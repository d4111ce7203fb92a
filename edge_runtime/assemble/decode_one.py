"""One file to pixels in a memory file and a description of them: what a decode process does for a request."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.assemble.decoded import description
from edge_runtime.assemble.facts import facts_of, planes_of
from edge_runtime.assemble.modality_units import conversion_of
from edge_runtime.assemble.part10 import quiet, read_all
from edge_runtime.assemble.pixels import layout_of, stored_frames
from edge_runtime.assemble.transfer_syntaxes import EXPLICIT_BIG
from edge_runtime.domain import Array
from edge_runtime.errors import DecodeRefused


def decode_file(
    path: Path, pixels_fd: int, maximum_bytes: int, maximum_file_bytes: int, complained: Callable[[], bool]
) -> dict[str, Any]:
    """Write the decoded frames to `pixels_fd` from offset 0 and say what they are.

    Raises DecodeRefused; whatever else pydicom and the codecs raise is the caller's to name.
    """
    part10 = read_all(path, maximum_file_bytes)
    with quiet():
        layout = layout_of(part10)
        if layout.decoded_bytes > maximum_bytes:
            raise DecodeRefused(
                "too_large", f"{layout.decoded_bytes} bytes decoded; decode.maximum_pixels_bytes is less"
            )
        planes = planes_of(part10.elements, layout.frames)
        facts = facts_of(part10.elements, planes, "NumberOfFrames" in part10.elements)
        conversion = conversion_of(part10.elements, layout, facts.modality, part10.transfer_syntax_uid != EXPLICIT_BIG)
        offset = frames = 0
        for plane, stored in zip(planes, stored_frames(part10, layout, complained), strict=False):
            frame = stored if layout.colour else conversion.apply(stored, plane)
            offset += _write(pixels_fd, np.ascontiguousarray(frame), offset)
            frames += 1
    if frames != layout.frames:
        raise DecodeRefused("truncated", f"{frames} of {layout.frames} frames could be decoded")
    shape = (layout.frames, *layout.frame_shape)
    return {"shape": shape, "dtype": "uint8" if layout.colour else "float32", **description(facts, planes)}


def _write(pixels_fd: int, frame: Array, offset: int) -> int:
    view = frame.data.cast("B")
    written = 0
    while written < len(view):
        written += os.pwrite(pixels_fd, view[written:], offset + written)
    return written
