"""Pictures, arrays and video as frames."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.domain import Array, Frames, SourceImage
from edge_runtime.errors import BackendUnavailable, ConfigurationError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm")
READABLE = "DICOM, NIfTI, PNG, JPEG, TIFF, BMP, .npy or video"
MOST_FRAMES = 32  # of a video: every n-th, so that there are no more
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY = ("L", "I", "F", "I;16", "I;16B", "I;16L")


def frames(pixels: Array) -> Frames:
    """Grey (frames, rows, columns) of any number type as float32, or RGB uint8 (frames, rows, columns, 3)."""
    grey = pixels.ndim == 3
    kept = np.ascontiguousarray(pixels, dtype=np.float32 if grey else np.uint8)
    return Frames(kept, "OT", (SourceImage("sample", "sample"),) * len(kept))


def read_picture(path: Path) -> Frames:
    """A picture as it is to be looked at: grey float32, or RGB uint8; transparency is dropped.

    Raises:
        ConfigurationError: it is no image of a kind that is read here, or is damaged.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                pages = []
                for index in range(getattr(image, "n_frames", 1)):
                    image.seek(index)
                    pages.append(_page(image))
    except Image.UnidentifiedImageError as error:
        raise ConfigurationError(f"{path}: is no image that is read here ({READABLE}); move it away") from error
    except Image.DecompressionBombError as error:
        raise ConfigurationError(f"{path}: this image is too large: {error}") from error
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise ConfigurationError(f"{path}: this image is damaged: {error}") from error
    if len({(page.shape, page.dtype) for page in pages}) > 1:
        raise ConfigurationError(f"{path}: its pages differ in size or kind")
    return frames(np.stack(pages))


def _page(image: Any) -> Array:
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("1", "LA", "La"):
        turned = turned.convert("L")
    elif turned.mode not in _GREY:
        turned = turned.convert("RGB")
    return np.asarray(turned)


def read_array(path: Path) -> Array:
    """The array of a `.npy` file, which holds numbers only.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        with path.open("rb") as stream:
            array: Array = np.load(stream, allow_pickle=False)
    except Exception as error:  # the header is parsed as Python: anything may be raised
        raise ConfigurationError(f"{path}: cannot be read as .npy: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ConfigurationError(f"{path}: cannot be read as .npy: it is an archive of several arrays")
    if array.dtype.kind not in "buif" or not array.size:
        raise ConfigurationError(f"{path}: holds {array.dtype} {array.shape}, no pixels")
    return array


def read_npy(path: Path) -> Frames:
    """Frames of a `.npy` file: (rows, columns), (frames, rows, columns), or RGB uint8 with a last axis of 3.

    Raises:
        ConfigurationError: it is none of these.
    """
    array = read_array(path)
    colour = array.ndim >= 3 and array.shape[-1] == 3 and array.dtype == np.uint8
    plain = array.ndim - 1 if colour else array.ndim
    if plain not in (2, 3):
        raise ConfigurationError(f"{path}: {array.dtype} {array.shape} is neither grey frames nor RGB (uint8)")
    return frames(array if plain == 3 else array[None])


def read_video(path: Path) -> Frames:
    """Every n-th frame, RGB, at most MOST_FRAMES of them; decoded and turned into RGB as live video is.

    Raises:
        ConfigurationError: no frame can be read, or one is damaged.
        BackendUnavailable: PyAV is missing.
    """
    try:
        import av

        from edge_runtime.capture.picture import Converter
    except ModuleNotFoundError as error:
        raise BackendUnavailable(
            f"{path}: video needs PyAV; run: pip install 'edge-runtime[video]', or save frames as PNG"
        ) from error
    kept: list[Array] = []
    converter = Converter(None)
    try:
        with av.open(str(path)) as container:
            count = sum(packet.size > 0 for packet in container.demux(video=0))  # what it states is an estimate
        step = max(1, math.ceil(count / MOST_FRAMES))
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % step == 0:
                    kept.append(converter.rgb(frame).copy())
    except (av.error.FFmpegError, IndexError) as error:
        raise ConfigurationError(f"{path}: this video cannot be read after {len(kept)} frames: {error}") from error
    if not kept:
        raise ConfigurationError(f"{path}: no frame of this video can be read")
    return frames(np.stack(kept))
