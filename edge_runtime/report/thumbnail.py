"""A small picture of a job for the status page: a key image with outlines, without a letter of text.

It is made only where Burned In Annotation (0028,0301) is NO in every source image, or the configuration allows it
for all (`http.thumbnails`). A note beside it says whether there is one, and why not.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.errors import InvalidDicomError

from edge_runtime.domain import Array, JobResult
from edge_runtime.report.drawing import colour, outline
from edge_runtime.report.originals import no_values_in_warnings
from edge_runtime.spool.layout import write_durably

PICTURE = "thumbnail.png"
NOTE = "thumbnail.json"
LONGEST_SIDE = 192
_UNREADABLE = (OSError, InvalidDicomError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError)


def write_thumbnail(result: JobResult, originals: Mapping[str, Path], policy: str, folder: Path) -> bool:
    """Write `thumbnail.png` where `policy` (never, burned_in_annotation_no, always) allows it, and the note.

    originals: SOP Instance UID -> Part 10 file, of every input. Returns whether there is a picture now.

    Raises:
        OSError: the disk did not take the files.
    """
    if policy == "never":
        return False
    paths = [originals.get(one.sop_instance_uid) for one in result.inputs]
    unburned = policy == "burned_in_annotation_no" and says_no(paths)
    if policy != "always" and not unburned:
        _note(folder, made=False, unburned=False, reason="Burned In Annotation is not NO in every source image")
        return False
    pixels = thumbnail(result)
    if pixels is None:
        _note(folder, made=False, unburned=unburned, reason="the result has no key image")
        return False
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    write_durably(folder / PICTURE, buffer.getvalue())
    _note(folder, made=True, unburned=unburned, reason="")
    return True


def says_no(paths: Iterable[Path | None]) -> bool:
    """True when Burned In Annotation is NO in every file; absent, empty, unknown and unreadable are not NO."""
    files = list(paths)
    return bool(files) and all(path is not None and _burned_in_annotation(path) == "NO" for path in files)


def thumbnail(result: JobResult) -> Array | None:
    """The middle key image with the outlines of its masks: uint8 (rows, columns, 3), at most 192 a side; or None."""
    if not result.key_images:
        return None
    key = result.key_images[len(result.key_images) // 2]
    rows, columns = key.pixels.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(rows, columns))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    small = np.asarray(Image.fromarray(key.pixels).resize(size, Image.Resampling.BOX))
    picture = np.stack([small] * 3, axis=-1) if small.ndim == 2 else small.copy()
    for mask in result.analysis.masks:
        plane = mask.voxels[key.slice_index]
        if plane.shape == key.pixels.shape[:2] and plane.any():
            shape = Image.fromarray(plane.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
            picture[outline(np.asarray(shape) > 0, 1)] = colour(mask.number)
    return picture


def _burned_in_annotation(path: Path) -> str:
    try:
        with no_values_in_warnings():
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["BurnedInAnnotation"])
            return str(dataset.get("BurnedInAnnotation", "")).strip().upper()
    except _UNREADABLE:
        return ""


def _note(folder: Path, made: bool, unburned: bool, reason: str) -> None:
    note = {"schema_version": 1, "made": made, "burned_in_annotation_no": unburned, "reason": reason}
    write_durably(folder / NOTE, json.dumps(note).encode())
