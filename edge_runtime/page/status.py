"""The status document of the page: from what the journal, the results and the roles say to JSON. Pure.

All times are ages in seconds: they need no clock of the reader's, and the document holds no date. Nothing in it is an
identifier of a patient, a study or an image: job ids are made by the server.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_runtime import __version__
from edge_runtime.config import Config, Video
from edge_runtime.page.engines import EngineFacts
from edge_runtime.page.journal import JournalFacts, Row
from edge_runtime.page.results import ANSWERED, PICTURED, Picture, ResultSummary
from edge_runtime.telemetry.health import Reason, RoleState

SCHEMA_VERSION = 1
STALLED_SECONDS = 20.0
"""What the supervisor says of the roles is old when its loop has not turned for this long."""

Document = dict[str, Any]


@dataclass(frozen=True)
class DestinationFacts:
    """What the metrics say of a destination since the daemon's start; times are Unix seconds, None: never."""

    up: bool | None = None
    last_success_at: float | None = None
    last_failure_at: float | None = None
    last_failure: str = ""


@dataclass(frozen=True)
class VideoFacts:
    """What the metrics say of a source since the daemon's start. None: not known, or never."""

    state: str  # metrics.SOURCE_STATES, or down
    frames: Mapping[str, int] = field(default_factory=dict)  # by outcome
    in_time_per_second: float | None = None  # of the last seconds
    last_frame_at: float | None = None  # Unix seconds
    examination_open: bool | None = None
    in_time_share: float | None = None  # of the frames that came to an end in the last seconds
    reason: str = ""  # why it is connecting


@dataclass(frozen=True)
class Facts:
    """All that the page shows. `now` is Unix seconds; `results` and `pictures` are by job id, `video` by source."""

    now: float
    roles: Sequence[RoleState]
    reasons: Sequence[Reason]
    turned_seconds_ago: float
    restarts: Mapping[str, int]
    free_bytes: int | None
    journal: JournalFacts | None
    journal_error: str = ""
    results: Mapping[str, ResultSummary | None] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    destinations: Mapping[str, DestinationFacts] = field(default_factory=dict)
    engines: Sequence[EngineFacts] = ()
    engines_loaded: bool = False
    video: Mapping[str, VideoFacts] = field(default_factory=dict)


def status_document(config: Config, facts: Facts) -> Document:
    """The document that `/api/status` gives and the page draws."""
    journal = facts.journal
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "ready": not facts.reasons,
        "reasons": [asdict(reason) for reason in facts.reasons],
        "roles": [_role(role, facts) for role in facts.roles],
        "stale": _stale(facts),
        "spool": {
            "free_bytes": facts.free_bytes,
            "reserve_bytes": config.spool.reserve_bytes,
            "instances": journal.instances if journal else {},
        },
        "video": [_video(video, config, facts) for video in config.video],
        "job_counts": journal.job_counts if journal else {},
        "jobs": [_job(job, facts, journal) for job in journal.jobs] if journal else [],
        "timings": timings(facts.results, journal.jobs) if journal else [],
        "destinations": _destinations(config, facts),
        "engines": [_engine(engine, facts.engines_loaded) for engine in facts.engines],
        "left_out": [_left_out(row, facts.now) for row in journal.left_out] if journal else [],
    }


def age(now: float, then: float | None) -> float | None:
    """Seconds from `then` to `now`, never negative: a clock may have been set."""
    return None if then is None else round(max(0.0, now - then), 1)


def _stale(facts: Facts) -> list[str]:
    """Which parts of the document are older than they look, and why."""
    found = []
    if facts.turned_seconds_ago > STALLED_SECONDS:
        found.append(f"the supervisor stands still: what is said of roles is {facts.turned_seconds_ago:.0f} s old")
    if facts.journal is None:
        found.append(f"jobs are not known: {facts.journal_error}")
    elif facts.journal_error:
        old = age(facts.now, facts.journal.read_at)
        found.append(f"what is said of jobs and deliveries is {old:.0f} s old: {facts.journal_error}")
    return found


def _role(role: RoleState, facts: Facts) -> Document:
    said = [role.reason] if role.reason else [r.reason for r in facts.reasons if r.role == role.name]
    restarts = facts.restarts.get(role.name, 0)
    return {"name": role.name, "ready": role.ready, "reasons": said, "restarts": restarts}


