"""From stored values to modality units (PS3.3 C.11.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.assemble.decoded import Plane
from edge_runtime.assemble.elements import Elements
from edge_runtime.assemble.lookup import Lookup, modality_lut
from edge_runtime.assemble.pixels import Layout
from edge_runtime.domain import Array
from edge_runtime.errors import DecodeRefused

PHYSICAL = ("CT", "PT")  # rescaled values have a meaning that MONOCHROME1 does not turn round


@dataclass(frozen=True)
class Conversion:
    """How the stored values of an object become modality units.

    `mirrored` turns the stored range (lowest, highest) round. `padding` is an inclusive range of stored values.
    """

    stored_range: tuple[int, int]
    mirrored: bool
    padding: tuple[int, int] | None
    lookup: Lookup | None

    def apply(self, stored: Array, plane: Plane) -> Array:
        """float32 (rows, columns). Raises DecodeRefused("bad_rescale") for a slope of 0."""
        values = self._rescaled(stored, plane) if self.lookup is None else self._looked_up(stored, self.lookup)
        if self.padding is not None:
            outside = (stored >= self.padding[0]) & (stored <= self.padding[1])
            if outside.any() and not outside.all():
                values[outside] = values[~outside].min()
        return values

    def _rescaled(self, stored: Array, plane: Plane) -> Array:
        slope, intercept = plane.rescale or (1.0, 0.0)
        if slope == 0.0:
            raise DecodeRefused("bad_rescale", "Rescale Slope is 0")
        if self.mirrored:
            intercept += slope * sum(self.stored_range)
            slope = -slope
        values = stored.astype(np.float32)
        if slope != 1.0:
            values *= np.float32(slope)
        values += np.float32(intercept)
        return values

    def _looked_up(self, stored: Array, lookup: Lookup) -> Array:
        values = lookup.apply(stored)
        if self.mirrored:
            values = np.float32(lookup.apply(np.asarray(self.stored_range)).sum()) - values
        return values


def conversion_of(elements: Elements, layout: Layout, modality: str, little_endian: bool) -> Conversion:
    """What the header asks for: rescale or Modality LUT, MONOCHROME1, Pixel Padding Value (PS3.3 C.7.5.1.1.2)."""
    return Conversion(
        stored_range=layout.stored_range,
        mirrored=layout.photometric == "MONOCHROME1" and modality not in PHYSICAL,
        padding=_padding(elements, layout.signed),
        lookup=modality_lut(elements, layout.signed, little_endian),
    )


def _padding(elements: Elements, signed: bool) -> tuple[int, int] | None:
    values = [elements.number(keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    # The two are US or SS by Pixel Representation; some writers label a negative value US.
    ends = [int(v) - 65536 if signed and v > 32767 else int(v) for v in values if v is not None]
    return (min(ends), max(ends)) if values[0] is not None else None
