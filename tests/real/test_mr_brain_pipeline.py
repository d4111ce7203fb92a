"""The shipped pipeline on a real head gives what the published procedure gives, however the slices were cut."""

from __future__ import annotations

import numpy as np
import pytest
from support.mr_brain import (
    PLANES,
    PUBLISHED_DICE,
    PUBLISHED_ML,
    dice,
    head_volume,
    pipeline_config,
    read_head,
    to_plane,
)

from edge_runtime.compose import compose_pipeline
from edge_runtime.domain import Answer, StageOutcome, Volume
from edge_runtime.stages.key_images import key_images
from edge_runtime.telemetry.metrics import NullMetrics

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def head():
    return read_head()


@pytest.fixture(scope="module")
def pipeline():
    """The pipeline of examples/mr-brain.yaml, its engines built if need be, and warm."""
    composed = compose_pipeline(*pipeline_config(), NullMetrics())
    composed.warm()
    yield composed
    composed.close()


@pytest.mark.parametrize("plane", PLANES)
def test_the_brain_is_that_of_the_published_procedure_in_every_plane(pipeline, head, plane):
    image = head_volume(head.image, plane)
    analysis = pipeline.run(image)
    assert analysis.complete
    (mask,) = analysis.masks
    assert mask.voxels.shape == image.voxels.shape
    agreement = dice(mask.voxels, to_plane(head.brain, plane))
    assert agreement >= 0.93
    assert agreement == pytest.approx(PUBLISHED_DICE, abs=0.005)
    located, brain = analysis.findings
    assert (located.answer, brain.answer) == (Answer.POSITIVE, Answer.POSITIVE)
    assert brain.measurements[0].value == pytest.approx(PUBLISHED_ML, rel=0.005)
    box = located.box.grown(0.1, image.voxels.shape)
    assert np.count_nonzero(mask.voxels[box.slices]) > 0.99 * np.count_nonzero(mask.voxels)
    assert len(key_images(image, analysis.masks)) == 4


def test_another_rescale_gives_the_same_brain(pipeline, head):
    image = head_volume(head.image, "sagittal")
    scaled = Volume(image.voxels * np.float32(3.7) - np.float32(1024), image.geometry, "MR", image.sources)
    first, second = (pipeline.run(volume).masks[0].voxels for volume in (image, scaled))
    assert dice(first, second) > 0.999


def test_a_head_of_zeros_is_refused_and_never_a_negative(pipeline, head):
    image = head_volume(np.zeros_like(head.image), "axial")
    analysis = pipeline.run(image)
    assert [record.outcome for record in analysis.stages] == [StageOutcome.FAILED, StageOutcome.NOT_EVALUATED]
    assert {finding.answer for finding in analysis.findings} == {Answer.NOT_EVALUATED}
    assert not analysis.complete and analysis.masks == ()


def test_noise_without_a_head_is_an_incomplete_answer_and_no_brain(pipeline):
    noise = np.random.default_rng(0).normal(100, 20, (60, 64, 64)).astype(np.float32)
    analysis = pipeline.run(head_volume(noise, "axial"))
    located, brain = analysis.stages
    assert located.outcome is StageOutcome.RAN  # the locator always finds something
    assert brain.outcome is StageOutcome.FAILED and "plausible" in brain.reason
    assert analysis.findings[-1].answer is Answer.NOT_EVALUATED
    assert not analysis.complete and analysis.masks == ()
