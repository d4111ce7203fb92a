"""The golden pair of a stage's engine, run before the first image: prepared by the host, and on the device."""

from __future__ import annotations

import logging
import math

from edge_runtime.domain import Frames
from edge_runtime.engines.golden import golden_difference, golden_image
from edge_runtime.errors import EngineRejected, InferenceFailed, OutOfDeviceMemory
from edge_runtime.stages.frame_path import FramePath
from edge_runtime.stages.on_device import Asked, OnDevice, PreparedOnDevice
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
    for _ in range(_UNTIL_LAUNCHED):
        work.runner.blank()  # else what the host's run has left would pass for the device's
        path.run(image.pixels[0], [Asked(work)], fresh=True)
    return max(golden_difference(stage.golden, *path.tensors(work)))


def _of_volume(stage: Stage, there: PreparedOnDevice) -> float:
    place = next(iter(there.prepare(golden_image(stage.golden.seed), None, 0.0)))
    there.runner.blank()
    output = there.runner.run(place.inputs[0].given)
    return max(golden_difference(stage.golden, there.runner.last_input(), output))
