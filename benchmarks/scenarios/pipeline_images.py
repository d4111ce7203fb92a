"""The images that a pipeline is given: a series as the daemon assembles it, or computed frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.live.frames import disc_frames, endoscopy_frames
from benchmarks.record import BenchFailed
from benchmarks.scenarios.series import series_named
from benchmarks.slices import write_again
from edge_runtime.assemble.decoder import DecodePool
from edge_runtime.assemble.volume import assemble
from edge_runtime.config import Config
from edge_runtime.domain import Array, Frames, Image, SourceImage
from edge_runtime.errors import Refused
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.telemetry.metrics import NullMetrics

FRAMES: Mapping[str, Callable[[int], Array]] = {"disc-frames": disc_frames, "endoscopy-frames": endoscopy_frames}


def images_named(name: str, distinct: int, pipeline: Pipeline, config: Config, work: Path) -> list[Image]:
    """`distinct` computed frames of a name, or the one image that a series makes for this pipeline.

    Raises:
        BenchFailed: there is no such series, it cannot be assembled, or the pipeline takes volumes and gets frames.
    """
    if name in FRAMES:
        if pipeline.input_kind != "frames":
            raise BenchFailed(f"input {name}: pipeline {pipeline.name} takes volumes; name a series")
        return [Frames(pixels[None], "ES", (SourceImage("live", "live"),)) for pixels in FRAMES[name](distinct)]
    series = write_again(series_named(name, work), work / "series", "pipeline")
    try:
        with DecodePool(config.decode, NullMetrics()) as pool:
            waiting = [pool.submit(path) for path in sorted(series.iterdir())]
            return [assemble([one.result() for one in waiting], pipeline.input_kind)]
    except Refused as refused:
        raise BenchFailed(f"input {name}: {refused}") from refused
