"""The stored pixels of one object, frame by frame: correct, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from edge_runtime.assemble.codestream import read_jpeg, read_jpeg_2000
from edge_runtime.assemble.elements import UNREADABLE, Elements
from edge_runtime.assemble.lookup import palette
from edge_runtime.assemble.part10 import Part10
from edge_runtime.assemble.transfer_syntaxes import (
    DECODABLE,
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    JPEG_2000_FAMILY,
    JPEG_EXTENDED,
    JPEG_FAMILY,
    JPEG_LS_FAMILY,
    NATIVE,
    PLUGINS,
)
from edge_runtime.domain import Array
from edge_runtime.errors import DecodeRefused

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PALETTE = "PALETTE COLOR"


@dataclass(frozen=True)
class Layout:
    """The Image Pixel module (PS3.3 C.7.6.3), checked."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str

    @property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest value that Bits Stored can hold."""
        span = 1 << self.bits_stored
        return (-span // 2, span // 2 - 1) if self.signed else (0, span - 1)

    @property
    def colour(self) -> bool:
        """True when the pixels come out as RGB."""
        return self.photometric not in _GREY

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one decoded frame."""
        return (self.rows, self.columns, 3) if self.colour else (self.rows, self.columns)

    @property
    def decoded_bytes(self) -> int:
        """Size of all frames as float32, or as RGB uint8."""
        return self.frames * self.rows * self.columns * (3 if self.colour else 4)


def layout_of(part10: Part10) -> Layout:
    """Read and check the Image Pixel module.

    Raises DecodeRefused: "unsupported_transfer_syntax", "no_pixels", "unsupported_pixel_format",
    "unsupported_photometric".
    """
    elements = part10.elements
    if part10.transfer_syntax_uid not in DECODABLE:
        raise DecodeRefused("unsupported_transfer_syntax", "the object's transfer syntax has no decoder here")
    if not part10.has_pixels:
        raise DecodeRefused("no_pixels", "the object has no pixel data")
    layout = Layout(
        rows=elements.integer("Rows"),
        columns=elements.integer("Columns"),
        frames=elements.integer("NumberOfFrames", 1) or 1,
        samples=elements.integer("SamplesPerPixel", 1),
        bits_allocated=elements.integer("BitsAllocated"),
        bits_stored=elements.integer("BitsStored"),
        signed=elements.integer("PixelRepresentation") == 1,
        photometric=(elements.text("PhotometricInterpretation") or "").upper(),
    )
    high_bit = elements.integer("HighBit", layout.bits_stored - 1)
    problem = _format_problem(layout, high_bit)
    if problem is not None:
        raise DecodeRefused("unsupported_pixel_format", problem)
    if layout.photometric not in (*_GREY, *_COLOUR, _PALETTE):
        raise DecodeRefused("unsupported_photometric", "the object's Photometric Interpretation is not supported")
    return layout


def _format_problem(layout: Layout, high_bit: int) -> str | None:
    if min(layout.rows, layout.columns, layout.frames) < 1:
        return "Rows, Columns and Number of Frames must be at least 1"
    if layout.bits_allocated not in (8, 16) or not 1 <= layout.bits_stored <= layout.bits_allocated:
        return f"Bits Allocated {layout.bits_allocated} with Bits Stored {layout.bits_stored} is not supported"
    if high_bit != layout.bits_stored - 1:
        return "High Bit is not Bits Stored - 1"
    if layout.samples != (3 if layout.photometric in _COLOUR else 1):
        return f"{layout.samples} samples per pixel do not fit the Photometric Interpretation"
    if layout.photometric in _COLOUR and layout.bits_stored != 8:
        return "colour with other than 8 bits a sample is not supported"
    return None


def stored_frames(part10: Part10, layout: Layout, complained: Callable[[], bool]) -> Iterator[Array]:
    """Yield each frame: stored integers (rows, columns), or RGB uint8 (rows, columns, 3).

    `complained` says whether libjpeg wrote a warning: it goes on after corrupt data and says so on standard error.

    Raises DecodeRefused: "truncated", "pixel_length_mismatch", "unsupported_pixel_format", "unsupported_photometric",
    "decode_failed".
    """
    elements, syntax = part10.elements, part10.transfer_syntax_uid
    if "PixelData" not in elements:
        raise DecodeRefused("unsupported_pixel_format", "floating point pixel data is not supported")
    if syntax in NATIVE:
        _check_native_length(len(elements.value("PixelData")), layout)
    else:
        _check_codestreams(elements, syntax, layout)
    if syntax in (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED) and not layout.colour:
        yield from _native_grey(elements.value("PixelData"), layout)
        return
    for frame in _decoded(elements, syntax, layout):
        if syntax in JPEG_FAMILY and complained():
            raise DecodeRefused("decode_failed", "the codec says that a codestream is corrupt")
        yield frame


