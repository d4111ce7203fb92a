"""An output becomes what the card says it means."""

import numpy as np
import pytest
from support.models import card, classifier, segmenter, write_card

from edge_runtime.engines.card import read_card
from edge_runtime.engines.views import Placement, Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.postprocess import compile_decoder

SHAPE = (1, 1, 4, 4, 4)
PLACE = Placement((8, 8, 8), (2, 1, 0), (True, False, False), (0, 0, 0), (8, 8, 8))


def decoder(tmp_path, task="segmentation", **changes):
    document = card(task, SHAPE, **changes)
    made = classifier(SHAPE) if task == "classification" else segmenter(SHAPE)
    decode = compile_decoder(read_card(write_card(tmp_path, document, made))[0])
    return lambda output, placement, threshold: decode([(output, None)], placement, threshold)


def output(*indices):
    """Channel 1 is 0.9 at the indices and 0.1 elsewhere."""
    found = np.full((1, 2, 4, 4, 4), 0.1, np.float32)
    for index in indices:
        found[(0, 1, *index)] = 0.9
    return found


def test_a_mask_comes_back_turned_and_resized_to_the_source(tmp_path):
    (answer,) = decoder(tmp_path)(output((0, 1, 3)), PLACE, None)
    expected = np.zeros((8, 8, 8), bool)
    expected[6:8, 2:4, 6:8] = True  # axes swapped, the first one flipped, twice the size
    assert (answer.voxels == expected).all()


@pytest.mark.parametrize(("threshold", "found"), [(None, 8), (0.89, 8), (0.91, 0), (0.05, 512)])
def test_a_threshold_overrides_that_of_the_card(tmp_path, threshold, found):
    (answer,) = decoder(tmp_path)(output((1, 1, 1)), PLACE, threshold)
    assert np.count_nonzero(answer.voxels) == found


def test_keep_largest_and_fill_holes_do_so(tmp_path):
    shell = [i for i in np.ndindex(3, 3, 3) if i != (1, 1, 1)]
    (answer,) = decoder(tmp_path, decode={"keep": "largest", "fill_holes": True})(output(*shell), PLACE, None)
    assert np.count_nonzero(answer.voxels) == 27 * 8
    (answer,) = decoder(tmp_path / "all")(output(*shell), PLACE, None)
    assert np.count_nonzero(answer.voxels) == 26 * 8


def test_a_detection_gives_the_box_of_its_mask_on_the_source(tmp_path):
    (answer,) = decoder(tmp_path, "detection")(output((0, 1, 2), (0, 2, 2)), PLACE, None)
    assert answer.regions == (Region((4.0, 2.0, 6.0), (6.0, 6.0, 8.0)),)


def test_planes_with_too_little_mask_are_not_in_the_box(tmp_path):
    plate = [(1, y, x) for y in range(4) for x in range(4)]
    (answer,) = decoder(tmp_path, "detection", decode={"planes_above": 0.2})(output(*plate, (3, 0, 0)), PLACE, None)
    assert answer.regions == (Region((0.0, 0.0, 4.0), (8.0, 8.0, 6.0)),)


def test_a_detection_of_each_component_gives_a_region_each(tmp_path):
    decode = decoder(tmp_path, "detection", decode={"keep": "each"})
    (answer,) = decode(output((0, 0, 0), (3, 3, 3), (3, 3, 2)), PLACE, None)
    assert answer.regions == (
        Region((4.0, 6.0, 0.0), (8.0, 8.0, 2.0)),
        Region((0.0, 0.0, 6.0), (2.0, 2.0, 8.0)),
    )


def test_no_mask_is_no_region(tmp_path):
    (answer,) = decoder(tmp_path, "detection")(output(), PLACE, None)
    assert answer.regions == ()


def test_more_regions_than_plausible_are_a_failure_and_not_a_cut_list(tmp_path):
    decode = decoder(tmp_path, "detection", decode={"keep": "each", "maximum_regions": 1})
    with pytest.raises(InferenceFailed, match="2 regions, more than the 1"):
        decode(output((0, 0, 0), (3, 3, 3)), PLACE, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 1])
def test_an_output_that_is_not_finite_is_a_failure(tmp_path, value, channel):
    spoilt = output((0, 0, 0))
    spoilt[0, channel, 2, 2, 2] = value
    with pytest.raises(InferenceFailed, match="not finite"):
        decoder(tmp_path)(spoilt, PLACE, None)


@pytest.mark.parametrize(
    ("activation", "value", "expected"),
    [("none", 0.25, 0.25), ("sigmoid", 0.0, 0.5), ("sigmoid", -200.0, 0.0)],
)
def test_activations_give_probabilities(tmp_path, activation, value, expected):
    decode = decoder(tmp_path, "classification", decode={"activation": activation})
    (answer,) = decode(np.array([[value]], np.float32), PLACE, None)
    assert answer.probability == pytest.approx(expected)


def test_softmax_over_channels_is_that_of_each_voxel(tmp_path):
    logits = np.zeros((1, 2, 4, 4, 4), np.float32)
    logits[0, 1, 0, 0, 0] = 3
    logits[0, 0] += 1
    (answer,) = decoder(tmp_path, decode={"activation": "softmax"})(logits, PLACE, None)
    assert np.count_nonzero(answer.voxels) == 8


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_classification_that_is_no_probability_is_a_failure(tmp_path, value):
    with pytest.raises(InferenceFailed, match=r"no probability; see decode\.activation"):
        decoder(tmp_path, "classification")(np.array([[value]], np.float32), PLACE, None)


def test_an_output_of_another_shape_is_a_failure(tmp_path):
    with pytest.raises(InferenceFailed, match="the card says"):
        decoder(tmp_path)(output()[:, :, :3], PLACE, None)
