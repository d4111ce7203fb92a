"""Work that was recorded as a graph gives what the same work gives piece by piece, and takes no memory."""

import numpy as np
import pytest
from support.recipes import card_of, frames_of, picture

from edge_runtime.engines.recipe import Resize, Scale, Step
from edge_runtime.engines.views import Region
from edge_runtime.preprocess import compile_recipe
from edge_runtime.preprocess.on_device import frame_preparation

CARD = card_of((1, 3, 48, 64), Step(crop="region"), Step(resize=Resize((48, 64))), Step(scale=Scale(1 / 255)))
SHAPE = (120, 160, 3)
REGIONS = [None, Region((0.0, 3.0, 5.0), (1.0, 90.5, 100.0)), Region((0.0, 20.0, 0.0), (1.0, 60.0, 159.0))]


class Way:
    """Up, the kernel, and down, of pictures of one shape."""

    def __init__(self, device, kernels):
        self.device, self.stream = device, device.stream()
        self.preparation = frame_preparation(CARD, kernels)
        size = self.preparation.parameters.itemsize
        self.pixels, self.block = device.staging(SHAPE, "uint8"), device.staging((size,), "uint8")
        self.found = device.staging(CARD.input.shape, "float32")
        self._pixels, self._block = device.empty(SHAPE, "uint8"), device.empty((size,), "uint8")
        self._into = device.empty(CARD.input.shape, "float32")

    def append(self):
        self.device.upload(self.pixels, self._pixels, self.stream)
        self.device.upload(self.block, self._block, self.stream)
        self.preparation.enqueue(self._pixels, self._block, self._into, self.stream)
        self.device.download(self._into, self.found, self.stream)

    def give(self, seed, region):
        """A picture and its crop; returns the recipe's answer."""
        self.pixels[...] = picture(seed, SHAPE, "uint8")
        _, block = self.preparation.place(SHAPE, "uint8", region, 0.0)
        self.block[...] = block.view(np.uint8).reshape(-1)
        (place,) = compile_recipe(CARD)(frames_of(self.pixels.copy()), region, 0.0)
        return place.inputs[0].array


@pytest.fixture
def way(device, kernels):
    if not device.abilities.graphs:
        pytest.skip(f"{device.name} has no graphs")
    way = Way(device, kernels)
    yield way
    way.stream.close()


def test_one_graph_serves_every_picture_and_every_crop(way):
    way.append()
    way.stream.synchronize()
    graph = way.device.capture(way.stream, way.append)
    for seed in range(9):
        expected = way.give(seed, REGIONS[seed % len(REGIONS)])
        graph.launch(way.stream)
        way.stream.synchronize()
        by_graph = way.found.copy()
        way.append()
        way.stream.synchronize()
        assert (by_graph == way.found).all(), "a graph gives what the same work gives piece by piece"
        assert by_graph == pytest.approx(expected, rel=1e-6, abs=1e-6)
    graph.close()


def test_nothing_runs_while_a_graph_is_recorded(way):
    way.give(1, None)
    way.found[...] = -1
    graph = way.device.capture(way.stream, way.append)
    way.stream.synchronize()
    assert (way.found == -1).all()
    graph.close()


def test_a_frame_takes_no_memory_once_the_first_was_there(way):
    way.append()
    way.stream.synchronize()
    graph = way.device.capture(way.stream, way.append)
    before = way.device.allocations
    for seed in range(20):
        way.give(seed, REGIONS[seed % len(REGIONS)])
        graph.launch(way.stream)
        way.append()
        way.stream.synchronize()
    assert way.device.allocations == before
    graph.close()
