"""From what was seen of a site to its record: latencies, stages, time lines, deadlines, budgets."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.acceptance.budgets import Bound, frame_bounds, judge_frames, judge_none, judge_studies, study_bounds
from benchmarks.acceptance.daemon_facts import FRAMES_OF_INFER, FRAMES_WITHOUT_RESULT, JobFacts, ResultFacts, result_of
from benchmarks.acceptance.seen import Measured
from benchmarks.acceptance.sender import SentStudy
from benchmarks.load.arrivals import Mode
from benchmarks.measured import Accelerator, Budget, Span
from benchmarks.record import Record
from edge_runtime.config import Pipeline, Video

_BAD_ENDS = ("parked", "refused", "cancelled")
_LATE_SECONDS = 1.0
"""A series that was begun so much later than it was due: the traffic shape was not reached."""


@dataclass(frozen=True)
class Followed:
    """A study from its last slice to its last result. `arrived_at` None: not all of it came."""

    sent: SentStudy
    job: JobFacts | None
    result: ResultFacts | None
    arrived_at: float | None

    @property
    def seconds(self) -> float | None:
        """From the response to its last slice until its last result was whole at its destination."""
        return None if self.arrived_at is None else max(0.0, self.arrived_at - self.sent.last_response_at)


def judge(measured: Measured, raw: Mapping[str, Any], record: Record, device: Accelerator, complete: bool) -> None:
    """Fill the record. `raw`: the YAML document; `complete`: the run went to its end, so what did not come is lost."""
    config = measured.config
    bounds = study_bounds(raw, config)
    followed = follow(measured)
    if not complete:  # what was under way when the run was stopped is neither in time nor late, and not lost
        followed = [one for one in followed if one.seconds is not None or _overdue(one, bounds, measured.ended_at)]
    for name, bound in bounds.items():
        pipeline = config.pipeline(name)
        assert pipeline is not None
        _studies(measured, record, pipeline, bound, [one for one in followed if one.sent.pipeline == name], device)
    for video in config.video:
        _frames(measured, record, video, frame_bounds(raw, config)[video.name], device)
    if config.series_pipelines:
        record.add_budget(_nothing_lost(followed))
    record.add_budget(_nothing_failed(measured, followed))
    took = measured.ready_seconds
    told = "the daemon was not ready when the run ended" if took is None else f"it took {took:.1f} s, engines warmed"
    why = f"the configuration has no key for it; {told}"
    ready = Budget("ready after the start", "", None, False, "s", took, None, 1, "no budget", why)
    record.add_budget(ready)
    _lateness(measured, record)


def follow(measured: Measured) -> list[Followed]:
    """What became of each counted study: its newest job, its result, when its last result arrived."""
    jobs = {(job.study_uid, job.pipeline): job for job in measured.jobs}  # the newest revision comes last
    arrivals: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for one in measured.arrived:
        arrivals[one.study_uid].append((one.destination, one.at))
    return [_followed(measured, study, jobs.get((study.study_uid, study.pipeline)), arrivals[study.study_uid])
            for study in measured.sent]  # fmt: skip


def _followed(
    measured: Measured, study: SentStudy, job: JobFacts | None, arrivals: Sequence[tuple[str, float]]
) -> Followed:
    if job is None or measured.spool is None:
        return Followed(study, None, None, None)
    pipeline = measured.config.pipeline(job.pipeline)
    assert pipeline is not None
    result = result_of(job, measured.spool, pipeline)
    events = {one.name for one in measured.config.destinations if one.type == "webhook"}
    wanted = Counter(destination for destination, _ in job.deliveries if destination not in events)
    came = Counter(destination for destination, _ in arrivals)
    whole = job.state == "delivered" and all(came[name] >= count for name, count in wanted.items())
    at = max((at for _, at in arrivals), default=None)
    if whole and at is None and result is not None:  # it goes nowhere but to events, or nowhere at all
        at = result.concluded_at
    return Followed(study, job, result, at if whole else None)


def _overdue(one: Followed, bounds: Mapping[str, Bound], now: float) -> bool:
    return now - one.sent.last_response_at > bounds[one.sent.pipeline].default_seconds


def _studies(
    measured: Measured,
    record: Record,
    pipeline: Pipeline,
    bound: Bound,
    followed: Sequence[Followed],
    device: Accelerator,
) -> None:
    name = f"pipelines.{pipeline.name}"
    seconds = [one.seconds for one in followed if one.seconds is not None]
    unanswered = len(followed) - len(seconds)
    missed = unanswered + sum(one > bound.default_seconds for one in seconds)
    why = measured.unsent.get(pipeline.name, "")
    record.add_budget(judge_studies(f"{name}: last slice to last result", bound, seconds, unanswered, why))
    if not followed:
        return
    record.add_deadline(name, bound.seconds, len(followed), missed, bound.of)
    mode = measured.traffic[pipeline.name].mode
    warm_up = sum(one.pipeline == pipeline.name for one in measured.warm_up)
    record.add_latencies(name, mode, seconds, device=device, warm_up=warm_up, unanswered=unanswered)
    stages: dict[str, list[float]] = {stage.name: [] for stage in pipeline.stages}
    for one in followed:
        for stage, took in (one.result.stages if one.result is not None else {}).items():
            stages[stage].append(took)
    record.add_stages(name, {stage: took for stage, took in stages.items() if took})
    slowest = max(followed, key=lambda one: one.seconds or 0.0)
    record.add_timeline(f"{name}: slowest study", spans_of(slowest, pipeline.complete_after_seconds))
    record.details[f"{name}: studies"] = [_row(one) for one in followed]


def _row(one: Followed) -> dict[str, Any]:
    """One study for the result: nothing in it is an identifier."""
    return {
        "due_at": round(one.sent.due_at, 3),
        "begun_at": round(one.sent.begun_at, 3),
        "last_response_at": round(one.sent.last_response_at, 3),
        "concluded_at": None if one.result is None else round(one.result.concluded_at, 3),
        "arrived_at": None if one.arrived_at is None else round(one.arrived_at, 3),
        "acknowledged": one.sent.acknowledged,
        "images_of_the_job": None if one.job is None else one.job.images,
        "state": None if one.job is None else one.job.state,
        "skipped": [] if one.result is None else list(one.result.skipped),
    }


def spans_of(one: Followed, quiet_seconds: float) -> list[Span]:
    """What happened to a study, from its first slice on; steps in order, none of them negative."""
    begun = one.sent.begun_at
    marks = [("modality", "sending", one.sent.last_response_at - begun)]
    if one.result is not None:
        quiet = min(one.result.last_received_at + quiet_seconds, one.result.concluded_at)
        marks += [("daemon", "quiet time", quiet - begun), ("daemon", "analysis", one.result.concluded_at - begun)]
    if one.arrived_at is not None:
        marks.append(("destination", "writing and delivery", one.arrived_at - begun))
    spans, at = [], 0.0
    for lane, name, end in marks:
        spans.append(Span(lane, name, at, max(at, end)))
        at = max(at, end)
    return spans


def _frames(measured: Measured, record: Record, video: Video, bound: Bound, device: Accelerator) -> None:
    name = f"video.{video.name}"
    counts = measured.frames.get(video.name, {})
    in_time = counts.get("in_time", 0)
    missed = sum(counts.get(outcome, 0) for outcome in FRAMES_WITHOUT_RESULT)
    why = "" if in_time + missed else "no frame came: is the source there?"
    record.add_budget(_source_stayed(measured, video, name))
    if counts.get("frozen"):
        record.problem(f"{name}: {counts['frozen']} pictures were frozen and are not counted; look at the source")
    record.add_budget(judge_frames(f"{name}: capture to result", bound, in_time, in_time + missed, why))
    record.details[f"{name}: frames by outcome"] = counts
    if not in_time + missed:
        return
    record.add_deadline(name, bound.seconds, in_time + missed, missed, bound.of)
    lines = [one for one in measured.lines.get(video.pipeline, []) if one["source"] == video.name]
    lines = [one for one in lines if measured.frames_from <= _captured(one) <= measured.frames_until]
    if not lines:
        record.problem(f"{name}: no latency of single frames, as its pipeline sends no lines (type jsonlines)")
        return
    ages = [one["age_seconds"] for one in lines]
    record.add_latencies(name, Mode.FIXED_RATE, ages, device=device, unanswered=missed)
    stages: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        for stage in line["stages"]:
            if stage["outcome"] == "ran":
                stages[stage["name"]].append(stage["seconds"])
    record.add_stages(name, stages)


def _source_stayed(measured: Measured, video: Video, name: str) -> Budget:
    """A source that goes sends no frames that could be late: it must not look better for it."""
    state = measured.source_states.get(video.name)
    losses = measured.source_losses.get(video.name, 0)
    wrong = [f"it was {state} at the end"] if state not in (None, "live") else []
    wrong += [f"it ended or could not be opened {losses} times"] if losses else []
    return judge_none(f"{name}: the source stays", "losses", wrong, 0 if state is None else 1)


def _captured(line: Mapping[str, Any]) -> float:
    return datetime.datetime.fromisoformat(line["captured"].replace("Z", "+00:00")).timestamp()


def _nothing_lost(followed: Sequence[Followed]) -> Budget:
    wrong = []
    for number, one in enumerate(followed, start=1):
        which = f"study {number} ({one.sent.pipeline})"
        if one.sent.refused:
            wrong.append(f"{which}: the daemon refused an instance with {one.sent.refused}")
        if one.job is None:
            wrong.append(f"{which}: {one.sent.acknowledged} acknowledged instances made no job")
        elif one.job.images != one.sent.acknowledged:
            wrong.append(f"{which}: {one.sent.acknowledged} were acknowledged, its job has {one.job.images}")
        elif one.arrived_at is None:
            wrong.append(f"{which}: its job is {one.job.state}; not every result is at its destination")
    count = sum(one.sent.acknowledged for one in followed)
    return judge_none("nothing acknowledged is lost", "studies", wrong, len(followed), f"{count} instances were sent")


def _nothing_failed(measured: Measured, followed: Sequence[Followed]) -> Budget:
    wrong = [f"job {job.id} of {job.pipeline} is {job.state}: {job.reason or 'no reason'}"
             for job in measured.jobs if job.state in _BAD_ENDS]  # fmt: skip
    for job in measured.jobs:
        parked = sum(state == "parked" for _, state in job.deliveries)
        if parked:
            wrong.append(f"job {job.id} of {job.pipeline}: {parked} deliveries are parked")
    for one in followed:
        if one.job is not None and one.result is not None and one.result.left_out:
            stages = ", ".join(one.result.left_out)
            wrong.append(f"job {one.job.id} of {one.job.pipeline} has no answer of {stages}")
    wrong += measured.troubles
    for source, counts in measured.frames.items():
        if counts.get("failed"):
            wrong.append(f"{counts['failed']} frames of {source} failed")
    skipped = sum(bool(one.result and one.result.skipped) for one in followed)
    why = f"{skipped} studies went without an optional stage, as the configuration allows" if skipped else ""
    frames = sum(counts.get(outcome, 0) for counts in measured.frames.values() for outcome in FRAMES_OF_INFER)
    samples = len(measured.jobs) + frames
    return judge_none("nothing fails, is parked or is incomplete", "jobs and frames", wrong, samples, why)


def _lateness(measured: Measured, record: Record) -> None:
    late = [study.begun_at - study.due_at for study in measured.sent if study.begun_at - study.due_at > _LATE_SECONDS]
    if late:
        record.problem(
            f"the traffic shape was not reached: {len(late)} of {len(measured.sent)} series were begun more than "
            f"{_LATE_SECONDS:g} s after their moment, at most {max(late):.1f} s: all associations were in use"
        )
