"""What a compressed frame says of itself: read before a decoder allocates by it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import DecodeRefused

_STAND_ALONE = {0x01, *range(0xD0, 0xD8)}  # TEM and RSTn carry no length
_NOT_FRAME_HEADERS = {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC stand among the SOFn
_JPEG_LS_SOF = 0xF7


@dataclass(frozen=True)
class Codestream:
    """Size of the picture that a codestream holds, and whether its end marker is there."""

    rows: int
    columns: int
    components: int
    precision_bits: int
    ended: bool


def read_jpeg(frame: bytes) -> Codestream:
    """The frame header of a JPEG (ITU-T T.81 B.2.2) or JPEG-LS (T.87) stream.

    Raises DecodeRefused("decode_failed") where there is none.
    """
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _STAND_ALONE:
            at += 2
        elif (0xC0 <= marker <= 0xCF and marker not in _NOT_FRAME_HEADERS) or marker == _JPEG_LS_SOF:
            header = frame[at + 4 : at + 10]
            if len(header) < 6:
                break
            rows, columns = int.from_bytes(header[1:3], "big"), int.from_bytes(header[3:5], "big")
            return Codestream(rows, columns, header[5], header[0], _ended(frame))
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    raise DecodeRefused("decode_failed", "a frame holds no JPEG stream")


def read_jpeg_2000(frame: bytes) -> Codestream:
    """The SIZ marker of a JPEG 2000 codestream (ITU-T T.800 A.5.1), bare or in a JP2 file.

    Raises DecodeRefused("decode_failed") where there is none.
    """
    start = frame.find(b"\xff\x4f\xff\x51")
    siz = frame[start + 6 : start + 43]
    if start < 0 or len(siz) < 37:
        raise DecodeRefused("decode_failed", "a frame holds no JPEG 2000 codestream")
    width, height, left, top = (int.from_bytes(siz[2 + 4 * i : 6 + 4 * i], "big") for i in range(4))
    components = int.from_bytes(siz[34:36], "big")
    return Codestream(height - top, width - left, components, (siz[36] & 0x7F) + 1, _ended(frame))


def _ended(frame: bytes) -> bool:
    """True when the end marker FFD9 stands at the end, before padding."""
    tail = frame[-64:].rstrip(b"\x00\xff")
    return tail[-2:] == b"\xff\xd9"
