"""Frames through scheduler, lanes and decoding with networks that do nothing, as fast as it goes, in one process.

python -m benchmarks.live.simulated FOLDER FRAMES SAMPLES      writes a JSON line a sample, and the counts at the end
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from benchmarks.live import networks
from benchmarks.live.resources import resources_of
from edge_runtime import config
from edge_runtime.compose import Claimed
from edge_runtime.domain import Array, EngineIdentity
from edge_runtime.engines.golden import make_golden, make_seed
from edge_runtime.frames.channels import create_channels
from edge_runtime.frames.slot import SlotWriter
from edge_runtime.metrics import METRICS, label_values
from edge_runtime.postprocess import compile_decoder
from edge_runtime.preprocess import compile_expectation, compile_recipe
from edge_runtime.roles.frames import LiveFrames
from edge_runtime.schedule.arbiter import Arbiter
from edge_runtime.schedule.claim import Claim
from edge_runtime.stages.pipeline import Pipeline
from edge_runtime.stages.stage import Condition, OneByOne, Stage
from edge_runtime.telemetry.metrics import RoleMetrics

SOURCES = ("one", "two")
DEADLINE_SECONDS = 0.02
LANES, CAPACITY = 3, 2
LOST_SECONDS = 0.005
"""Without a result for so long the frame was given up, and the next is shown."""

_ROWS, _COLUMNS = 36, 64
_SHAPES = {networks.CLASSIFIER: (16, 16), networks.DETECTOR: (24, 32), networks.SEGMENTER: (16, 16)}
_SLOW_SHARE, _SLOW_SECONDS = 0.005, 0.015
_SUPERSEDED = "superseded"
_MESSAGE_BYTES = 1_000_000


class NothingRunner(OneByOne):
    """Takes its turn on the accelerator, answers from a few outputs at random, and now and then takes its time."""

    engine_seconds = 0.0

    def __init__(self, turn: Callable[[], AbstractContextManager[float]], outputs: list[Array], seed: int) -> None:
        self.waited_seconds = 0.0
        self._turn, self._outputs = turn, outputs
        self._random = np.random.default_rng(seed)

    def run(self, prepared: Array) -> Array:
        """See `stages.stage.Runner`."""
        assert prepared.dtype == np.float32
        with self._turn() as self.waited_seconds:
            if self._random.random() < _SLOW_SHARE:
                time.sleep(_SLOW_SECONDS)
            return self._outputs[int(self._random.integers(len(self._outputs)))]

    def close(self) -> None:
        """See `stages.stage.Runner`."""


def outputs_of(name: str) -> list[Array]:
    """What a network may say: mostly a disc, sometimes none."""
    rows, columns = _SHAPES[name]
    if name == networks.CLASSIFIER:
        return [np.full((1, 1), logit, np.float32) for logit in (4, 4, 4, -4)]
    if name == networks.DETECTOR:
        box = np.array([columns / 2, rows / 2, columns / 3, rows / 3], np.float32)
        return [np.append(box, np.float32(logit)).reshape(1, 5, 1) for logit in (4, 4, -4)]
    disc = np.hypot(*np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]) < 0.7
    return [np.where(disc, 4, -4).astype(np.float32)[None, None]]


def _stage(stage: config.Stage, claim: Claim, folder: Path, seed: int) -> Stage:
    card = networks.small_card(stage.engine, _SHAPES[stage.engine], 1, folder / str(seed) / stage.name)
    outputs, nothing = outputs_of(stage.engine), np.zeros(1, np.float32)
    return Stage(
        name=stage.name,
        card=card,
        identity=EngineIdentity(stage.engine, "1", "0" * 64, "fp32", "none", card.intended_use),
        runner=NothingRunner(claim.turn_of(stage.engine, 0.0), outputs, seed),
        check=compile_expectation(card),
        prepare=compile_recipe(card),
        decode=compile_decoder(card),
        golden=make_golden(make_seed(card), nothing, nothing),
        when=None if stage.when is None else Condition.parse(stage.when),
        within=stage.within,
        optional=stage.optional,
        expected_seconds=0.001,
    )


def make_config(folder: Path) -> config.Config:
    """Two sources on one pipeline; nothing of it is read from the disk."""
    stages = (
        config.Stage("triage", networks.CLASSIFIER),
        config.Stage("find", networks.DETECTOR, when=f"triage.{networks.LABEL}.positive"),
        config.Stage("outline", networks.SEGMENTER, within="find", optional=True),
    )
    video = tuple(
        config.Video(name, "live", url="x", deadline_seconds=DEADLINE_SECONDS, maximum_pixels=_ROWS * _COLUMNS)
        for name in SOURCES
    )
    return config.Config(config.Spool(str(folder)), (config.Pipeline("live", stages),), video=video)


def run(folder: Path, frames: int, samples: int) -> None:
    """Show frames until so many were begun; the newest of each source at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = make_config(folder)
    metrics = RoleMetrics(METRICS, label_values(configuration))
    channels, arbiter = create_channels(configuration), Arbiter(CAPACITY, metrics)
    claimed: list[Claimed] = []
    for seed in range(LANES):
        claim = Claim(arbiter)
        stages = [_stage(stage, claim, folder, seed) for stage in configuration.pipelines[0].stages]
        estimates = claimed[0].pipeline.estimates if claimed else None
        pipeline = Pipeline("live", stages, "", metrics, lambda: None, estimates=estimates)
        claimed.append(Claimed(pipeline, claim))
    writers = [SlotWriter(channels.sources[name].frames) for name in SOURCES]
    live = LiveFrames(configuration, channels, {"live": tuple(claimed)}, CAPACITY, metrics)
    results = socket.socket(fileno=os.dup(channels.results_out))
    picture = np.full((_ROWS, _COLUMNS, 3), 200, np.uint8)
    gc.collect()
    gc.freeze()
    live.start()
    began = time.monotonic()
    for sample in range(samples + 1):
        while (done := begun(metrics)) < frames * sample / samples:
            live.check()
            for _ in range(200):
                for writer in writers:
                    writer.publish(picture, time.monotonic(), time.time())
                if select.select([results], [], [], LOST_SECONDS)[0]:
                    results.recv(_MESSAGE_BYTES)
        print(json.dumps(dataclasses.asdict(resources_of(os.getpid(), done))), flush=True)
    live.stop()
    told = {"seconds": time.monotonic() - began, "counts": counts(metrics), "decisions": decisions(metrics)}
    print(json.dumps(told), flush=True)


def counts(metrics: RoleMetrics) -> dict[str, int]:
    """Frames by outcome."""
    found: dict[str, int] = {}
    for name, labels, value in metrics.snapshot():
        if name == "edge_video_frames_total" and isinstance(value, float | int):
            found[labels[1]] = found.get(labels[1], 0) + int(value)
    return found


def decisions(metrics: RoleMetrics) -> dict[str, int]:
    """What was decided before stages, by decision and reason."""
    index = [list(METRICS["edge_schedule_decisions_total"].labels).index(label) for label in ("decision", "reason")]
    found: dict[str, int] = {}
    for name, labels, value in metrics.snapshot():
        if name == "edge_schedule_decisions_total" and isinstance(value, float | int):
            key = ": ".join(labels[i] for i in index)
            found[key] = found.get(key, 0) + int(value)
    return found


def begun(metrics: RoleMetrics) -> int:
    """How many frames were not just overwritten by fresher ones."""
    return sum(count for outcome, count in counts(metrics).items() if outcome != _SUPERSEDED)


def main() -> None:
    """Run as the arguments say."""
    folder, frames, samples = sys.argv[1:]
    run(Path(folder), int(frames), int(samples))


if __name__ == "__main__":
    main()
