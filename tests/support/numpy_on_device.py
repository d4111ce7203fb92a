"""Preparation and decoding "on the device" for the host's device: NumPy in the stream's order, through its buffers."""

import dataclasses

import numpy as np

from edge_runtime.domain import Frames, SourceImage
from edge_runtime.engines.views import Placement
from edge_runtime.postprocess import compile_decoder
from edge_runtime.preprocess import compile_recipe
from edge_runtime.stages.frame_path import FramePath
from edge_runtime.stages.on_device import OnDevice
from edge_runtime.stages.pipeline import Pipeline

_REGION = np.dtype([("whole", "u1"), ("start", "f8", 3), ("stop", "f8", 3), ("margin", "f8")])
_SOURCE = SourceImage("picture", "picture")


def frames(picture):
    """A picture (rows, columns[, 3]) as an image of one frame."""
    return Frames(np.array(picture)[None], "OT", (_SOURCE,))


class NumpyPreparation:
    """The card's recipe, with its region read from a buffer when the stream gets there."""

    parameters = _REGION

    def __init__(self, card):
        self._recipe = compile_recipe(card)

    def place(self, shape, dtype, region, margin, frame=0):
        block = np.zeros(1, _REGION)
        block["whole"], block["margin"] = region is None, margin
        if region is not None:
            block["start"], block["stop"] = region.start, region.stop
        image = frames(np.zeros(shape, dtype))
        return next(self._recipe(image, region, margin)).placement, block

    def enqueue(self, pixels, parameters, into, stream):
        from edge_runtime.engines.views import Region

        def work():
            block = parameters.array.view(_REGION)[0]
            region = None if block["whole"] else Region(tuple(block["start"]), tuple(block["stop"]))
            place = next(self._recipe(frames(pixels.array), region, float(block["margin"])))
            into.array[...] = place.inputs[0].array

        stream.submit(work)


class NumpyDecoding:
    """The output as it is goes down, and the host decodes it."""

    parameters = np.dtype([("nothing", "u1")])

    def __init__(self, card, threshold):
        self._card, self._threshold = card, threshold
        self._decode = compile_decoder(card)

    def result_tensors(self, frame_shape):
        return ((self._card.output.shape, self._card.output.dtype),)

    def scratch_tensors(self):
        return ()

    def place(self, placement: Placement):
        return np.zeros(1, self.parameters)

    def enqueue(self, output, parameters, results, scratch, stream):
        stream.submit(lambda: np.copyto(results[0].array, output.array))

    def read(self, results, placement):
        return self._decode(iter([(results[0].copy(), None)]), placement, self._threshold)


def on_device(pipeline, device, turn, told=lambda _: None, graphs=True, metrics=None):
    """The same pipeline, whose single pictures go their way on the device."""
    path = FramePath(device, pipeline.stages[0].runner.streams.run, turn, graphs=graphs, told=told)

    def changed(stage):
        name = f"{stage.name}/{stage.identity.name}"
        work = OnDevice(name, stage.runner, NumpyPreparation(stage.card), NumpyDecoding(stage.card, stage.threshold))
        return dataclasses.replace(stage, on_device=work, cheaper=tuple(changed(each) for each in stage.cheaper))

    return Pipeline(
        pipeline.name,
        [changed(stage) for stage in pipeline.stages],
        pipeline.stages_json,
        metrics or pipeline._metrics,
        pipeline._close,
        frame_path=path,
    )
