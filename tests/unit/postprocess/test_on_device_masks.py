"""Masks that kernels cut and place are those of the host, and what comes down as it is gives the host's answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import host_kernels
from support.decodings import OnDevice, decoded_card, on_device, on_host, said
from support.recipes import card_of

from edge_runtime.device.host import HostDevice
from edge_runtime.engines.recipe import Step, Tile
from edge_runtime.engines.views import Placement
from edge_runtime.errors import EngineError
from edge_runtime.postprocess.on_device import decoding
from edge_runtime.postprocess.on_device.masks import AXIS
from edge_runtime.postprocess.on_device.output import LABEL


@pytest.fixture(scope="module")
def kernels():
    device = HostDevice(1)
    yield host_kernels.HostKernels(device)
    device.close()


@st.composite
def placements(draw, axes):
    """Crops of any source; some reach beyond it, as a letterbox does."""
    source = tuple(draw(st.integers(1, 24 if axes == 2 else 9)) for _ in range(axes))
    turned = draw(st.permutations(range(axes)))
    flipped = tuple(draw(st.booleans()) for _ in range(axes))
    start, stop = [], []
    for axis in turned:
        start.append(draw(st.integers(-3, source[axis] - 1)))
        stop.append(draw(st.integers(max(1, start[-1] + 1), source[axis] + 3)))
    return Placement(source, tuple(turned), flipped, tuple(start), tuple(stop), 5 if axes == 2 else None)


@st.composite
def cases(draw, task="segmentation"):
    axes = draw(st.sampled_from([2, 3]))
    grid = tuple(draw(st.integers(1, 12 if axes == 2 else 6)) for _ in range(axes))
    count = draw(st.integers(1, 4))
    channels = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True))
    levels = {channel: draw(st.sampled_from([0.125, 0.25, 0.5, 0.875])) for channel in channels}
    card = decoded_card(task, grid, (1, count, *grid), levels, **draw(DECODES[task]))
    return card, draw(placements(axes)), draw(st.integers(0, 99))


DECODES = {
    "segmentation": st.fixed_dictionaries({"keep": st.sampled_from(["all", "largest"]), "fill_holes": st.booleans()}),
    "detection": st.fixed_dictionaries({
        "keep": st.sampled_from(["all", "largest", "each"]), "planes_above": st.sampled_from([0.0, 0.3]),
        "maximum_regions": st.sampled_from([2, 32]),
    }),
}  # fmt: skip


def eighths(card, seed):
    """Probabilities that often are just a level."""
    shape = card.output.shape
    return (np.random.default_rng(seed).integers(0, 9, shape) / 8).astype(np.float32)


@given(cases(), st.sampled_from([None, 0.375]), st.sampled_from(["float32", "float16"]))
@settings(max_examples=200)
def test_a_mask_is_that_of_the_host_voxel_for_voxel(kernels, case, threshold, dtype):
    card, place, seed = case
    output = eighths(card, seed).astype(dtype)
    assert on_device(kernels, card, output, place, threshold) == on_host(card, output, place, threshold)


@given(cases("detection"), st.sampled_from([None, 0.75]))
@settings(max_examples=100)
def test_the_regions_of_a_mask_are_those_of_the_host(kernels, case, threshold):
    card, place, seed = case
    output = eighths(card, seed)
    assert on_device(kernels, card, output, place, threshold) == on_host(card, output, place, threshold)


PLACE = Placement((40, 50), (0, 1), (False, False), (3, 0), (38, 50), frame=0)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_logits_become_probabilities(kernels, activation):
    """Where a probability is next to the level, the last digit of an exponential function may decide."""
    card = decoded_card("segmentation", (16, 20), (1, 3, 16, 20), {2: 0.4, 0: 0.5}, activation=activation)
    output = np.random.default_rng(2).normal(0, 3, card.output.shape).astype(np.float32)
    output[0, :, 0, 0] = (3e4, -3e4, 0)  # no overflow
    expected = on_host(card, output, PLACE)
    assert on_device(kernels, card, output, PLACE) == expected
    assert 0 < np.count_nonzero(expected[0][5]) < 35 * 50 != np.count_nonzero(expected[1][5])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_refused_wherever_it_is(kernels, value):
    """Also in a channel of which there is no label, and where the source has no voxel."""
    card = decoded_card("segmentation", (16, 20), (1, 3, 16, 20), {2: 0.5})
    one = Placement((1, 1), (0, 1), (False, False), (0, 0), (1, 1), frame=0)
    for at in ((0, 0, 0, 0), (0, 1, 15, 19), (0, 2, 8, 3)):
        output = np.zeros(card.output.shape, np.float32)
        output[at] = value
        assert on_device(kernels, card, output, one) == on_host(card, output, one)
        assert "not finite" in on_device(kernels, card, output, one)


def test_one_graph_serves_every_output_and_every_crop_of_a_frame(kernels):
    card = decoded_card("segmentation", (12, 16), (1, 2, 12, 16), {1: 0.5})
    made = OnDevice(kernels, card, (40, 50))
    for seed in range(8):
        output = eighths(card, seed)
        output[0, 0, 0, 0] = np.nan if seed == 3 else 0
        crop = Placement((40, 50), (0, 1), (False, False), (seed, 2 * seed), (40 - seed, 50), frame=seed)
        assert said(made, output, crop) == on_host(card, output, crop)
    made.close()


def test_answers_hold_nothing_of_the_memory_that_the_next_result_overwrites(kernels):
    card = decoded_card("segmentation", (4, 4), (1, 1, 4, 4), {0: 0.5})
    place = Placement((4, 4), (0, 1), (False, False), (0, 0), (4, 4), frame=0)
    made = OnDevice(kernels, card, (4, 4))
    (first,) = made(np.ones((1, 1, 4, 4), np.float32), place)
    made(np.zeros((1, 1, 4, 4), np.float32), place)
    assert first.voxels.all() and first.voxels.dtype == np.bool_
    made.close()


def test_a_mask_of_a_source_of_another_shape_is_refused(kernels):
    card = decoded_card("segmentation", (4, 4), (1, 1, 4, 4), {0: 0.5})
    made = OnDevice(kernels, card, (4, 4))
    with pytest.raises(EngineError, match="the placement is of"):
        made(np.ones((1, 1, 4, 4), np.float32), PLACE)
    made.close()


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_classification_comes_down_as_it_is(kernels, activation, dtype):
    card = decoded_card("classification", (4, 4), (1, 3), {2: 0.5, 0: 0.5}, activation=activation)
    for values in ([0.25, 0.5, 1.0], [3, 0.5, -1], [np.nan, 0, 0]):
        output = np.array([values], dtype)
        assert on_device(kernels, card, output, PLACE) == on_host(card, output, PLACE)


def test_a_card_of_windows_is_read_on_the_host(kernels):
    card = card_of((1, 1, 4, 4, 4), Step(tile=Tile((4, 4, 4))))
    assert decoding(card, kernels, None) == "its windows are put together on the host"


def test_the_blocks_of_parameters_are_the_kernels_structs():
    for file, struct, dtype in (("masks.cu", "MaskAxis", AXIS), ("output.cuh", "OutputLabel", LABEL)):
        offsets = tuple(dtype.fields[name][1] for name in dtype.names)
        assert host_kernels.layout(file, struct, dtype.names) == (offsets, dtype.itemsize)
