"""Where studies run: beside live frames on the same turns, or in their own worker of low priority. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.config import Config, Pipeline, Video

Lengths = Mapping[tuple[str, str], float | None]


@dataclass(frozen=True)
class Placement:
    """`worker`: studies run in their own process. `lines` say so for each study pipeline, and what promotion costs.

    `refused` says why the configuration cannot be used, and what to do; empty where it can.
    """

    worker: bool
    lines: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True)
class _Slack:
    """What the tightest live source leaves for a run of something else. None: a length is not known."""

    source: str
    deadline_seconds: float
    seconds: float | None


@dataclass(frozen=True)
class _Longest:
    """The longest run of a study pipeline. None: that of this stage is not known."""

    pipeline: str
    stage: str
    seconds: float | None


def place(config: Config, longest: Lengths) -> Placement:
    """Decide where studies run. `longest`: the longest uninterruptible run in seconds of (pipeline, stage), if known.

    A study's run cannot be interrupted. Where one is longer than what the tightest live deadline leaves beside the
    live stages, or a length is not known, studies run in their own worker, unless schedule.studies says otherwise.
    """
    studies = [_longest(pipeline, longest) for pipeline in config.series_pipelines]
    if not config.video or not studies:
        return Placement(worker=False)
    slack = min((_slack(config, video, longest) for video in config.video), key=_tightness)
    too_long = [study for study in studies if not _fits(study, slack)]
    forced = config.schedule.studies
    worker = forced == "worker" or (forced == "auto" and bool(too_long))
    lines = tuple(_line(study, slack, worker, forced) for study in studies)
    known = [study for study in too_long if study.seconds is not None and slack.seconds is not None]
    refused = _refusal(known[0], slack) if forced == "shared" and known else ""
    return Placement(worker, lines, refused)


def _longest(pipeline: Pipeline, longest: Lengths) -> _Longest:
    runs = [_Longest(pipeline.name, stage.name, longest.get((pipeline.name, stage.name))) for stage in pipeline.stages]
    unknown = next((run for run in runs if run.seconds is None), None)
    return unknown or max(runs, key=lambda run: run.seconds or 0.0)


def _slack(config: Config, video: Video, longest: Lengths) -> _Slack:
    pipeline, deadline = config.pipeline(video.pipeline), config.live_deadline_seconds(video)
    assert pipeline is not None
    lengths = [longest.get((pipeline.name, stage.name)) for stage in pipeline.stages]
    known = [length for length in lengths if length is not None]
    return _Slack(video.name, deadline, deadline - sum(known) if len(known) == len(lengths) else None)


def _tightness(slack: _Slack) -> float:
    return float("-inf") if slack.seconds is None else slack.seconds


def _fits(study: _Longest, slack: _Slack) -> bool:
    return study.seconds is not None and slack.seconds is not None and study.seconds <= slack.seconds


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _why(study: _Longest, slack: _Slack) -> str:
    if study.seconds is None:
        return f"how long a run of its stage {study.stage} is stands in no passport"
    run = f"its longest run, of stage {study.stage}, is {_ms(study.seconds)}"
    if slack.seconds is None:
        return f"{run}, and how long the live stages of source {slack.source} are stands in no passport"
    return f"{run}, and live frames of source {slack.source} have {_ms(max(0.0, slack.seconds))} to spare"


def _line(study: _Longest, slack: _Slack, worker: bool, forced: str) -> str:
    asked = "" if forced == "auto" else f" (schedule.studies: {forced})"
    if worker:
        where = f"runs in its own worker of low priority{asked}"
        cost = "past its deadline, that worker has the priority of live frames"
    else:
        where = f"runs between live frames{asked}"
        wait = "one such run" if study.seconds is None else _ms(study.seconds)
        cost = f"past its deadline, it gets one run after each live run: a live stage then waits up to {wait} more"
    return f"{study.pipeline}: {where}: {_why(study, slack)}; {cost}"


def _refusal(study: _Longest, slack: _Slack) -> str:
    assert study.seconds is not None and slack.seconds is not None
    return (
        f"schedule.studies is shared, but one run of stage {study.stage} of pipeline {study.pipeline} takes "
        f"{_ms(study.seconds)} and cannot be interrupted, and live frames of source {slack.source} have "
        f"{_ms(max(0.0, slack.seconds))} to spare within their {_ms(slack.deadline_seconds)}; "
        "write schedule.studies: auto, or a longer deadline_seconds for the source"
    )
