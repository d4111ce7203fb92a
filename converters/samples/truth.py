"""`truth.yaml`: what is true of the images of a folder.

    samples:
      - {file: case-1.png, positive: [hemorrhage]}        # classification: labels of the card; [] is a negative
      - {file: case-2.nii.gz, masks: [{label: brain, file: case-2-mask.nii.gz}]}
      - {file: case-3/, boxes: [{label: nodule, start: [4, 100, 80], stop: [9, 140, 120]}]}
      - {file: case-4/, region: {start: [4, 100, 80], stop: [9, 140, 120]}}

Paths count from the folder. Indices are (slice, row, column) of the image as the daemon assembles it: slices ascend
along the normal, row direction x column direction; `start` is inside, `stop` is not; of a single picture (row, column)
will do. `region` is where a recipe with `crop: region` looks, any margin included. One file may stand several times,
with different regions. A mask is true where its file is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_runtime.engines.views import Region
from edge_runtime.errors import ConfigurationError
from edge_runtime.yaml_schema import read_schema

TRUTH_FILE = "truth.yaml"


def _check_corners(start: tuple[float, ...], stop: tuple[float, ...]) -> None:
    if len(start) not in (2, 3) or len(start) != len(stop):
        raise ValueError("stop: start and stop are (slice, row, column), or (row, column) of a picture")
    if any(not b > a for a, b in zip(start, stop, strict=True)):
        raise ValueError(f"stop: is beyond start on every axis, got {start} to {stop}")


@dataclass(frozen=True)
class RegionEntry:
    """A box: half-open, in indices of the image."""

    start: tuple[float, ...]
    stop: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_corners(self.start, self.stop)

    @property
    def region(self) -> Region:
        """As the daemon has it: of a picture, in its first frame."""
        whole = len(self.start) == 3
        return Region(self.start if whole else (0.0, *self.start), self.stop if whole else (1.0, *self.stop))


@dataclass(frozen=True)
class BoxEntry:
    """A box around a thing."""

    label: str
    start: tuple[float, ...]
    stop: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_corners(self.start, self.stop)

    @property
    def region(self) -> Region:
        """As the daemon has it."""
        return RegionEntry(self.start, self.stop).region


@dataclass(frozen=True)
class MaskEntry:
    """A mask of a thing: NIfTI, PNG or `.npy`, on the grid of the image."""

    label: str
    file: str


@dataclass(frozen=True)
class Entry:
    """One sample."""

    file: str
    positive: tuple[str, ...] | None = None
    boxes: tuple[BoxEntry, ...] | None = None
    masks: tuple[MaskEntry, ...] | None = None
    region: RegionEntry | None = None

    @property
    def in_a_plane(self) -> bool:
        """Whether a box or the region leaves the slice or frame out, as only a single picture allows."""
        boxes = (*(self.boxes or ()), *((self.region,) if self.region else ()))
        return any(len(box.start) == 2 for box in boxes)

    def present(self, kind: str) -> frozenset[str]:
        """The labels that its `positive`, `boxes` or `masks` names."""
        if kind == "positive":
            return frozenset(self.positive or ())
        return frozenset(one.label for one in (self.boxes if kind == "boxes" else self.masks) or ())


@dataclass(frozen=True)
class TruthFile:
    """The file."""

    samples: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError("samples: name at least one")


def _is_there(path: Path) -> bool:
    """Whether it is a file or a folder: no pipe, on which a reader would wait."""
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):  # no name that a file can have
        return False


def read_truth(folder: Path) -> tuple[Entry, ...]:
    """The entries of the folder's truth.yaml, none where there is no such file.

    Raises:
        ConfigurationError: it does not fit the schema, names a file that is not there, or one twice.
    """
    file = folder / TRUTH_FILE
    if not file.is_file():
        return ()
    entries = read_schema(TruthFile, file).samples
    seen: set[tuple[Path, RegionEntry | None]] = set()
    for index, entry in enumerate(entries):
        if (folder / entry.file, entry.region) in seen:
            raise ConfigurationError(f"{file}: samples[{index}]: {entry.file} stands twice with the same region")
        seen.add((folder / entry.file, entry.region))
        for name in (entry.file, *(mask.file for mask in entry.masks or ())):
            if not _is_there(folder / name):
                raise ConfigurationError(f"{file}: samples[{index}]: there is no {name} in {folder}")
    return entries
