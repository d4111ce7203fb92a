"""Cards of every kind of output, and what comes of an output: read on the host, and read on a device."""

from dataclasses import replace

import numpy as np
from support.recipes import card_of

from edge_runtime.engines.card import Card, Concept, Decode, Label, Tensor
from edge_runtime.engines.recipe import Resize, Step
from edge_runtime.engines.views import LabelAnswer, Placement
from edge_runtime.errors import InferenceFailed
from edge_runtime.postprocess import compile_decoder
from edge_runtime.postprocess.on_device import decoding

CONCEPT = Concept("1", "99", "It")


def decoded_card(
    task: str, grid: tuple[int, ...], output: tuple[int, ...], levels: dict[int, float], **decode: object
) -> Card:
    """A card whose labels are the channels of `levels`, with their thresholds."""
    card = card_of((1, 1, *grid), Step(resize=Resize(grid)))
    labels = tuple(Label(f"of-{channel}", CONCEPT, channel, level, CONCEPT) for channel, level in levels.items())
    return replace(card, task=task, output=Tensor("out", output), labels=labels, decode=Decode(**decode))


def box_card(layout: str, grid: tuple[int, ...], boxes: int, levels: dict[int, float], **decode: object) -> Card:
    """A detector's card; as many channels as the labels need."""
    channels = max(levels) + 1
    shape = (1, boxes, 5 + channels) if layout == "yolov5" else (1, 2 * len(grid) + channels, boxes)
    return decoded_card("detection", grid, shape, levels, layout=layout, **decode)


class OnDevice:
    """A decoding with its memory, recorded once as a graph for sources of one shape where the device can."""

    def __init__(self, kernels, card: Card, source_shape: tuple[int, ...], threshold=None, dtype: str = "float32"):
        self.device, self.decoding = kernels.device, decoding(card, kernels, threshold)
        device, work = self.device, self.decoding
        self.stream = device.stream()
        self.output = device.empty(card.output.shape, dtype)
        self.parameters = device.empty((work.parameters.itemsize,), "uint8")
        self.results = [device.empty(*tensor) for tensor in work.result_tensors(source_shape)]
        self.found = [np.zeros(*tensor) for tensor in work.result_tensors(source_shape)]
        scratch = [device.empty(*tensor) for tensor in work.scratch_tensors()]
        self.work = lambda: work.enqueue(self.output, self.parameters, self.results, scratch, self.stream)
        self.graph = device.capture(self.stream, self.work) if device.abilities.graphs else None

    def __call__(self, output: np.ndarray, placement: Placement) -> tuple[LabelAnswer, ...]:
        device, stream = self.device, self.stream
        device.upload(output, self.output, stream)
        device.upload(self.decoding.place(placement).view(np.uint8), self.parameters, stream)
        if self.graph is None:
            self.work()
        else:
            self.graph.launch(stream)
        for buffer, array in zip(self.results, self.found, strict=True):
            device.download(buffer, array, stream)
        stream.synchronize()
        return self.decoding.read(self.found, placement)

    def close(self):
        if self.graph is not None:
            self.graph.close()
        self.stream.close()


def on_device(kernels, card, output, placement, threshold=None):
    """What is read of an output on the device."""
    made = OnDevice(kernels, card, placement.source_shape, threshold, output.dtype.name)
    try:
        return said(made, output, placement)
    finally:
        made.close()


def on_host(card, output, placement, threshold=None):
    """What is read of an output on the host."""
    decode = compile_decoder(card)
    return said(lambda *_: decode([(output.astype(np.float32), None)], placement, threshold), output, placement)


def said(read, output, placement):
    """Answers in a form that can be compared, or the message of the failure."""
    try:
        answers = read(output, placement)
    except InferenceFailed as error:
        return str(error)
    return [
        (a.label, a.probability, a.frame, a.regions, a.scores, None if a.voxels is None else a.voxels.tolist())
        for a in answers
    ]
