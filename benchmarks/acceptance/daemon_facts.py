"""What the daemon under test says of its jobs (its journal) and of its frames (its metrics)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.record import BenchFailed
from edge_runtime.config import Config, Pipeline
from edge_runtime.domain import StageOutcome
from edge_runtime.spool.spool import open_spool

FRAMES_OF_INFER = ("in_time", "late", "dropped", "superseded", "overtaken", "failed")
FRAMES_WITHOUT_RESULT = (*FRAMES_OF_INFER[1:], "unread", "lagging", "corrupt", "too_large")
"""What a frame can become that has no result in time. Frozen pictures are no new ones."""

_ATTEMPTS = 3

ENDED = ("delivered", "parked", "refused", "cancelled", "retired")
_WHOLE = (StageOutcome.RAN.value, StageOutcome.NOT_NEEDED.value)
_FRAMES = re.compile(r"^edge_video_frames_total{([^}]*)} (\S+)$", re.M)
_TROUBLES = re.compile(r"^edge_(role_restarts|live_results_lost|live_results)_total{([^}]*)} (\S+)$", re.M)
_SAMPLE = re.compile(r'(\w+)="([^"]*)"')

_JOBS = (
    "SELECT j.id, j.pipeline, j.revision, j.state, j.reason, s.study_instance_uid,"
    " (SELECT count(*) FROM job_instances i WHERE i.job_id = j.id) AS images"
    " FROM jobs j LEFT JOIN series s ON s.key = j.series_key ORDER BY j.revision"
)


@dataclass(frozen=True)
class JobFacts:
    """One job as the journal has it. `deliveries`: destination and state of each result's delivery."""

    id: str
    pipeline: str
    revision: int
    state: str
    reason: str
    study_uid: str
    images: int
    deliveries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ResultFacts:
    """What a concluded job says of itself. Times: Unix seconds. `left_out`: mandatory stages without an answer."""

    last_received_at: float
    concluded_at: float
    stages: dict[str, float] = field(default_factory=dict)  # seconds of those that ran
    left_out: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()  # optional ones


def jobs_of(config: Config) -> list[JobFacts]:
    """Every job of the spool that the configuration names, revisions in order; works beside a running daemon."""
    with closing(open_spool(config)) as spool:
        return [
            JobFacts(
                row["id"], row["pipeline"], row["revision"], row["state"], row["reason"],
                row["study_instance_uid"] or "", row["images"],
                tuple((one["destination"], one["state"]) for one in spool.deliveries.of_job(row["id"])),
            )
            for row in spool.journal.rows(_JOBS)
        ]  # fmt: skip


def result_of(job: JobFacts, spool: Path, pipeline: Pipeline) -> ResultFacts | None:
    """What the job's result says; None where it has none."""
    path = spool / "jobs" / job.id / "result.json"
    if not path.is_file():
        return None
    result = json.loads(path.read_bytes())["result"]
    optional = {stage.name for stage in pipeline.stages if stage.optional}
    stages = result["analysis"]["stages"]
    without = [one["stage"] for one in stages if one["outcome"] not in _WHOLE]
    return ResultFacts(
        float(result["last_received_at"]),
        float(result["concluded_at"]),
        {one["stage"]: float(one["seconds"]) for one in stages if one["outcome"] == StageOutcome.RAN.value},
        tuple(stage for stage in without if stage not in optional),
        tuple(stage for stage in without if stage in optional),
    )


def frames_by_outcome(daemon: Daemon, sources: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many frames of each source came to which end since the daemon's start.

    Raises:
        BenchFailed: the daemon does not say.
    """
    found: dict[str, dict[str, int]] = {source: {} for source in sources}
    for labels, value in _FRAMES.findall(_metrics(daemon)):
        told = dict(_SAMPLE.findall(labels))
        if told["source"] in found:
            found[told["source"]][told["outcome"]] = int(float(value))
    return found


def troubles_of(daemon: Daemon) -> list[str]:
    """What the daemon itself counted as gone wrong since its start, a sentence each.

    Raises:
        BenchFailed: the daemon does not say.
    """
    found: Counter[str] = Counter()
    for name, labels, value in _TROUBLES.findall(_metrics(daemon)):
        told = dict(_SAMPLE.findall(labels))
        if name == "role_restarts":
            found[f"the role {told['role']} ended and was replaced: %d times"] += int(float(value))
        elif name == "live_results_lost":
            found[f"results of frames of {told['source']} that did not reach the live outputs: %d"] += int(float(value))
        elif told["outcome"] in ("failed", "lost"):
            found[f"results of frames that did not reach {told['destination']}: %d"] += int(float(value))
    return [sentence % count for sentence, count in found.items() if count]


def _metrics(daemon: Daemon) -> str:
    """What is not counted must never look like nothing."""
    for _ in range(_ATTEMPTS):
        status, body = daemon.get("/metrics")
        if status == 200:
            return body.decode()
    raise BenchFailed(f"the daemon gave no metrics (HTTP status {status}), so what became of frames is not known")
