"""Boxes that kernels decode are those that the host decodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import host_kernels
from support.decodings import OnDevice, box_card, on_device, on_host, said

from edge_runtime.device.host import HostDevice
from edge_runtime.engines.views import Placement
from edge_runtime.errors import EngineError
from edge_runtime.postprocess.on_device.boxes import LAYOUT

FRAME = Placement((48, 80), (0, 1), (False, False), (4, 8), (36, 72), frame=3)
VOLUME = Placement((20, 24, 32), (2, 0, 1), (True, False, True), (0, 2, 0), (32, 18, 24))


@pytest.fixture(scope="module")
def kernels():
    device = HostDevice(1)
    yield host_kernels.HostKernels(device)
    device.close()


def output_of(card, geometry, scores, dtype="float32"):
    """Geometry (boxes, 2 x axes) and scores (boxes, channels; first the objectness, where the layout has one)."""
    rows = np.concatenate([geometry, scores], axis=1).astype(dtype)
    return np.ascontiguousarray(rows if card.decode.layout == "yolov5" else rows.T)[None]


def noise(card, seed, score=lambda g, shape: g.integers(0, 17, shape) / 16):
    """Boxes on half voxels, some of them empty or outside; scores of which many are equal."""
    generator = np.random.default_rng(seed)
    axes, five = card.input.spatial, card.decode.layout == "yolov5"
    boxes, rows = card.output.shape[1:] if five else card.output.shape[:0:-1]
    places = generator.integers(-4, 2 * max(card.input.shape[2:]) + 4, (boxes, axes)) / 2
    sizes = generator.integers(-1, 24, (boxes, axes)) / 2
    return output_of(card, np.concatenate([places, sizes], axis=1), score(generator, (boxes, rows - 2 * axes)))


@st.composite
def cases(draw):
    layout, grid = draw(st.sampled_from([("yolov5", (16, 32)), ("yolov8", (16, 32)), ("yolov8", (8, 12, 10))]))
    channels = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True))
    levels = {channel: draw(st.sampled_from([0.0625, 0.25, 0.5, 0.3])) for channel in channels}
    decode = {"overlap": draw(st.sampled_from([0.1, 0.25, 0.5, 0.9])), "maximum_regions": draw(st.integers(1, 40))}
    return box_card(layout, grid, draw(st.integers(1, 60)), levels, **decode), draw(st.integers(0, 99))


def place_of(card):
    return FRAME if card.input.kind == "frame" else VOLUME


@given(cases(), st.sampled_from([None, 0.125, 0.9]))
@settings(max_examples=200)
def test_the_same_boxes_with_the_same_scores_are_kept(kernels, case, threshold):
    card, seed = case
    output, place = noise(card, seed), place_of(card)
    assert on_device(kernels, card, output, place, threshold) == on_host(card, output, place, threshold)


@given(cases(), st.sampled_from([np.nan, np.inf, -np.inf, 3e38, 1.0001, 1.000009, -1e-4, -1e-6, -0.0]), st.data())
@settings(max_examples=150)
def test_what_the_host_refuses_is_refused_in_the_same_words(kernels, case, value, data):
    card, seed = case
    output, place = noise(card, seed), place_of(card)
    for at in data.draw(st.lists(st.integers(0, output.size - 1), min_size=1, max_size=3)):
        output.reshape(-1)[at] = value
    assert on_device(kernels, card, output, place) == on_host(card, output, place)


@pytest.mark.parametrize(("layout", "grid"), [("yolov5", (64, 96)), ("yolov8", (64, 96)), ("yolov8", (48, 40, 44))])
@pytest.mark.parametrize("overlap", [0.02, 0.45, 0.95])
def test_of_more_than_a_thousand_candidates_the_best_count(kernels, layout, grid, overlap):
    card = box_card(layout, grid, 2500, {0: 0.1, 1: 0.3}, overlap=overlap, maximum_regions=999)
    output, place = noise(card, 5), place_of(card)
    expected = on_host(card, output, place)
    assert on_device(kernels, card, output, place) == expected
    assert len(expected[0][3]) > 10


def test_more_boxes_than_there_is_room_for_are_counted_all_the_same(kernels):
    card = box_card("yolov8", (64, 96), 900, {0: 0.0625}, overlap=0.9, maximum_regions=2)
    output = noise(card, 1)
    said = on_device(kernels, card, output, FRAME)
    assert "regions, more than the 2 that decode.maximum_regions" in said and said == on_host(card, output, FRAME)


@pytest.mark.parametrize("layout", ["yolov5", "yolov8"])
@pytest.mark.parametrize("seed", range(5))
def test_logits_pass_the_sigmoid(kernels, layout, seed):
    """Scores are those of the host but for the last digits of its exponential function."""
    card = box_card(layout, (16, 32), 40, {0: 0.3, 1: 0.55}, activation="sigmoid", overlap=0.4, maximum_regions=99)
    output = noise(card, seed, lambda g, shape: g.uniform(-6, 6, shape))
    for mine, other in zip(on_device(kernels, card, output, FRAME), on_host(card, output, FRAME), strict=True):
        assert (mine[0], mine[2], mine[3]) == (other[0], other[2], other[3])
        assert mine[1] == pytest.approx(other[1], abs=1e-6) and mine[4] == pytest.approx(other[4], abs=1e-6)


def test_a_network_of_float16_gives_what_its_numbers_give(kernels):
    card = box_card("yolov8", (16, 32), 50, {0: 0.25, 2: 0.5}, overlap=0.4, maximum_regions=99)
    for seed in range(4):
        output = noise(card, seed, lambda g, shape: g.uniform(0, 1, shape)).astype(np.float16)
        assert on_device(kernels, card, output, FRAME) == on_host(card, output, FRAME)


def test_one_graph_serves_one_output_after_the_other(kernels):
    """Also after an output that was refused: nothing of it stays."""
    card = box_card("yolov5", (16, 32), 60, {1: 0.25, 0: 0.5}, overlap=0.3, maximum_regions=60)
    made = OnDevice(kernels, card, FRAME.source_shape)
    for seed in range(12):
        output = noise(card, seed)
        if seed % 3 == 1:
            output[0, 7, seed % 7] = np.nan
        assert said(made, output, FRAME) == on_host(card, output, FRAME)
    made.close()


def test_an_output_of_another_shape_or_type_is_refused(kernels):
    card = box_card("yolov8", (16, 32), 4, {0: 0.5})
    made = OnDevice(kernels, card, FRAME.source_shape)
    for shape, dtype in (((1, 5, 5), "float32"), ((1, 5, 4), "float64")):
        with pytest.raises(EngineError, match="the card says"):
            made.decoding.enqueue(kernels.device.empty(shape, dtype), made.parameters, made.results, (None,) * 4, None)
    with pytest.raises(EngineError, match="the parameters are"):
        made.decoding.enqueue(made.output, made.output, made.results, (None,) * 4, None)
    made.close()


def test_the_block_of_parameters_is_the_kernels_struct():
    offsets = tuple(LAYOUT.fields[name][1] for name in LAYOUT.names)
    assert host_kernels.layout("boxes.cu", "BoxLayout", LAYOUT.names) == (offsets, LAYOUT.itemsize)


@pytest.mark.parametrize(("overlap", "kept"), [(0.5, 2), (0.499, 1)])
def test_boxes_that_share_just_as_much_as_they_may_both_stay(kernels, overlap, kept):
    card = box_card("yolov8", (16, 32), 2, {0: 0.25}, overlap=overlap)
    output = output_of(card, [[10, 8, 3, 4], [11, 8, 3, 4]], [[0.5], [0.75]])  # two of four columns
    ((*_, regions, scores, _),) = on_device(kernels, card, output, FRAME)
    assert len(regions) == kept and scores[0] == 0.75
    assert on_device(kernels, card, output, FRAME) == on_host(card, output, FRAME)