def _check_native_length(actual: int, layout: Layout) -> None:
    samples = 2 if layout.photometric == "YBR_FULL_422" else layout.samples
    expected = layout.rows * layout.columns * layout.frames * samples * layout.bits_allocated // 8
    if actual < expected:
        raise DecodeRefused("truncated", f"the pixel data is {expected - actual} of {expected} bytes short")
    if actual > expected + expected % 2:
        detail = f"the pixel data is {actual - expected} bytes longer than the {expected} that the header states"
        raise DecodeRefused("pixel_length_mismatch", detail)


def _check_codestreams(elements: Elements, syntax: str, layout: Layout) -> None:
    extended = (elements.value("ExtendedOffsetTable"), elements.value("ExtendedOffsetTableLengths"))
    offsets = (extended[0], extended[1]) if all(extended) else None
    frames = 0
    try:
        for frame in generate_frames(
            elements.value("PixelData"), number_of_frames=layout.frames, extended_offsets=offsets
        ):
            frames += 1
            _check_codestream(frame, syntax, layout)
    except UNREADABLE as error:
        raise DecodeRefused(
            "truncated", f"the fragments of the pixel data end too early ({type(error).__name__})"
        ) from None
    if frames != layout.frames:
        reason = "truncated" if frames < layout.frames else "pixel_length_mismatch"
        raise DecodeRefused(reason, f"the pixel data holds {frames} frames, the header states {layout.frames}")


def _check_codestream(frame: bytes, syntax: str, layout: Layout) -> None:
    if syntax in (*JPEG_FAMILY, *JPEG_LS_FAMILY):
        stream = read_jpeg(frame)
    elif syntax in JPEG_2000_FAMILY:
        stream = read_jpeg_2000(frame)
    else:
        return  # the RLE decoder compares each segment with the size that the header states
    size, stated = (stream.rows, stream.columns, stream.components), (layout.rows, layout.columns, layout.samples)
    if size != stated:
        raise DecodeRefused("pixel_length_mismatch", f"a codestream holds {size} rows, columns, samples; not {stated}")
    if not stream.ended:
        raise DecodeRefused("truncated", "a codestream has no end marker")
    if stream.precision_bits > layout.bits_allocated:
        detail = f"a codestream of {stream.precision_bits} bits does not fit Bits Allocated {layout.bits_allocated}"
        raise DecodeRefused("unsupported_pixel_format", detail)


def _native_grey(pixels: bytes, layout: Layout) -> Iterator[Array]:
    """Views of the stored values, or copies where the bits above Bits Stored are to be cleared (PS3.5 8.1.1)."""
    dtype = np.dtype(f"<{'i' if layout.signed else 'u'}{layout.bits_allocated // 8}")
    count = layout.rows * layout.columns
    unused = layout.bits_allocated - layout.bits_stored
    for index in range(layout.frames):
        frame = np.frombuffer(pixels, dtype, count, index * count * dtype.itemsize).reshape(layout.rows, layout.columns)
        yield (frame << unused) >> unused if unused else frame


def _decoded(elements: Elements, syntax: str, layout: Layout) -> Iterator[Array]:
    # What pydicom reads again of the header must be what was checked.
    data_set = elements.data_set
    data_set.NumberOfFrames = layout.frames
    data_set.PhotometricInterpretation = layout.photometric
    colours = palette(elements, layout.signed, syntax != EXPLICIT_BIG) if layout.photometric == _PALETTE else None
    decoder = get_decoder(UID(syntax))
    plugin = PLUGINS.get(syntax, "")
    if syntax == JPEG_EXTENDED and layout.bits_stored == 8:
        plugin = "gdcm"
    elif syntax == JPEG_EXTENDED and plugin not in decoder.available_plugins:
        decoder.add_plugin(plugin, ("edge_runtime.assemble.jpeg_extended", "decode_frame"))
    for array, properties in decoder.iter_array(data_set, decoding_plugin=plugin):
        frame = colours.apply(array) if colours is not None else array
        if layout.photometric in _COLOUR and properties["photometric_interpretation"] != "RGB":
            raise DecodeRefused("unsupported_photometric", "the colours cannot be turned into RGB")
        if frame.shape != layout.frame_shape or (layout.colour and frame.dtype != np.uint8):
            raise DecodeRefused("decode_failed", f"a frame decodes to {frame.shape}, not {layout.frame_shape}")
        yield frame
