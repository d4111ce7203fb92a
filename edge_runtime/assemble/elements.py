"""The values of a parsed data set, read without surprises: what cannot be read counts as absent.

pydicom parses the file; plain values are converted here from its raw elements, in a fraction of the time, and
everything else (character sets, sequences, VR UN) by pydicom.
"""

from __future__ import annotations

import math
import struct
from functools import cached_property
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

# What pydicom raises for bytes that it cannot read.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError, EOFError,
              RecursionError, struct.error, AssertionError)  # fmt: skip

_TEXT_CHARACTERS = 1024
_STRINGS = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)
_DECIMALS = frozenset(("DS", "IS"))
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "US or SS": "H"}


class Elements:
    """A data set or an item of a sequence. `data_set` is pydicom's."""

    def __init__(self, data_set: Any) -> None:
        self.data_set = data_set

    @cached_property
    def _raw(self) -> dict[int, Any]:
        return {int(tag): element for tag, element in self.data_set.items()}

    def __contains__(self, keyword: str) -> bool:
        return tag_for_keyword(keyword) in self._raw

    def text(self, keyword: str) -> str | None:
        """The value as stripped text of at most 1024 characters, several joined by a backslash."""
        value = self._plain_text(keyword)
        if value is None:
            value = self._joined(self._converted(keyword))
        return (value or "").strip(" \0")[:_TEXT_CHARACTERS] or None

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The values as stripped texts."""
        joined = self.text(keyword)
        return tuple(part.strip() for part in joined.split("\\")) if joined else ()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """The values as finite numbers; none if one of them is no finite number. A value "US or SS" is read as US."""
        try:
            values = self._plain_numbers(keyword)
            if values is None:
                converted = self._converted(keyword)
                several = hasattr(converted, "__iter__") and not isinstance(converted, (str, bytes))
                values = () if converted is None else tuple(float(v) for v in (converted if several else [converted]))
        except UNREADABLE:
            return ()
        return values if all(math.isfinite(v) for v in values) else ()

    def number(self, keyword: str) -> float | None:
        """The first value as a number."""
        found = self.numbers(keyword)
        return found[0] if found else None

    def integer(self, keyword: str, default: int = 0) -> int:
        """The first value as a whole number."""
        found = self.number(keyword)
        return default if found is None else int(found)

    def items(self, keyword: str) -> tuple[Elements, ...]:
        """The items of a sequence."""
        value = self._converted(keyword) or ()
        try:
            return tuple(Elements(item) for item in value if hasattr(item, "walk"))
        except UNREADABLE:
            return ()

    def value(self, keyword: str) -> Any:
        """The value as pydicom gives it: for binary data."""
        return self._converted(keyword)

    def _plain(self, keyword: str) -> tuple[str, bytes, bool] | None:
        """(VR, bytes, little endian) of a raw element whose VR says how to read it."""
        tag = tag_for_keyword(keyword)
        raw = None if tag is None else self._raw.get(tag)
        content, vr = getattr(raw, "value", None), getattr(raw, "VR", None)
        if raw is None or tag is None or not isinstance(content, bytes):
            return None
        return vr or dictionary_VR(tag), content, getattr(raw, "is_little_endian", True)

    def _plain_text(self, keyword: str) -> str | None:
        plain = self._plain(keyword)
        if plain is None or plain[0] not in _STRINGS or not plain[1].isascii() or b"\x1b" in plain[1]:
            return None
        return plain[1].decode("ascii")

    def _plain_numbers(self, keyword: str) -> tuple[float, ...] | None:
        plain = self._plain(keyword)
        if plain is None:
            return None
        vr, content, little_endian = plain
        if vr in _DECIMALS:
            stripped = content.strip(b" \0")
            return tuple(float(part) for part in stripped.split(b"\\")) if stripped else ()
        if vr in _BINARY:
            code = _BINARY[vr]
            count = len(content) // struct.calcsize(code)
            return tuple(float(v) for v in struct.unpack_from(f"{'><'[little_endian]}{count}{code}", content))
        return None

    def _converted(self, keyword: str) -> Any:
        if keyword not in self:
            return None
        try:
            return self.data_set.get(keyword)
        except UNREADABLE:
            return None

    @staticmethod
    def _joined(value: Any) -> str | None:
        try:
            several = isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue"
            return "\\".join(str(v).strip() for v in value) if several else None if value is None else str(value)
        except UNREADABLE:
            return None
