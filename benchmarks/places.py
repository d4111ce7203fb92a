"""Where results arrive in the study scenario, when the last of them did, and whether two systems' masks agree."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import pydicom

from benchmarks.peers import dcmtk
from benchmarks.record import BenchFailed

_SETTLE_SECONDS = 0.3

Mask = dict[tuple[float, ...], Any]
"""Frames (bool) of segment 1 by the position of their first pixel, mm."""


class Place(Protocol):
    """A destination. `document`: as the configuration has it; `argument`: as the day's script takes it."""

    document: dict[str, object]
    argument: str

    def forget(self) -> None:
        """What is there now is not of the next study."""

    def files(self) -> list[Path]:
        """What has arrived since."""

    def last_arrival(self) -> float:
        """When the last of them was whole, Unix seconds."""


class FolderPlace:
    """A folder on the disk that is measured."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.document: dict[str, object] = {"name": "place", "type": "folder", "path": str(folder)}
        self.argument = f"folder:{folder}"
        self._known: set[Path] = set()
        folder.mkdir()

    def forget(self) -> None:
        """See `Place`."""
        self._known = self._all()

    def files(self) -> list[Path]:
        """See `Place`."""
        return sorted(self._all() - self._known)

    def last_arrival(self) -> float:
        """See `Place`. Raises BenchFailed where nothing has arrived."""
        time.sleep(_SETTLE_SECONDS)
        files = self.files()
        if not files:
            raise BenchFailed(f"nothing arrived at {self.folder}")
        return max(path.stat().st_ctime_ns for path in files) / 1e9  # of a rename, or of the last write

    def _all(self) -> set[Path]:
        return {path for path in self.folder.iterdir() if not path.name.startswith(".")}


class DicomPlace(FolderPlace):
    """storescp, with TCP_NODELAY=1, writing to a folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = dcmtk.storescp(folder, no_delay=True)

    def __enter__(self) -> DicomPlace:
        port = self._server.__enter__()
        peer = {"ae_title": "PLACE", "host": "127.0.0.1", "port": port}
        self.document = {"name": "place", "type": "dicom", **peer}
        self.argument = f"dicom:{port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.__exit__(kind, error, at)


def segmentation(files: Sequence[Path]) -> Mask:
    """Segment 1 of the SEG among the files.

    Raises:
        BenchFailed: there is none.
    """
    for path in files:
        if path.suffix == ".json":
            continue
        data_set = pydicom.dcmread(path)
        if data_set.Modality == "SEG":
            return _frames(data_set)
    raise BenchFailed(f"no SEG among {[path.name for path in files]}")


def _frames(data_set: Any) -> Mask:
    frames = data_set.pixel_array.reshape(-1, data_set.Rows, data_set.Columns)
    found: Mask = {}
    shared = data_set.SharedFunctionalGroupsSequence[0]
    for pixels, group in zip(frames, data_set.PerFrameFunctionalGroupsSequence, strict=True):
        holder = group if "SegmentIdentificationSequence" in group else shared
        if holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1:
            position = group.PlanePositionSequence[0].ImagePositionPatient
            found[tuple(round(float(value), 2) for value in position)] = pixels > 0
    return found


def agreement(a: Mask, b: Mask) -> float:
    """Dice overlap of two masks; a frame that one lacks is empty there."""
    both = sum(int(np.count_nonzero(a[place] & b[place])) for place in a.keys() & b.keys())
    total = sum(int(np.count_nonzero(frame)) for mask in (a, b) for frame in mask.values())
    return 2 * both / total if total else 1.0
