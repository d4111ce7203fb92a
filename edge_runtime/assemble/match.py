"""Which series a pipeline takes: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edge_runtime.assemble.header import SeriesHeader
from edge_runtime.config import Match

REASONS = (
    "modality",
    "body_part",
    "description",
    "image_type",
    "called_ae_title",
    "calling_ae_title",
    "minimum_slices",
)


def matches(header: SeriesHeader, match: Match, slices: int, calling: str, called: str) -> str | None:
    """None when `match` takes the series, else the first of REASONS that speaks against it.

    `slices` counts the planes seen so far (frames of multi-frame objects); `calling` and `called` are AE titles.
    Values are compared without regard to case; `description` is searched in Series Description, likewise.
    """
    if match.modality and not _among(header.modality, match.modality):
        return "modality"
    if match.body_part and not _among(header.body_part, match.body_part):
        return "body_part"
    if match.description is not None and not _found(match.description, header.series_description):
        return "description"
    if not set(_folded(match.image_type)) <= set(_folded(header.image_type)):
        return "image_type"
    if match.called_ae_title and not _among(called, match.called_ae_title):
        return "called_ae_title"
    if match.calling_ae_title and not _among(calling, match.calling_ae_title):
        return "calling_ae_title"
    return "minimum_slices" if slices < match.minimum_slices else None


def _folded(values: Iterable[str]) -> list[str]:
    return [value.strip().casefold() for value in values]


def _among(value: str | None, allowed: Iterable[str]) -> bool:
    return value is not None and value.strip().casefold() in _folded(allowed)


def _found(pattern: str, description: str | None) -> bool:
    return re.search(pattern, description or "", re.IGNORECASE) is not None
