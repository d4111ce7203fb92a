"""Windows' probabilities become one mask on the source."""

import numpy as np
import pytest
from support.models import card, segmenter, write_card

from edge_runtime.engines.card import read_card
from edge_runtime.engines.views import Placement
from edge_runtime.postprocess import compile_decoder
from edge_runtime.postprocess.masks import hat
from edge_runtime.preprocess.tiling import cut, tiles

WINDOW = (4, 6, 6)
STEPS = [{"orient": "SPL"}, {"resample": {"spacing_mm": [1.0, 1.0, 1.0]}}, {"tile": {"shape": list(WINDOW)}}]


def decoder(tmp_path, **changes):
    shape = (1, 1, *WINDOW)
    document = card("segmentation", shape, preprocess=STEPS, **changes)
    return compile_decoder(read_card(write_card(tmp_path, document, segmenter(shape)))[0])


def place(shape):
    return Placement(shape, (0, 1, 2), (False,) * 3, (0, 0, 0), shape)


def runs(field):
    """What a network that looks at single voxels says in each window; the output's memory is the same for all."""
    output = np.empty((1, 2, *WINDOW), np.float32)
    for tile in tiles(field.shape, WINDOW, 0.5):
        output[0, 1] = cut(field, tile, 0.0)
        output[0, 0] = 1 - output[0, 1]
        yield output, tile


@pytest.mark.parametrize("shape", [(4, 6, 6), (9, 13, 7), (2, 3, 20)])
def test_windows_that_agree_give_what_the_whole_gives(tmp_path, shape):
    field = np.random.default_rng(3).uniform(0, 1, shape).astype(np.float32)
    (answer,) = decoder(tmp_path)(runs(field), place(shape), None)
    near = np.abs(field - 0.5) < 1e-5  # where rounding may decide
    assert ((answer.voxels == (field > 0.5)) | near).all()
    assert 0 < np.count_nonzero(answer.voxels) < field.size


def test_where_windows_differ_the_one_that_sees_more_around_counts_more(tmp_path):
    first, second = tiles((6, 6, 6), WINDOW, 0.5)
    outputs = [np.full((1, 2, *WINDOW), value, np.float32) for value in (0.8, 0.1)]
    (answer,) = decoder(tmp_path)(zip(outputs, (first, second), strict=True), place((6, 6, 6)), None)
    assert answer.voxels[:, 0, 0].tolist() == [True, True, True, False, False, False]


def test_the_mask_is_brought_to_the_source_linearly(tmp_path):
    """One voxel of the grid is two of the source: the edge lies where the probability crosses the threshold."""
    field = np.zeros((4, 6, 6), np.float32)
    field[:, :, :3] = 1.0
    where = Placement((4, 6, 12), (0, 1, 2), (False,) * 3, (0, 0, 0), (4, 6, 12))
    (answer,) = decoder(tmp_path)(runs(field), where, 0.7)
    assert answer.voxels[0, 0].tolist() == [True] * 6 + [False] * 6
    (answer,) = decoder(tmp_path / "low")(runs(field), where, 0.2)
    assert answer.voxels[0, 0].tolist() == [True] * 7 + [False] * 5


def test_no_voxel_of_a_window_counts_nothing():
    weights = hat((5, 4, 1))
    assert weights.min() > 0 and weights.max() == 1 == weights[2, 1, 0] == weights[2, 2, 0]
