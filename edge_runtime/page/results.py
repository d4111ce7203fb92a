"""What the page needs of a concluded job's files: is the answer whole, in time, and may a picture of it be shown?"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.domain import StageOutcome

JOB_ID = re.compile(r"[0-9a-f]{11}-[0-9a-f]{8}")
ANSWERED = ("concluded", "reporting", "reported", "delivered")
"""The states of a job in which its result.json is its answer."""

PICTURED = ("reported", "delivered")
_WHOLE = (StageOutcome.RAN.value, StageOutcome.NOT_NEEDED.value)
_KEPT = 500
_LARGEST_BYTES = 50_000_000
_LARGEST_PICTURE_BYTES = 1_000_000
_BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class StageSummary:
    """What a stage did for a job."""

    stage: str
    outcome: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class ResultSummary:
    """What the page says of a result. `study_seconds` is from the receipt of the last image to the conclusion."""

    late: bool
    study_seconds: float
    stages: tuple[StageSummary, ...]

    @property
    def complete(self) -> bool:
        """True when every stage ran or was not needed."""
        return not self.left_out

    @property
    def left_out(self) -> tuple[StageSummary, ...]:
        """The stages without an answer."""
        return tuple(stage for stage in self.stages if stage.outcome not in _WHOLE)


def summarise(document: Any) -> ResultSummary:
    """The summary of a `result.json` as `spool.results` writes it.

    Raises:
        ValueError, LookupError, TypeError: it is none.
    """
    result = document["result"]
    stages = tuple(
        StageSummary(str(s["stage"]), str(s["outcome"]), str(s["reason"]), float(s["seconds"]))
        for s in result["analysis"]["stages"]
    )
    concluded_at = float(result["concluded_at"])
    late = concluded_at > float(result["deadline_at"])
    return ResultSummary(late, concluded_at - float(result["last_received_at"]), stages)


class Results:
    """Summaries of results by job, remembered: a result that is written is never changed. One thread uses it."""

    def __init__(self, jobs: Path) -> None:
        self._jobs = jobs
        self._known: OrderedDict[tuple[str, int], ResultSummary | None] = OrderedDict()

    def get(self, job_id: str, state: str) -> ResultSummary | None:
        """The summary, or None: the job has no answer, or its file cannot be read."""
        if state not in ANSWERED or not JOB_ID.fullmatch(job_id):
            return None
        path = self._jobs / job_id / "result.json"
        try:
            key = (job_id, path.stat().st_mtime_ns)
        except OSError:
            return None
        if key not in self._known:
            self._known[key] = _read(path)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]


def _read(path: Path) -> ResultSummary | None:
    try:
        with path.open("rb") as file:
            return summarise(json.loads(file.read(_LARGEST_BYTES)))
    except _BROKEN:
        return None


@dataclass(frozen=True)
class Picture:
    """Whether a job has a thumbnail that may be shown, and why not where not."""

    shown: bool
    reason: str = ""


def picture_of(jobs: Path, job_id: str, policy: str) -> Picture:
    """What `http.thumbnails` allows of what the report role has left beside the job."""
    if policy == "never":
        return Picture(shown=False, reason="switched off (http.thumbnails)")
    if not JOB_ID.fullmatch(job_id):
        return Picture(shown=False, reason="no such job")
    try:
        note = json.loads((jobs / job_id / "thumbnail.json").read_bytes())
        made, unburned, why = bool(note["made"]), bool(note["burned_in_annotation_no"]), str(note["reason"])
    except FileNotFoundError:
        return Picture(shown=False, reason="none was made")
    except _BROKEN:
        return Picture(shown=False, reason="its note cannot be read")
    if not made:
        return Picture(shown=False, reason=why)
    if policy != "always" and not unburned:
        return Picture(shown=False, reason="made while http.thumbnails was always")
    return Picture(shown=True)


def read_picture(jobs: Path, name: str, policy: str) -> bytes | None:
    """The PNG `<job id>.png`, where it may be shown. No other file can be named."""
    job_id = name.removesuffix(".png")
    if job_id == name or not picture_of(jobs, job_id, policy).shown:
        return None
    try:
        with (jobs / job_id / "thumbnail.png").open("rb") as file:
            return file.read(_LARGEST_PICTURE_BYTES)
    except OSError:
        return None
