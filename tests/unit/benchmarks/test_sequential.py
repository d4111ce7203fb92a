"""Which of the bare steps a moment belongs to."""

import dataclasses

import numpy as np
import pytest
from support.models import build_engine, card, segmenter, volume

from benchmarks.sequential import BareRunner, Clock, timed
from edge_runtime.compose import compose_pipeline
from edge_runtime.config import Engines, Pipeline
from edge_runtime.config import Stage as StageConfig
from edge_runtime.engines.card import Expect
from edge_runtime.stages.stage import Seen, run_stage
from edge_runtime.telemetry.metrics import NullMetrics

SHAPE = (1, 1, 8, 8, 8)


class Watch:
    """A clock that only the work moves."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def slow(self, seconds, work):
        """The same work, which takes so long."""

        def slowed(*arguments):
            self.seconds += seconds
            return work(*arguments)

        return slowed


@pytest.fixture
def stage(tmp_path):
    steps = [{"tile": {"shape": [8, 8, 8], "overlap": 0.0}}]
    folder = build_engine(tmp_path, card("segmentation", SHAPE, preprocess=steps), segmenter(SHAPE))
    engines = Engines(path=str(tmp_path), allow_unsigned=True)
    pipeline = compose_pipeline(Pipeline("x", (StageConfig("find", "tiny"),)), engines, NullMetrics())
    yield pipeline.stages[0], (folder / "engine.onnx").read_bytes()
    pipeline.close()


def test_a_stage_of_several_windows_and_regions_is_timed_step_by_step(stage):
    """Looking and preparing are preprocess, runs are inference, and all between and after them is postprocess."""
    stage, engine = stage
    watch = Watch()
    clock = Clock(watch)
    runner = BareRunner(engine, clock)
    runner._session = type("Slow", (), {"run": staticmethod(watch.slow(10.0, runner._session.run))})

    def decode(runs, placement, threshold):
        outputs = []
        for output, tile in runs:
            watch.seconds += 100.0  # after each run, before the next
            outputs.append((output, tile))
        watch.seconds += 1000.0
        return stage.decode(outputs, placement, threshold)

    card = dataclasses.replace(stage.card, expect=Expect("anything", (0.0, 1.0), (0.0, 1.0)))
    slowed = dataclasses.replace(
        stage, card=card, check=watch.slow(0.5, stage.check), prepare=watch.slow(1.0, stage.prepare), decode=decode
    )
    image = volume(np.full((8, 8, 16), 1.0))
    clock.start()
    measured = timed(slowed, runner, clock)
    run_stage(measured, Seen(image, [measured]), (None, None), 1, None)
    watch.seconds += 5.0
    clock.step("postprocess")
    assert clock.steps == {"preprocess": 0.5 + 2 * 1.0, "inference": 4 * 10.0, "postprocess": 4 * 100.0 + 2 * 1000 + 5}
    assert sum(clock.steps.values()) == watch.seconds


def test_a_clock_that_starts_again_has_forgotten():
    watch = Watch()
    clock = Clock(watch)
    watch.seconds = 3.0
    clock.step("decode")
    watch.seconds = 4.0
    clock.start()
    watch.seconds = 6.0
    clock.step("decode")
    assert clock.steps == {"decode": 2.0}
