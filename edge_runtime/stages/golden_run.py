"""The golden pair of a stage's engine, run before the first image: prepared by the host, and on the device."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from edge_runtime.domain import Array, Frames
from edge_runtime.engines.golden import golden_difference, golden_image
from edge_runtime.engines.views import LabelAnswer
from edge_runtime.errors import EngineRejected, InferenceFailed, OutOfDeviceMemory
from edge_runtime.stages.frame_path import FramePath
from edge_runtime.stages.on_device import Answered, Asked, OnDevice, PreparedOnDevice
from edge_runtime.stages.stage import Stage

log = logging.getLogger("edge_runtime.stages")

_REBUILD = "build it again on this machine with edge-convert build"
_UNTIL_LAUNCHED = 3
"""Runs of one kind: done piece by piece, recorded, launched as a graph."""


def run_golden(stage: Stage) -> None:
    """Run the golden input, as the host prepares it.

    Raises:
        EngineRejected: what comes out differs by more than the tolerance, or the run failed.
    """
    name, tolerance = stage.identity.name, stage.card.tolerance
    prepared = next(iter(stage.prepare(golden_image(stage.golden.seed), None, 0.0))).inputs[0].array
    try:
        output = stage.runner.run(prepared)
    except InferenceFailed as error:
        raise EngineRejected(f"engine {name}: its golden input fails: {error}; {_REBUILD}") from error
    of_input, of_output = golden_difference(stage.golden, prepared, output)
    if not (of_input <= tolerance and of_output <= tolerance):
        raise EngineRejected(
            f"engine {name}: its golden output expects a difference up to {tolerance:g}, found {of_output:.3g} "
            f"(input: {of_input:.3g}); {_REBUILD}"
        )


def difference_on_device(stage: Stage, path: FramePath | None) -> float | None:
    """The largest difference from the golden pair where the device prepares the input; None where it never does.

    Infinite, with a word in the log, where the run fails there.
    """
    try:
        if stage.on_device is not None and path is not None:
            return _of_picture(stage, stage.on_device, path)
        return None if stage.prepare_on_device is None else _of_volume(stage, stage.prepare_on_device)
    except (InferenceFailed, OutOfDeviceMemory) as error:
        event = {"stage": stage.name, "engine": stage.key, "reason": str(error)}
        log.warning("the golden input fails where the device prepares it", extra={"event": event})
        return math.inf


def _of_picture(stage: Stage, work: OnDevice, path: FramePath) -> float:
    image = golden_image(stage.golden.seed)
    if not isinstance(image, Frames) or not path.takes(image.pixels[0]):
        return math.inf
    answered: Sequence[Answered] = ()
    for _ in range(_UNTIL_LAUNCHED):
        work.runner.blank()  # else what the host's run has left would pass for the device's
        answered = path.run(image.pixels[0], [Asked(work)], fresh=True)
    prepared, output = path.tensors(work)
    if not same_answers(answered[0].answers, _read(stage, image, output), stage.card.tolerance):
        return math.inf
    return max(golden_difference(stage.golden, prepared, output))


def _read(stage: Stage, image: Frames, output: Array) -> tuple[LabelAnswer, ...] | InferenceFailed:
    """What the host reads in an output."""
    placement = next(iter(stage.prepare(image, None, 0.0))).placement
    try:
        return stage.decode([(output, None)], placement, stage.threshold)
    except InferenceFailed as error:
        return error


def same_answers(
    one: Sequence[LabelAnswer] | InferenceFailed, other: Sequence[LabelAnswer] | InferenceFailed, tolerance: float
) -> bool:
    """Whether two readings of an output say the same: no answer, or masks, regions and probabilities."""
    if isinstance(one, InferenceFailed) or isinstance(other, InferenceFailed):
        return isinstance(one, InferenceFailed) and isinstance(other, InferenceFailed)
    return all(_same(a, b, tolerance) for a, b in zip(one, other, strict=True))


def _same(one: LabelAnswer, other: LabelAnswer, tolerance: float) -> bool:
    corners = [np.array([(r.start, r.stop) for r in each.regions]) for each in (one, other)]
    near = partial(np.allclose, rtol=0.0, atol=max(tolerance, 1e-3))
    if one.voxels is None or other.voxels is None:
        masks = one.voxels is other.voxels
    else:
        masks = np.array_equal(one.voxels, other.voxels)
    return (
        masks
        and corners[0].shape == corners[1].shape
        and bool(near(*corners))
        and bool(near(one.scores, other.scores))
        and bool(near(one.probability or 0.0, other.probability or 0.0))
    )


def _of_volume(stage: Stage, there: PreparedOnDevice) -> float:
    place = next(iter(there.prepare(golden_image(stage.golden.seed), None, 0.0)))
    there.runner.blank()
    output = there.runner.run(place.inputs[0].given)
    return max(golden_difference(stage.golden, there.runner.last_input(), output))
