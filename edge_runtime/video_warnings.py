"""What a configuration of video asks for that works badly, or not now. Warnings of `edge-runtime check`."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.config import LIVE_DESTINATIONS, Config, Video
from edge_runtime.engines.required import cheapest_runs
from edge_runtime.schedule.placement import Lengths

HELD_BACK_DEADLINE_SECONDS = 0.1


def warnings_here(config: Config) -> list[str]:
    """The warnings on this computer, now.

    Raises:
        EngineRejected: an engine was not built, or its passport cannot be read.
    """
    if not config.video:
        return []
    runs = cheapest_runs(config)
    return video_warnings(config, runs, lambda file: Path(file).exists(), lambda name: shutil.which(name) is not None)


def video_warnings(
    config: Config, runs: Lengths, is_there: Callable[[str], bool], is_program: Callable[[str], bool]
) -> list[str]:
    """A line each. `runs`: what each stage needs, in seconds, by pipeline and stage; None where that is not known."""
    found: list[str] = []
    for video in config.video:
        found.extend(f"video {video.name}: {text}" for text in _of_deadline(config, video, runs))
        if video.file is not None and not is_there(video.file):
            found.append(f"video {video.name}: {video.file} is not there now; it is tried again for as long as it runs")
        if video.command is not None and (text := _of_command(video.command, is_program)):
            found.append(f"video {video.name}: {text}")
    return [*found, *_of_results(config)]


def _of_deadline(config: Config, video: Video, runs: Lengths) -> Iterator[str]:
    pipeline, deadline = config.pipeline(video.pipeline), config.live_deadline_seconds(video)
    assert pipeline is not None
    lengths = [runs.get((pipeline.name, stage.name)) or 0.0 for stage in pipeline.stages if not stage.optional]
    if deadline < sum(lengths):
        yield (
            f"its deadline is {_ms(deadline)}, and by the engines' passports the stages of {pipeline.name} that are "
            f"not optional take {_ms(sum(lengths))}: raise deadline_seconds, or give a faster engine or device"
        )
    if video.scheme in ("rtsp", "rtsps") and deadline < HELD_BACK_DEADLINE_SECONDS:
        yield (
            f"its deadline is {_ms(deadline)}, and with a url each picture of H.264 or H.265 is held back until the "
            "next one begins (40 ms at 25 a second): give a command; see docs/video-sources.md, How old is a picture"
        )


def _of_command(command: str, is_program: Callable[[str], bool]) -> str:
    program = shlex.split(command)[0]
    return "" if is_program(program) else f"program {program} is not found: install it, or give its whole path"


def _of_results(config: Config) -> Iterator[str]:
    types = {destination.name: destination.type for destination in config.destinations}
    takes_series = {pipeline.name for pipeline in config.series_pipelines}
    for pipeline in config.pipelines:
        stored = [one for one in pipeline.send_to if types[one.name] not in (*LIVE_DESTINATIONS, "webhook")]
        sent = any("seg" in (pipeline.results if one.results is None else one.results) for one in stored)
        if pipeline.name not in takes_series and sent:
            yield f"pipeline {pipeline.name}: results has seg, and only video uses it: of a frame there is no SEG"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
