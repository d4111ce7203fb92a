"""Lost pictures of an H.264 stream: FFmpeg fills the gap with an older picture and says nothing.

ITU-T H.264 7.3.2.1 (sequence parameter set), 7.3.3 (slice header), 7.4.3 (frame_num counts reference pictures). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

_SLICE, _IDR_SLICE, _PARAMETERS = 1, 5, 7
_HIGH = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_HEADER_BYTES = 64  # the fields that are read lie within it
_PARAMETER_BYTES = 1024


class FrameNumbers:
    """Follows frame_num. `extradata`: the stream's avcC record where its units carry lengths, else empty or Annex B."""

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = 0  # Annex B: start codes
        self._bits = 0  # of frame_num; 0 until a sequence parameter set was read
        self._planes = False
        self._previous: int | None = None
        if len(extradata) > 6 and extradata[0] == 1:
            self._length_bytes = (extradata[4] & 3) + 1
            size = int.from_bytes(extradata[6:8], "big")
            self._note(extradata[8 : 8 + size])
        else:
            self.lost(extradata)

    def forget(self) -> None:
        """The next picture may have any number."""
        self._previous = None

    def lost(self, packet: bytes) -> bool:
        """True if a picture that others need is missing before the one in this packet."""
        units = _by_length(packet, self._length_bytes) if self._length_bytes else _by_start_code(packet)
        for unit in units:
            kind = unit[0] & 31
            if kind == _PARAMETERS:
                self._note(unit)
            elif kind in (_SLICE, _IDR_SLICE):
                return self._bits > 0 and self._follow(unit, kind)
        return False

    def _follow(self, unit: bytes, kind: int) -> bool:
        bits = _Bits(unit[1:_HEADER_BYTES])
        for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
            bits.unsigned()
        if self._planes:
            bits.take(2)
        number = bits.take(self._bits)
        previous = 0 if kind == _IDR_SLICE else self._previous
        if unit[0] >> 5 & 3:  # nal_ref_idc: others refer to this picture
            self._previous = number
        return previous is not None and number not in (previous, (previous + 1) % (1 << self._bits))

    def _note(self, unit: bytes) -> None:
        bits = _Bits(unit[1:_PARAMETER_BYTES])
        profile = bits.take(8)
        bits.take(16)  # constraints, level_idc
        bits.unsigned()  # seq_parameter_set_id
        self._planes = False
        if profile in _HIGH:
            chroma = bits.unsigned()
            self._planes = chroma == 3 and bits.take(1) == 1
            bits.unsigned(), bits.unsigned(), bits.take(1)  # depths, qpprime_y_zero_transform_bypass_flag
            if bits.take(1):
                for index in range(8 if chroma != 3 else 12):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
        self._bits = bits.unsigned() + 4


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    if not bits.take(1):
        return
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


class _Bits:
    """Reads bits without the bytes that prevent start codes (7.4.1). Beyond the end there are zeros."""

    def __init__(self, content: bytes) -> None:
        plain = content.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(plain, "big")
        self._left = 8 * len(plain)

    def take(self, count: int) -> int:
        """u(n)."""
        self._left -= count
        if self._left < 0:
            return 0
        return self._value >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """ue(v), 9.1."""
        zeros = 0
        while zeros < 32 and self._left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """se(v), 9.1.1."""
        value = self.unsigned()
        return (value + 1) // 2 if value % 2 else -(value // 2)


def _by_length(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at + length_bytes < len(packet):
        size = int.from_bytes(packet[at : at + length_bytes], "big")
        at += length_bytes
        if size:
            yield packet[at : at + size]
        at += size


def _by_start_code(packet: bytes) -> Iterator[bytes]:
    at = packet.find(b"\0\0\1")
    while at >= 0:
        end = packet.find(b"\0\0\1", at + 3)
        unit = packet[at + 3 : end if end >= 0 else len(packet)]
        if unit:
            yield unit
        at = end
