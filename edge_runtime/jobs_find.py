"""`edge-runtime jobs find`: where is my study? For the person at the console, who knows its number.

The number is compared here and printed nowhere: neither the output nor a log line holds an identifier.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_runtime.assemble.elements import Elements
from edge_runtime.assemble.part10 import quiet, read_header_elements
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE, DecodeRefused, SpoolError
from edge_runtime.page.results import Results
from edge_runtime.spool.jobs import Job
from edge_runtime.spool.spool import Spool

UNTAKEN = ("stored", "unmatched", "quarantined")
"""Instances of these states belong to no series of the journal: their files are read."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What a series must have; None asks nothing."""

    accession: str | None = None
    study_uid: str | None = None
    patient_id: str | None = None

    def __post_init__(self) -> None:
        if not any(asdict(self).values()):
            raise ValueError("give at least one of --accession, --study-uid and --patient-id")

    def takes(self, elements: Elements) -> bool:
        """Whether a stored image has it all. Outer spaces do not count (PS3.5 section 6.2)."""
        asked = {"AccessionNumber": self.accession, "StudyInstanceUID": self.study_uid, "PatientID": self.patient_id}
        return all(value is None or elements.text(keyword) == value.strip() for keyword, value in asked.items())


@dataclass
class Images:
    """The stored images of one series. Times are Unix seconds."""

    modality: str = ""
    states: dict[str, int] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)
    callers: set[str] = field(default_factory=set)
    received_at: list[float] = field(default_factory=list)

    def add(self, row: Any) -> None:
        """Count a row of the journal's instances."""
        self.states[row["state"]] = self.states.get(row["state"], 0) + 1
        self.callers.add(row["caller_ae_title"])
        self.received_at.append(row["received_at"])
        if row["reason"]:
            self.reasons.add(row["reason"])

    def record(self) -> Record:
        """As JSON."""
        return {
            "modality": self.modality,
            "images": self.states,
            "first_received_at": min(self.received_at, default=None),
            "last_received_at": max(self.received_at, default=None),
            "callers": sorted(self.callers),
            "reasons": sorted(self.reasons),
        }


def find_series(spool: Spool, wanted: Wanted) -> list[Record]:
    """Every series that is wanted: when it came, its images by state, its jobs with their deliveries."""
    results = Results(spool.layout.jobs)
    found = [_record(spool, row["key"], row["header"], results) for row in _taken(spool, wanted)]
    return found + [{**images.record(), "jobs": []} for images in _untaken(spool, wanted).values()]


def _taken(spool: Spool, wanted: Wanted) -> Iterator[Any]:
    """The journal's series. By Patient ID they are found while one of their images is kept."""
    rows = spool.journal.rows(
        "SELECT key, header FROM series WHERE (? IS NULL OR accession_number = ?)"
        " AND (? IS NULL OR study_instance_uid = ?)",
        *[value for text in (wanted.accession, wanted.study_uid) for value in [text and text.strip()] * 2],
    )
    for row in rows:
        if wanted.patient_id is None or _image_takes(spool, row["key"], wanted):
            yield row


def _image_takes(spool: Spool, series_key: str, wanted: Wanted) -> bool:
    query = "SELECT id FROM instances WHERE series_key = ? AND state IN ('matched', 'own_result')"
    query += " ORDER BY received_at DESC LIMIT 1"
    row = spool.journal.row(query, series_key)
    elements = None if row is None else _elements(spool, row["id"])
    return elements is not None and wanted.takes(elements)


def _untaken(spool: Spool, wanted: Wanted) -> dict[str, Images]:
    """By Series Instance UID: the images that no job took."""
    found: dict[str, Images] = {}
    query = "SELECT * FROM instances WHERE state IN (SELECT value FROM json_each(?)) ORDER BY received_at"
    for row in spool.journal.rows(query, json.dumps(UNTAKEN)):
        elements = _elements(spool, row["id"])
        if elements is not None and wanted.takes(elements):
            series = elements.text("SeriesInstanceUID") or ""
            found.setdefault(series, Images(elements.text("Modality") or "")).add(row)
    return found


def _elements(spool: Spool, instance_id: str) -> Elements | None:
    """The header of a stored image; None where it is gone or cannot be read."""
    try:
        with quiet():
            return read_header_elements(spool.store.path(instance_id)).elements
    except (OSError, SpoolError, DecodeRefused):
        return None


def _record(spool: Spool, series_key: str, header: str, results: Results) -> Record:
    images = Images(str(json.loads(header).get("modality") or ""))
    for row in spool.journal.rows("SELECT * FROM instances WHERE series_key = ?", series_key):
        images.add(row)
    query = "SELECT id FROM jobs WHERE series_key = ? ORDER BY pipeline, revision"
    jobs = [spool.jobs.get(row["id"]) for row in spool.journal.rows(query, series_key)]
    return {**images.record(), "jobs": [_job(spool, job, results) for job in jobs]}


def _job(spool: Spool, job: Job, results: Results) -> Record:
    result = results.get(job.id, job.state)
    deliveries = spool.journal.rows(
        "SELECT destination, state, reason, count(*) AS count, max(attempts) AS attempts FROM deliveries"
        " WHERE job_id = ? GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        job.id,
    )
    return {
        "id": job.id,
        "pipeline": job.pipeline,
        "revision": job.revision,
        "state": job.state,
        "reason": job.reason,
        "complete": None if result is None else result.complete,
        "late": None if result is None else result.late,
        "left_out": [asdict(stage) for stage in result.left_out] if result else [],
        "deliveries": [dict(row) for row in deliveries],
    }


def print_found(found: list[Record], as_json: bool) -> int:
    """Print what was found; the exit code."""
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for number, series in enumerate(found, start=1):
            print("\n".join(_lines(number, series)))
        print(f"{len(found)} series" if found else "0 series: it never came, or was deleted after the retention time")
    return EXIT_DONE if found else EXIT_FAILURE


def _lines(number: int, series: Record) -> Iterator[str]:
    images = ", ".join(f"{count} {state}" for state, count in sorted(series["images"].items()))
    times = " to ".join(_clock(series[key]) for key in ("first_received_at", "last_received_at"))
    yield f"series {number}: {series['modality'] or '?'}, {images} images, {times}, from {', '.join(series['callers'])}"
    if not series["jobs"]:
        yield f"  no job: {'; '.join(series['reasons']) or 'not looked at yet'}"
    for job in series["jobs"]:
        answer = {True: "complete", False: "INCOMPLETE", None: "no answer"}[job["complete"]]
        late = ", LATE" if job["late"] else ""
        head = f"  job {job['id']}  {job['pipeline']}  r{job['revision']}  {job['state']}  {answer}{late}"
        yield f"{head}  {job['reason']}".rstrip()
        for stage in job["left_out"]:
            yield f"    stage {stage['stage']}: {stage['outcome']}  {stage['reason']}".rstrip()
        for row in job["deliveries"]:
            why = f" ({row['reason']}, {row['attempts']} attempts)" if row["reason"] and row["state"] != "done" else ""
            yield f"    {row['destination']}: {row['count']} {row['state']}{why}"


def _clock(at: float | None) -> str:
    return "?" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
