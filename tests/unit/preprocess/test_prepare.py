"""A recipe gives the network's input, and says so where it cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models import SOURCE, card, classifier, segmenter, volume, write_card

from edge_runtime.domain import Frames
from edge_runtime.engines.card import read_card
from edge_runtime.engines.views import Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.preprocess import compile_recipe
from edge_runtime.preprocess.prepare import quantiles


def recipe(tmp_path, shape, *steps, task="segmentation"):
    document = card(task, shape, preprocess=list(steps))
    found, _ = read_card(
        write_card(tmp_path, document, segmenter(shape) if task == "segmentation" else classifier(shape))
    )
    return compile_recipe(found)


def run(prepare, image, region=None, margin=0.0):
    return [prepared.array for place in prepare(image, region, margin) for prepared in place.inputs]


RAMP = volume(np.arange(27).reshape(3, 3, 3))
SAME = {"resize": {"shape": [3, 3, 3]}}
SHAPE = (1, 1, 3, 3, 3)


def test_a_window_maps_its_edges_to_0_and_1_and_clips(tmp_path):
    (found,) = run(recipe(tmp_path, SHAPE, SAME, {"window": {"range": [1.0, 21.0]}}), RAMP)
    assert found.shape == SHAPE and found.dtype == np.float32
    assert found.reshape(-1)[[0, 1, 11, 21, 26]] == pytest.approx([0, 0, 0.5, 1, 1])


def test_standardizing_gives_the_mean_and_the_sample_deviation(tmp_path):
    (found,) = run(recipe(tmp_path, SHAPE, SAME, {"standardize": {"mean": 0.5, "deviation": 0.25}}), RAMP)
    assert (found.mean(), found.std(ddof=1)) == (pytest.approx(0.5), pytest.approx(0.25))


def test_scaling_multiplies_and_adds(tmp_path):
    (found,) = run(recipe(tmp_path, SHAPE, SAME, {"scale": {"factor": 2.0, "offset": -1.0}}), RAMP)
    assert found.reshape(-1)[:3].tolist() == [-1, 1, 3]


def test_the_image_itself_is_never_written_to(tmp_path):
    before = RAMP.voxels.copy()
    run(recipe(tmp_path, SHAPE, {"window": {"range": [1.0, 2.0]}}, SAME), RAMP)
    assert (RAMP.voxels == before).all()


def test_a_crop_takes_the_region_and_a_window_over_the_whole_looks_beyond_it(tmp_path):
    shape, region = (1, 1, 1, 1, 1), Region((1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    steps = ({"crop": "region"}, {"resize": {"shape": [1, 1, 1]}})
    over_whole = {"window": {"quantiles": [0.0, 1.0], "over": "whole"}}
    (found,) = run(recipe(tmp_path, shape, *steps, over_whole), RAMP, region)
    assert found.item() == pytest.approx(13 / 26)
    with pytest.raises(InferenceFailed, match="no contrast"):
        run(recipe(tmp_path / "here", shape, *steps, {"window": {"quantiles": [0.0, 1.0]}}), RAMP, region)


@pytest.mark.parametrize(
    "step", [{"window": {"quantiles": [0.005, 0.995]}}, {"standardize": {}}], ids=["window", "standardize"]
)
def test_an_image_without_contrast_is_refused_and_gives_no_nan(tmp_path, step):
    prepare = recipe(tmp_path, SHAPE, SAME, step)
    with pytest.raises(InferenceFailed, match="no contrast"):
        run(prepare, volume(np.full((3, 3, 3), 7)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_that_is_not_finite_is_refused(tmp_path, value):
    voxels = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    voxels[1, 1, 1] = value
    with pytest.raises(InferenceFailed, match="not finite"):
        run(recipe(tmp_path, SHAPE, SAME, {"scale": {"factor": 1.0}}), volume(voxels))


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=200))
def test_quantiles_are_numpys(values):
    array = np.array(values, dtype=np.float32)
    expected = np.quantile(array.astype(np.float64), [0.005, 0.995])
    assert quantiles(array, (0.005, 0.995)) == pytest.approx(expected, rel=1e-5, abs=1e-3)


def test_a_frame_engine_takes_each_slice_of_a_volume_or_those_of_a_region(tmp_path):
    prepare = recipe(tmp_path, (1, 1, 3, 3), {"crop": "region"}, {"resize": {"shape": [3, 3]}})
    assert [found[0, 0, 0, 0] for found in run(prepare, RAMP)] == [0, 9, 18]
    placements = [p.placement.frame for p in prepare(RAMP, Region((1.0, 0.0, 0.0), (3.0, 3.0, 3.0)), 0.0)]
    assert placements == [1, 2]


def test_colour_frames_become_channels_or_grey(tmp_path):
    picture = np.zeros((1, 2, 2, 3), np.uint8)
    picture[..., 0] = 100
    frames = Frames(picture, "ES", (SOURCE,))
    steps = ({"resize": {"shape": [2, 2]}}, {"normalize": {"mean": [0.0, 1.0, 2.0], "deviation": [100.0, 1.0, 1.0]}})
    (rgb,) = run(recipe(tmp_path, (1, 3, 2, 2), *steps), frames)
    assert rgb[0, :, 0, 0].tolist() == [1, -1, -2]
    (grey,) = run(recipe(tmp_path / "grey", (1, 1, 2, 2), {"colour": "grey"}, steps[0]), frames)
    assert grey == pytest.approx(np.full((1, 1, 2, 2), 29.9))
    one = Frames(np.ones((1, 2, 2), np.float32), "US", (SOURCE,))
    (three,) = run(recipe(tmp_path / "rgb", (1, 3, 2, 2), {"colour": "rgb"}, steps[0]), one)
    assert three.tolist() == np.ones((1, 3, 2, 2)).tolist()


def test_frames_are_no_volume(tmp_path):
    with pytest.raises(InferenceFailed, match="takes a volume"):
        run(recipe(tmp_path, SHAPE, SAME), Frames(np.ones((1, 2, 2), np.float32), "US", (SOURCE,)))


def test_colour_does_not_slip_into_a_grey_network(tmp_path):
    prepare = recipe(tmp_path, (1, 1, 2, 2), {"resize": {"shape": [2, 2]}})
    with pytest.raises(InferenceFailed, match="the recipe gives"):
        run(prepare, Frames(np.zeros((1, 2, 2, 3), np.uint8), "ES", (SOURCE,)))


RESAMPLE = {"resample": {"spacing_mm": [2.0, 1.0, 1.0]}}
TILE = {"tile": {"shape": [3, 3, 3], "overlap": 0.0, "fill": -1.0}}


def test_resampling_counts_millimetres_and_windows_cover_the_image(tmp_path):
    image = volume(np.arange(4 * 6 * 3).reshape(4, 6, 3), spacing=(1.0, 1.0, 1.0))
    (place,) = recipe(tmp_path, SHAPE, {"orient": "SPL"}, RESAMPLE, TILE)(image, None, 0.0)
    assert [(p.tile.grid, p.tile.offset) for p in place.inputs] == [((2, 6, 3), (0, 0, 0)), ((2, 6, 3), (0, 3, 0))]
    first = place.inputs[0].array
    assert first.shape == SHAPE and first.flags.c_contiguous
    assert (first[0, 0, 2] == -1).all()  # beyond the two slices
    assert first[0, 0, 0, 0, 0] == pytest.approx(np.average([0, 18, 36], weights=[3, 3, 1]))


def test_a_region_smaller_than_a_window_is_cut_with_its_surroundings(tmp_path):
    image = volume(np.arange(12 * 12 * 12).reshape(12, 12, 12))
    steps = ({"orient": "SPL"}, {"crop": "region"}, {"resample": {"spacing_mm": [1.0, 1.0, 1.0]}}, TILE)
    region = Region((5.0, 5.0, 5.0), (6.0, 6.0, 6.0))
    (place,) = recipe(tmp_path, SHAPE, *steps)(image, region, 0.0)
    assert len(place.inputs) == 1 and place.placement.box_shape == (3, 3, 3)
    assert (
        place.inputs[0].array[0, 0] == image.voxels[place.placement.start[0] : place.placement.stop[0], 4:7, 4:7]
    ).all()


def test_frames_without_a_spacing_cannot_be_resampled(tmp_path):
    shape = (1, 1, 4, 4)
    prepare = recipe(tmp_path, shape, {"resample": {"spacing_mm": [1.0, 1.0]}}, {"tile": {"shape": [4, 4]}})
    with pytest.raises(InferenceFailed, match="the image has no spacing"):
        run(prepare, Frames(np.zeros((1, 4, 4), np.float32), "US", (SOURCE,)))
    (found,) = run(prepare, Frames(np.zeros((1, 8, 8), np.float32), "US", (SOURCE,), (0.5, 0.5), "patient"))
    assert found.shape == shape


def test_a_spacing_that_makes_the_image_enormous_is_refused(tmp_path):
    image = volume(np.zeros((4, 4, 4)), spacing=(5000.0, 5000.0, 5000.0))
    with pytest.raises(InferenceFailed, match="too large"):
        run(recipe(tmp_path, SHAPE, {"orient": "SPL"}, RESAMPLE, TILE), image)
