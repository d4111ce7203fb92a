"""Reads what `edge-bench run` wrote, and refuses what it cannot have written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import READABLE_VERSIONS

_KEYS = {"state": str, "reduced": bool, "scenario": dict, "problems": list, "provenance": dict, "figures": dict}

_MOST_UNANSWERED = 10_000_000


class NotAResult(Exception):
    """A file is not what `edge-bench run` writes."""


def read_result(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        NotAResult: the file cannot be read, or is something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise NotAResult(f"{path} cannot be read as a result: {error}") from error
    known = isinstance(document, dict) and document.get("schema_version") in READABLE_VERSIONS
    if not known or "figures" not in document:
        raise NotAResult(f"{path} is no result of edge-bench run with schema version {READABLE_VERSIONS}")
    assert isinstance(document, dict)
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are unique; of two values under one name nobody knows which was measured."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in found if names.count(name) > 1)!r} stands there twice")
    return found


def check_samples(document: Mapping[str, Any]) -> None:
    """Check what a comparison reads: all of it is there, and every sample is a finite number.

    Raises:
        NotAResult: it is not so; names what.
    """
    for key, kind in _KEYS.items():
        if not isinstance(document.get(key), kind):
            raise NotAResult(f"this is no whole result of edge-bench run: {key} is missing or of another type")
    try:
        for name, one in document["figures"].items():
            _check(name, one["samples"], one["unit"])
            if one["better"] not in ("higher", "lower"):
                raise NotAResult(f"{name}: better is {one['better']!r}, neither higher nor lower")
        for name, one in document.get("latencies", {}).items():
            _check(name, [ms for each in one["rounds"] for ms in each], one["unit"])
            if not 0 <= one["unanswered"] <= _MOST_UNANSWERED:
                raise NotAResult(f"{name}: {one['unanswered']} unanswered queries")
    except (KeyError, TypeError, AttributeError) as error:
        raise NotAResult(f"this is no sound result of edge-bench run: {type(error).__name__}: {error}") from error


def _check(name: str, samples: Sequence[Any], unit: Any) -> None:
    for one in samples:
        number = isinstance(one, int | float) and not isinstance(one, bool)
        if not number or not abs(one) <= 1e300:
            raise NotAResult(f"{name}: a sample is {str(one)[:40]}, and no finite number")
    if not isinstance(unit, str):
        raise NotAResult(f"{name}: the unit is {unit!r}")
