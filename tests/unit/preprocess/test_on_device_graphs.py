"""On an emulated driver: the kernels as a device launches them, and captured once for every picture and crop."""

import numpy as np
import pytest
from support import host_cuda, host_kernels
from support.recipes import card_of, frames_of, picture

from edge_runtime.device.cuda import CudaDevice
from edge_runtime.domain import Geometry, Volume
from edge_runtime.engines.recipe import Letterbox, Resample, Resize, Scale, Standardize, Step, Tile, Window
from edge_runtime.engines.views import Region
from edge_runtime.kernels import Kernels, program
from edge_runtime.preprocess import compile_recipe
from edge_runtime.preprocess.on_device import frame_preparation, volume_preparation


@pytest.fixture
def device():
    host_cuda.load()
    host_cuda.reset(kernels=host_kernels.library())
    device = CudaDevice()
    yield device
    device.close()
    host_cuda.reset()


@pytest.fixture
def kernels(device, monkeypatch):
    """The driver finds the kernels' code, as the host runs it, by their names: any image will do."""
    monkeypatch.setattr(program, "image", lambda *_: b"\x7fELF" + bytes(60))
    return Kernels(device, None)


REGIONS = (None, Region((0.0, 3.0, 2.5), (1.0, 20.0, 30.0)))


@pytest.mark.parametrize("sampling", [Step(resize=Resize((12, 16))), Step(letterbox=Letterbox((12, 16)))])
def test_one_captured_launch_serves_every_picture_and_every_crop(device, kernels, sampling):
    card = card_of((1, 3, 12, 16), Step(crop="region"), sampling, Step(scale=Scale(1 / 255)))
    preparation, host = frame_preparation(card, kernels), compile_recipe(card)
    stream = device.stream()
    pixels, into = device.empty((24, 40, 3), "uint8"), device.empty(card.input.shape, "float32")
    parameters = device.empty((preparation.parameters.itemsize,), "uint8")
    staged, block = device.staging((24, 40, 3), "uint8"), device.staging(parameters.shape, "uint8")
    found = device.staging(card.input.shape, "float32")

    def work():
        device.upload(staged, pixels, stream)
        device.upload(block, parameters, stream)
        preparation.enqueue(pixels, parameters, into, stream)
        device.download(into, found, stream)

    graph = device.capture(stream, work)
    allocations = device.allocations
    for seed in (1, 2):
        for region in REGIONS:
            staged[...] = picture(seed, staged.shape, "uint8")
            placement, values = preparation.place(staged.shape, "uint8", region, 0.1)
            block[...] = values.view(np.uint8)
            graph.launch(stream)
            stream.synchronize()
            (expected,) = host(frames_of(staged), region, 0.1)
            assert placement == expected.placement
            assert np.abs(found - expected.inputs[0].array).max() <= 1e-5
    assert device.allocations == allocations
    graph.close()


@pytest.mark.parametrize(
    "steps",
    [
        (
            Step(resample=Resample((2.0, 1.5, 1.5))),
            Step(window=Window(range=(0.0, 1000.0))),
            Step(tile=Tile((4, 8, 8))),
        ),
        (Step(resize=Resize((4, 8, 8))), Step(window=Window(quantiles=(0.1, 0.9))), Step(standardize=Standardize())),
    ],
    ids=["resampled", "standardized"],
)
def test_a_volumes_inputs_are_those_of_the_recipe(device, kernels, steps):
    card = card_of((1, 1, 4, 8, 8), Step(orient="SPL"), Step(crop="region"), *steps)
    axes = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0))
    geometry = Geometry((9, 14, 17), (0.0, 0.0, 0.0), axes, (2.5, 1.0, 1.0))
    volume = Volume(picture(1, geometry.shape, "float32"), geometry, "CT", (frames_of(np.zeros((1, 1))).sources) * 9)
    preparation, host = volume_preparation(card, kernels), compile_recipe(card)
    stream, into = device.stream(), device.empty(card.input.shape, "float32")
    found = device.staging(card.input.shape, "float32")
    for region in (None, Region((1.0, 3.0, 2.0), (7.0, 12.0, 11.5))):
        (place,), (expected,) = preparation(volume, region, 0.1), host(volume, region, 0.1)
        assert place.placement == expected.placement and len(place.inputs) == len(expected.inputs)
        for prepared, wanted in zip(place.inputs, expected.inputs, strict=True):
            prepared.fill(into, stream)
            device.download(into, found, stream)
            stream.synchronize()
            assert np.abs(found - wanted.array).max() <= 1e-5
