"""A pydicom decoding plugin for JPEG Extended (Process 2 and 4) of 12 bits, by imagecodecs' libjpeg-turbo."""

from __future__ import annotations

from typing import Any

import imagecodecs

DECODER_DEPENDENCIES = {"1.2.840.10008.1.2.4.51": ("imagecodecs",)}


def is_available(uid: str) -> bool:
    """True for JPEG Extended: the decoder is imported with this module."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: Any) -> bytes:
    """The frame's samples in native byte order; tells `runner` how wide they are."""
    array = imagecodecs.jpeg8_decode(source)
    runner.set_option("bits_allocated", 8 * array.dtype.itemsize)
    samples: bytes = array.tobytes()
    return samples
