"""Decodings over an emulated CUDA driver: recorded once as a graph, launched for one output after the other."""

import numpy as np
import pytest
from support import host_cuda, host_kernels
from support.decodings import OnDevice, box_card, decoded_card, on_host, said

from edge_runtime.device.cuda import CudaDevice
from edge_runtime.engines.views import Placement
from edge_runtime.kernels import Kernels, program

PLACE = Placement((40, 50), (0, 1), (False, False), (-2, 0), (38, 50), frame=0)
VOLUME = Placement((10, 12, 14), (2, 0, 1), (True, False, True), (1, 0, 2), (14, 9, 12))


@pytest.fixture
def kernels(monkeypatch):
    """The driver finds the kernels' code, as the host runs it, by their names: any image will do."""
    host_cuda.load()
    host_cuda.reset(kernels=host_kernels.library())
    monkeypatch.setattr(program, "image", lambda *_: b"\x7fELF" + bytes(60))
    device = CudaDevice()
    yield Kernels(device, None)
    device.close()


CASES = {
    "yolov5": (box_card("yolov5", (32, 40), 70, {0: 0.3, 1: 0.2}, maximum_regions=70), PLACE),
    "yolov8": (box_card("yolov8", (8, 9, 10), 70, {0: 0.3}, overlap=0.2, maximum_regions=70), VOLUME),
    "mask": (decoded_card("segmentation", (32, 40), (1, 2, 32, 40), {1: 0.5, 0: 0.75}), PLACE),
    "volume": (decoded_card("segmentation", (8, 9, 10), (1, 2, 8, 9, 10), {1: 0.5}), VOLUME),
    "largest": (decoded_card("segmentation", (8, 9), (1, 1, 8, 9), {0: 0.5}, keep="largest", fill_holes=True), PLACE),
    "parts": (decoded_card("detection", (8, 9), (1, 1, 8, 9), {0: 0.9}, keep="each"), PLACE),
    "classification": (decoded_card("classification", (8, 9), (1, 3), {2: 0.5}), PLACE),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_graph_gives_the_answers_of_the_host_for_every_output(kernels, name, dtype):
    card, place = CASES[name]
    made = OnDevice(kernels, card, place.source_shape, dtype=dtype)
    assert made.graph is not None
    taken = kernels.device.allocations
    for seed in range(6):
        output = outputs(card, seed).astype(dtype)
        if seed == 2:
            output.reshape(-1)[-1] = np.nan
        assert said(made, output, place) == on_host(card, output, place)
    assert kernels.device.allocations == taken
    made.close()


def outputs(card, seed):
    """Numbers of 0 to 1 by sixteenths; of boxes the places and sizes are up to the extent of the grid."""
    output = (np.random.default_rng(seed).integers(0, 17, card.output.shape) / 16).astype(np.float32)
    if card.decode.gives_boxes:
        rows = output[0].T if card.decode.layout == "yolov5" else output[0]
        rows[: 2 * card.input.spatial] *= min(card.input.shape[2:])
    return output
