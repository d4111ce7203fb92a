"""SOP Class and Instance UID from the first bytes of a data set (PS3.5 section 7). Pure and bounded."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from edge_runtime.receive.command import trimmed_uid
from edge_runtime.receive.negotiation import DEFLATED, EXPLICIT_BE, IMPLICIT_LE

PREFIX_LIMIT_BYTES = 65_536
_SOP_CLASS = (0x0008, 0x0016)
_SOP_INSTANCE = (0x0008, 0x0018)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_MAXIMUM_DEPTH = 8
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class MoreNeeded(Exception):
    """The identity may follow in bytes that are not there yet."""


class Unreadable(ValueError):
    """These bytes are no data set that states its identity."""


@dataclass(frozen=True)
class Identity:
    """What a data set says it is. Empty where it says nothing."""

    sop_class_uid: str
    sop_instance_uid: str


def valid_uid(uid: str) -> bool:
    """True for components of digits, 64 characters in all (PS3.5 section 9.1). Leading zeros are tolerated."""
    return len(uid) <= 64 and _UID.fullmatch(uid) is not None


def read_identity(prefix: bytes, transfer_syntax: str) -> Identity:
    """The identity stated in `prefix`, the first bytes of a data set; at most `PREFIX_LIMIT_BYTES` are looked at.

    Raises:
        MoreNeeded: the prefix ends before (0008,0018).
        Unreadable: it is no data set in this syntax, or its elements pass (0008,0018) without it.
    """
    if transfer_syntax == DEFLATED:
        try:
            prefix = zlib.decompressobj(-zlib.MAX_WBITS).decompress(prefix, PREFIX_LIMIT_BYTES)
        except zlib.error as error:
            raise Unreadable("the deflated data set is damaged") from error
    elements = _Elements(prefix, transfer_syntax)
    sop_class = ""
    previous = (0, 0)
    while True:
        group, number, length = elements.header()
        if (group, number) < previous or group == 0xFFFE:
            raise Unreadable("the elements are out of order")
        previous = (group, number)
        if previous > _SOP_INSTANCE:
            raise Unreadable("the data set does not state its SOP Instance UID")
        if previous == _SOP_INSTANCE:
            return Identity(sop_class, trimmed_uid(elements.value(length)))
        if previous == _SOP_CLASS:
            sop_class = trimmed_uid(elements.value(length))
        else:
            elements.skip(length)


class _Elements:
    """A cursor over encoded elements."""

    def __init__(self, data: bytes, transfer_syntax: str) -> None:
        self._data = data
        self._position = 0
        self._order = ">" if transfer_syntax == EXPLICIT_BE else "<"
        self._explicit = transfer_syntax != IMPLICIT_LE

    def _take(self, count: int) -> bytes:
        start = self._position
        if start + count > min(len(self._data), PREFIX_LIMIT_BYTES):
            raise MoreNeeded
        self._position = start + count
        return self._data[start : start + count]

    def header(self) -> tuple[int, int, int]:
        """Group, element number and length of the next element; the cursor stands at its value."""
        group, number = struct.unpack(f"{self._order}HH", self._take(4))
        if group == 0xFFFE or not self._explicit:
            return group, number, struct.unpack(f"{self._order}I", self._take(4))[0]
        vr = self._take(2)
        if not (vr.isalpha() and vr.isupper()):
            raise Unreadable("an element has no value representation")
        if vr in _LONG_VRS:
            self._take(2)
            return group, number, struct.unpack(f"{self._order}I", self._take(4))[0]
        return group, number, struct.unpack(f"{self._order}H", self._take(2))[0]

    def value(self, length: int) -> bytes:
        """The value of a UID element."""
        if length > 256:
            raise Unreadable("a UID is longer than any UID")
        return self._take(length)

    def skip(self, length: int, depth: int = 0) -> None:
        """Step over a value, or over a sequence or item of undefined length."""
        if length != _UNDEFINED:
            self._take(length)
            return
        if depth >= _MAXIMUM_DEPTH:
            raise Unreadable("sequences are nested too deep")
        while True:
            group, number, inner = self.header()
            if group == 0xFFFE and number in (_ITEM_END, _SEQUENCE_END):
                return
            self.skip(inner, depth + 1)