def _job(job: Row, facts: Facts, journal: JournalFacts) -> Document:
    result = facts.results.get(job["id"])
    picture = facts.pictures.get(job["id"], Picture(shown=False, reason="none yet"))
    return {
        "id": job["id"],
        "pipeline": job["pipeline"],
        "revision": job["revision"],
        "state": job["state"],
        "reason": job["reason"],
        "mark": mark_of(job, result, facts.now),
        "late": is_late(job, result, facts.now),
        "age_seconds": age(facts.now, job["last_received_at"]),
        "images": journal.images.get(job["id"], 0),
        "left_out": [
            {"stage": stage.stage, "outcome": stage.outcome, "reason": stage.reason}
            for stage in (result.left_out if result else ())
        ],
        "deliveries": [
            {"destination": row["destination"], "state": row["state"], "count": row["n"]}
            for row in journal.deliveries
            if row["job_id"] == job["id"]
        ],
        "thumbnail": picture.shown and job["state"] in PICTURED,
        "no_thumbnail": picture.reason if job["state"] in PICTURED else "",
    }


def mark_of(job: Row, result: ResultSummary | None, now: float) -> str:
    """How a job must look: waiting, superseded, problem, unknown, incomplete, late or whole. Only `whole` is good."""
    state = job["state"]
    if job["superseded"]:
        return "superseded"
    if state in ("parked", "refused"):
        return "problem"
    if state in ANSWERED:
        if result is None:
            return "unknown"
        if not result.complete:
            return "incomplete"
        return "late" if result.late else "whole"
    if state in ("cancelled", "retired"):
        return "unknown"
    return "late" if is_late(job, result, now) else "waiting"


def is_late(job: Row, result: ResultSummary | None, now: float) -> bool:
    """True when the answer came after the deadline, or has not come and the deadline is over."""
    if job["state"] in ANSWERED:
        return result is not None and result.late
    return job["state"] in ("collecting", "pending", "running") and now > job["deadline_at"]


def timings(results: Mapping[str, ResultSummary | None], jobs: Sequence[Row]) -> list[Document]:
    """Exact quantiles of what the stages of the shown jobs took, and of the way from the last image to the answer."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        result = results.get(job["id"])
        if result is not None:
            seconds.setdefault((job["pipeline"], ""), []).append(result.study_seconds)
            for stage in result.stages:
                if stage.outcome == "ran":
                    seconds.setdefault((job["pipeline"], stage.stage), []).append(stage.seconds)
    return [
        {
            "pipeline": pipeline,
            "stage": stage,  # "": from the last image to the answer
            "count": len(values),
            "p50_seconds": quantile(values, 0.5),
            "p95_seconds": quantile(values, 0.95),
            "max_seconds": max(values),
        }
        for (pipeline, stage), values in seconds.items()
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _destinations(config: Config, facts: Facts) -> list[Document]:
    backlog = facts.journal.backlog if facts.journal else ()
    known = {destination.name: destination.type for destination in config.destinations}
    unknown = {row["destination"]: "not configured" for row in backlog if row["destination"] not in known}
    return [
        _destination(name, kind, [row for row in backlog if row["destination"] == name], facts)
        for name, kind in {**known, **unknown}.items()
    ]


def _destination(name: str, kind: str, backlog: Sequence[Row], facts: Facts) -> Document:
    said = facts.destinations.get(name, DestinationFacts())
    waiting = [row for row in backlog if row["state"] in ("queued", "sending")]
    parked = [row for row in backlog if row["state"] == "parked"]
    tried = [row["next_at"] for row in waiting if row["attempts"] > 0 and row["state"] == "queued"]
    oldest = min((row["oldest_at"] for row in [*waiting, *parked]), default=None)
    return {
        "name": name,
        "type": kind,
        "up": said.up,
        "waiting": sum(row["n"] for row in waiting),
        "parked": sum(row["n"] for row in parked),
        "oldest_seconds": age(facts.now, oldest),
        "reasons": sorted({row["reason"] for row in backlog if row["reason"]}),
        "next_attempt_seconds": round(max(0.0, min(tried) - facts.now), 1) if tried else None,
        "last_success_seconds": age(facts.now, said.last_success_at),
        "last_failure_seconds": age(facts.now, said.last_failure_at),
        "last_failure": said.last_failure,
    }


def _video(video: Video, config: Config, facts: Facts) -> Document:
    said = facts.video.get(video.name, VideoFacts(state="down"))
    return {
        "name": video.name,
        "pipeline": video.pipeline,
        "state": said.state,
        "deadline_seconds": config.live_deadline_seconds(video),
        "reason": said.reason,
        "in_time_per_second": said.in_time_per_second,
        "in_time_share": said.in_time_share,
        "frames": dict(said.frames),
        "last_frame_seconds": age(facts.now, said.last_frame_at),
        "examination_open": said.examination_open,
    }


def _engine(engine: EngineFacts, loaded: bool) -> Document:
    document = {**asdict(engine), "sha256": engine.sha256[:12], "stages": list(engine.stages)}
    return {**document, "golden": "passed" if loaded and not engine.problem else "not run yet"}


def _left_out(row: Row, now: float) -> Document:
    return {
        "state": row["state"],
        "reason": row["reason"],
        "caller": row["caller_ae_title"],
        "images": row["n"],
        "newest_seconds": age(now, row["newest_at"]),
    }
