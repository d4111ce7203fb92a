"""Where results arrive, when the last of them did, and whether two systems found the same."""

from __future__ import annotations

import json
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
"""Frames (bool) of one segment by the position of their first pixel, mm."""

Answers = dict[str, list[tuple[str, str, str]]]
"""Outcomes of stages and answers of findings, by the UID of their series."""


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


def segments(files: Sequence[Path]) -> list[Mask]:
    """Every segment of the SEG among the files, by number; none where there is no SEG."""
    for path in files:
        if path.suffix != ".json":
            data_set = pydicom.dcmread(path)
            if data_set.Modality == "SEG":
                return _frames(data_set)
    return []


def _frames(data_set: Any) -> list[Mask]:
    frames = data_set.pixel_array.reshape(-1, data_set.Rows, data_set.Columns)
    found: dict[int, Mask] = {int(segment.SegmentNumber): {} for segment in data_set.SegmentSequence}
    shared = data_set.SharedFunctionalGroupsSequence[0]
    for pixels, group in zip(frames, data_set.PerFrameFunctionalGroupsSequence, strict=True):
        holder = group if "SegmentIdentificationSequence" in group else shared
        number = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        position = group.PlanePositionSequence[0].ImagePositionPatient
        found[number][tuple(round(float(value), 2) for value in position)] = pixels > 0
    return [mask for _, mask in sorted(found.items())]


def agreement(a: Sequence[Mask], b: Sequence[Mask]) -> float:
    """The lowest Dice overlap of any segment with its best match on the other side, however they are numbered.

    1 where neither side has a segment, 0 where one has none.
    """
    overlaps = [[_dice(one, other) for other in b] for one in a]
    best = [max(row, default=0.0) for row in overlaps]
    best += [max((row[k] for row in overlaps), default=0.0) for k in range(len(b))]
    return min(best, default=1.0)


def _dice(a: Mask, b: Mask) -> float:
    """A frame that one lacks is empty there."""
    both = sum(int(np.count_nonzero(a[place] & b[place])) for place in a.keys() & b.keys())
    total = sum(int(np.count_nonzero(frame)) for mask in (a, b) for frame in mask.values())
    return 2 * both / total if total else 1.0


def answers(files: Sequence[Path]) -> Answers:
    """What each JSON result among the files says."""
    found = {}
    for path in files:
        if path.suffix == ".json":
            document = json.loads(path.read_text())
            said = [("stage", stage["name"], stage["outcome"]) for stage in document["stages"]]
            said += [(f["stage"], f["label"], f["answer"]) for f in document["findings"]]
            found[document["source_series_instance_uid"]] = said
    return found
