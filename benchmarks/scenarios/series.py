"""The series that the scenarios send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from benchmarks.ct_series import Labels, write_ct_series
from benchmarks.heads import HEAD, load_nifti, write_mr_series
from benchmarks.record import BenchFailed
from benchmarks.slices import read_series
from converters.reference.phantom import NEGATIVE, POSITIVE, make_phantom

MR_HEAD = "mr-head"
CT_PHANTOM, CT_PHANTOM_NEGATIVE = "ct-phantom", "ct-phantom-negative"
_PHANTOMS = {CT_PHANTOM: (2, POSITIVE), CT_PHANTOM_NEGATIVE: (3, NEGATIVE)}
"""Two haemorrhages of different kinds, and none beside calcifications."""

SHIPPED_SERIES = (CT_PHANTOM, CT_PHANTOM_NEGATIVE, MR_HEAD)

_SLICES, _MATRIX = 40, 256
_FIRST_SEED = 995_000
"""Phantoms that no network was trained on."""


def series_named(name: str, work: Path) -> Sequence[Dataset]:
    """The series of a name, or of a folder.

    Raises:
        BenchFailed: there is none.
    """
    if name in _PHANTOMS:
        return phantom(*_PHANTOMS[name], _SLICES, _MATRIX, work / name)
    folder = Path(name)
    if name == MR_HEAD:
        if not HEAD.exists():
            raise BenchFailed(f"{HEAD} is missing; install it: apt-get install mricron-data")
        folder = work / "head"
        write_mr_series(load_nifti(HEAD), folder)
    series = read_series(folder)
    if not series:
        raise BenchFailed(f"series {folder} holds no .dcm file")
    return series


def phantoms(count: int, slices: int, matrix: int, work: Path) -> list[Sequence[Dataset]]:
    """Head CT phantoms of `slices` slices of `matrix` squared pixels, every second one without haemorrhage."""
    kinds = (POSITIVE, NEGATIVE)
    return [phantom(n, kinds[n % 2], slices, matrix, work / f"phantom-{n}") for n in range(count)]


def phantom(number: int, kind: str, slices: int, matrix: int, folder: Path) -> Sequence[Dataset]:
    """The phantom of a number, written to a folder as a scanner would and read again."""
    image = make_phantom(_FIRST_SEED + number, kind, matrix, slices).image
    write_ct_series(image, folder, Labels(folder.name))
    return read_series(folder)
