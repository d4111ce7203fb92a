"""Modality LUTs (PS3.3 C.11.1) and palettes (C.7.6.3.1.5): tables that stored values index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.assemble.elements import Elements
from edge_runtime.domain import Array
from edge_runtime.errors import DecodeRefused

_DISCRETE, _LINEAR = 0, 1
_MAXIMUM_ENTRIES = 65536


@dataclass(frozen=True, eq=False)
class Lookup:
    """entries: (n,) or (n, 3); `first` is the stored value of the first one. Values beyond the ends get the ends."""

    first: int
    entries: Array

    def apply(self, stored: Array) -> Array:
        """The entries of the stored values; shape of `stored`, then that of an entry."""
        index = np.clip(stored.astype(np.int32) - self.first, 0, len(self.entries) - 1)
        return np.take(self.entries, index, axis=0)


def modality_lut(elements: Elements, signed: bool, little_endian: bool) -> Lookup | None:
    """The Modality LUT as float32, or None where there is none. Raises DecodeRefused("bad_rescale")."""
    sequence = elements.items("ModalityLUTSequence")
    if not sequence:
        return None
    found = _table(sequence[0], "LUTDescriptor", "LUTData", signed, little_endian)
    if found is None:
        raise DecodeRefused("bad_rescale", "the Modality LUT Sequence cannot be read")
    return Lookup(found.first, found.entries.astype(np.float32))


def palette(elements: Elements, signed: bool, little_endian: bool) -> Lookup:
    """The palette as RGB uint8, also from segments (C.7.9.2). Raises DecodeRefused("unsupported_photometric").

    Entries of 16 bits are cut to their upper 8, unless no entry of the palette needs more than 8.
    """
    tables = []
    for colour in ("Red", "Green", "Blue"):
        stem = f"{colour}PaletteColorLookupTable"
        table = _table(elements, f"{stem}Descriptor", f"{stem}Data", signed, little_endian)
        if table is None:
            raise DecodeRefused("unsupported_photometric", f"the {colour.lower()} palette is missing or too short")
        tables.append(table)
    if len({(table.first, len(table.entries)) for table in tables}) > 1:
        raise DecodeRefused("unsupported_photometric", "the palettes of the three colours differ in size")
    entries = np.stack([table.entries for table in tables], axis=-1)
    entries = entries >> 8 if entries.max() > 255 else entries
    return Lookup(tables[0].first, entries.astype(np.uint8))


def _table(holder: Elements, descriptor: str, data: str, signed: bool, little_endian: bool) -> Lookup | None:
    described = holder.numbers(descriptor)
    value, segments = holder.value(data), holder.value(f"Segmented{data}")
    if len(described) != 3 or (value is None and segments is None):
        return None
    count, first = int(described[0]) % 65536 or 65536, int(described[1]) % 65536
    first = first - 65536 if signed and first > 32767 else first
    if value is None:
        entries = _from_segments(segments, described[2] <= 8, little_endian)
    elif isinstance(value, bytes):
        entries = _from_bytes(value, count, little_endian)
    else:
        entries = np.atleast_1d(np.asarray(value, dtype=np.int64)).astype(np.uint16)
    return Lookup(first, entries[:count]) if len(entries) >= count else None


def _from_bytes(value: bytes, count: int, little_endian: bool) -> Array:
    """Entries of 16 bits, or of 8 bits packed two a word, as the length tells."""
    words = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little_endian else ">u2")
    if len(value) >= 2 * count:
        return words.astype(np.uint16)
    return words.astype("<u2").view(np.uint8).astype(np.uint16)


def _from_segments(value: bytes, narrow: bool, little_endian: bool) -> Array:
    """Expand discrete and linear segments; indirect ones end the table, which is then too short."""
    words = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little_endian else ">u2")
    data = (words.astype("<u2").view(np.uint8) if narrow else words).tolist()
    entries: list[int] = []
    at = 0
    while at + 2 < len(data) and len(entries) <= _MAXIMUM_ENTRIES:
        kind, length = data[at], data[at + 1]
        if kind == _DISCRETE:
            entries += data[at + 2 : at + 2 + length]
            at += 2 + length
        elif kind == _LINEAR and entries:
            last, end = entries[-1], data[at + 2]
            entries += [round(last + (end - last) * step / length) for step in range(1, length + 1)]
            at += 3
        else:
            break
    return np.asarray(entries, dtype=np.uint16)
