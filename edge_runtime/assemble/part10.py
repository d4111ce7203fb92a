"""Reading of Part 10 files (PS3.10 section 7) with bounded work."""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.filereader import read_dataset

from edge_runtime.assemble.elements import UNREADABLE, Elements
from edge_runtime.assemble.transfer_syntaxes import DEFLATED, EXPLICIT_BIG, IMPLICIT_LITTLE
from edge_runtime.errors import DecodeRefused

_PREAMBLE_BYTES = 132
_PREFIXES_BYTES = (1 << 18, 1 << 22, 1 << 26)  # what is read of a file until its header is whole
_PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))  # Float, Double Float and integer Pixel Data
_PIXEL_KEYWORDS = ("FloatPixelData", "DoubleFloatPixelData", "PixelData")
_STOP_TAGS = _PIXEL_TAGS | {0xFFFCFFFC}  # Data Set Trailing Padding


@dataclass(frozen=True)
class Part10:
    """A parsed file. `has_pixels` says that a Pixel Data element begins in it, whether or not it was read."""

    transfer_syntax_uid: str
    elements: Elements
    has_pixels: bool


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings and log lines to itself: they quote values of the data set."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header_elements(path: Path) -> Part10:
    """Read everything before the pixel data, at most 64 MiB of the file and of what it inflates to.

    Raises DecodeRefused("unreadable_header") for anything that is no readable Part 10 file.
    """
    limit = _PREFIXES_BYTES[-1]
    for prefix_bytes in _PREFIXES_BYTES:
        with path.open("rb") as file:
            prefix = file.read(prefix_bytes)
            whole = file.read(1) == b""
        part10 = _parse_prefix(prefix, whole, limit)
        if part10 is not None:
            return part10
    raise DecodeRefused("unreadable_header", f"no pixel data within the first {limit} bytes of the file")


def _parse_prefix(prefix: bytes, whole: bool, limit: int) -> Part10 | None:
    """The header that `prefix` holds, or None when more of the file is needed."""
    with quiet():
        try:
            syntax, source = _open(io.BytesIO(prefix))
            if syntax == DEFLATED:
                inflated, ended = _inflate(prefix[source.tell() :], limit)
                source, whole = io.BytesIO(inflated), ended
            part10 = _parse(syntax, source, stop_before_pixels=True)
        except (*UNREADABLE, zlib.error) as error:
            if not whole and len(prefix) < limit:
                return None
            raise DecodeRefused("unreadable_header", f"the data set cannot be read ({type(error).__name__})") from None
    return part10 if part10.has_pixels or whole else None


def read_all(path: Path, maximum_bytes: int) -> Part10:
    """Read a whole file into memory; inflate at most `maximum_bytes`.

    Raises DecodeRefused: "too_large", "truncated" or "unreadable_header".
    """
    if path.stat().st_size > maximum_bytes:
        raise DecodeRefused("too_large", f"the file is larger than {maximum_bytes} bytes")
    with path.open("rb") as file, quiet():
        try:
            source: BinaryIO = file
            syntax, _ = _open(source)
            if syntax == DEFLATED:
                source = _inflated(source, maximum_bytes)
            part10 = _parse(syntax, source, stop_before_pixels=False)
        except (*UNREADABLE, zlib.error) as error:
            raise DecodeRefused("unreadable_header", f"the data set cannot be read ({type(error).__name__})") from None
    # pydicom gives up the whole data set at an element of undefined length that has no end.
    if part10.has_pixels and not any(keyword in part10.elements for keyword in _PIXEL_KEYWORDS):
        raise DecodeRefused("truncated", "the pixel data has no end")
    return part10


def _open(source: BinaryIO) -> tuple[str, BinaryIO]:
    """Read the preamble and the File Meta Information; leave `source` at the data set."""
    if source.read(_PREAMBLE_BYTES)[-4:] != b"DICM":
        raise DecodeRefused("unreadable_header", "not a DICOM Part 10 file: the prefix DICM is missing")
    meta = Elements(read_dataset(source, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2))
    syntax = meta.text("TransferSyntaxUID")
    if syntax is None:
        raise DecodeRefused("unreadable_header", "the File Meta Information names no transfer syntax")
    return syntax, source


def _parse(syntax: str, source: BinaryIO, stop_before_pixels: bool) -> Part10:
    has_pixels = False

    def stop(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal has_pixels
        if tag not in _STOP_TAGS:
            return False
        has_pixels = has_pixels or tag in _PIXEL_TAGS
        return stop_before_pixels or tag not in _PIXEL_TAGS

    data_set = read_dataset(source, syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG, stop_when=stop)
    return Part10(syntax, Elements(data_set), has_pixels)


def _inflated(source: BinaryIO, maximum_bytes: int) -> BinaryIO:
    inflated, ended = _inflate(source.read(), maximum_bytes)
    if ended:
        return io.BytesIO(inflated)
    if len(inflated) < maximum_bytes:
        raise DecodeRefused("truncated", "the deflated data set has no end")
    raise DecodeRefused("too_large", f"the data set inflates to more than {maximum_bytes} bytes")


def _inflate(deflated: bytes, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of what a raw deflate stream holds, and whether that is all of it (PS3.5 A.5)."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = machine.decompress(deflated, limit)
    return inflated, machine.eof
