"""Boxes in the layout of YOLOv8 become regions of the source, each thing once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models import card, segmenter, write_card

from edge_runtime.engines.card import read_card
from edge_runtime.engines.views import Placement, Region, Tile
from edge_runtime.errors import InferenceFailed
from edge_runtime.postprocess import compile_decoder
from edge_runtime.postprocess.boxes import suppress

SHAPE = (1, 1, 8, 8, 8)
PLACE = Placement((8, 8, 8), (0, 1, 2), (False, False, False), (0, 0, 0), (8, 8, 8))


def decoder(tmp_path, boxes, **decode):
    document = card("detection", SHAPE, output={"name": "probability", "shape": [1, 7, boxes]})
    document["labels"][0]["channel"] = 0
    document["decode"] = {"layout": "yolov8", **decode}
    return compile_decoder(read_card(write_card(tmp_path, document, segmenter(SHAPE)))[0])


def output(*boxes):
    """One column a box: centre, size, score."""
    return np.array(boxes, dtype=np.float32).T[None]


def test_a_box_above_the_threshold_is_a_region_with_its_score(tmp_path):
    decode = decoder(tmp_path, 2)
    (answer,) = decode([(output((4, 3, 2, 2, 4, 2, 0.9), (1, 1, 1, 1, 1, 1, 0.4)), None)], PLACE, None)
    assert answer.regions == (Region((3.0, 1.0, 1.0), (5.0, 5.0, 3.0)),)
    assert answer.scores == pytest.approx((0.9,)) and answer.probability == pytest.approx(0.9)


def test_where_nothing_is_above_the_threshold_the_highest_score_is_told(tmp_path):
    (answer,) = decoder(tmp_path, 1)([(output((4, 4, 4, 2, 2, 2, 0.3)), None)], PLACE, None)
    assert answer.regions == () and answer.probability == pytest.approx(0.3)
    (answer,) = decoder(tmp_path / "low", 1)([(output((4, 4, 4, 2, 2, 2, 0.3)), None)], PLACE, 0.2)
    assert len(answer.regions) == 1


def test_of_boxes_that_overlap_the_best_is_kept(tmp_path):
    run = output((4, 4, 4, 4, 4, 4, 0.8), (4, 4, 4.5, 4, 4, 4, 0.9), (1, 1, 1, 1, 1, 1, 0.7))
    (answer,) = decoder(tmp_path, 3)([(run, None)], PLACE, None)
    assert answer.scores == pytest.approx((0.9, 0.7))


def test_a_box_is_cut_to_the_image_and_one_outside_is_none(tmp_path):
    run = output((0, 4, 4, 4, 2, 2, 0.9), (20, 4, 4, 2, 2, 2, 0.9))
    (answer,) = decoder(tmp_path, 2)([(run, None)], PLACE, None)
    assert answer.regions == (Region((0.0, 3.0, 3.0), (2.0, 5.0, 5.0)),)


def test_boxes_of_windows_meet_on_the_grid(tmp_path):
    """The source is 16 voxels, the grid 8 + 4; the same thing is whole in one window and cut in the other."""
    place = Placement((24, 8, 8), (0, 1, 2), (False, False, False), (0, 0, 0), (24, 8, 8))
    grid = (12, 8, 8)
    first, second = Tile(grid, (0, 0, 0), (8, 8, 8)), Tile(grid, (4, 0, 0), (8, 8, 8))
    whole = output((4, 4, 4, 4, 4, 4, 0.9))  # in the second window: 6 to 10 of the grid
    cut = output((6.5, 4, 4, 1, 4, 4, 0.8))  # in the first: 6 to 7, a quarter of it
    (answer,) = decoder(tmp_path, 1)([(cut, first), (whole, second)], place, None)
    assert answer.regions == (Region((12.0, 2.0, 2.0), (20.0, 6.0, 6.0)),)


def test_a_small_box_within_a_better_one_of_the_same_window_stays(tmp_path):
    run = output((4, 4, 4, 4, 4, 4, 0.9), (4, 4, 2.5, 4, 4, 1, 0.8))
    (answer,) = decoder(tmp_path, 2)([(run, None)], PLACE, None)
    assert answer.scores == pytest.approx((0.9, 0.8))


def test_scores_that_are_no_probabilities_are_refused(tmp_path):
    with pytest.raises(InferenceFailed, match=r"no probabilities; see decode\.activation"):
        decoder(tmp_path, 1)([(output((4, 4, 4, 2, 2, 2, 3.0)), None)], PLACE, None)
    (answer,) = decoder(tmp_path / "s", 1, activation="sigmoid")([(output((4, 4, 4, 2, 2, 2, 3.0)), None)], PLACE, None)
    assert answer.scores == pytest.approx((0.9526,), abs=1e-4)


def test_more_regions_than_plausible_are_refused(tmp_path):
    run = output((1, 1, 1, 1, 1, 1, 0.9), (6, 6, 6, 1, 1, 1, 0.9))
    with pytest.raises(InferenceFailed, match="maximum_regions"):
        decoder(tmp_path, 2, maximum_regions=1)([(run, None)], PLACE, None)


def test_a_box_that_is_not_a_number_is_refused(tmp_path):
    with pytest.raises(InferenceFailed, match="not finite"):
        decoder(tmp_path, 1)([(output((np.nan, 4, 4, 2, 2, 2, 0.9)), None)], PLACE, None)


BOX = st.tuples(*[st.integers(0, 9)] * 3, *[st.integers(1, 6)] * 3, st.floats(0.01, 1.0), st.integers(0, 1))


def union_share(a, b):
    low, high = np.maximum(a[:3], b[:3]), np.minimum(a[3:6], b[3:6])
    shared = np.prod(np.clip(high - low, 0, None))
    return shared / (np.prod(a[3:6] - a[:3]) + np.prod(b[3:6] - b[:3]) - shared)


@given(st.lists(BOX, max_size=12), st.floats(0.1, 0.9))
def test_suppression_keeps_the_best_and_none_that_overlap(boxes, overlap):
    rows = np.array([(*b[:3], *np.add(b[:3], b[3:6]), *b[6:]) for b in boxes], dtype=float).reshape(-1, 8)
    kept = suppress(rows, 3, overlap)
    assert len(kept) == 0 if not boxes else kept[0][6] == max(b[6] for b in boxes)
    for i, one in enumerate(kept):
        assert all(union_share(one, other) <= overlap + 1e-9 for other in kept[:i])
    for row in rows:  # what fell is covered by a better one that was kept
        better = [k for k in kept if k[6] >= row[6]]
        shared = [np.prod(np.clip(np.minimum(k[3:6], row[3:6]) - np.maximum(k[:3], row[:3]), 0, None)) for k in better]
        assert any((row == k).all() for k in kept) or max(shared) > 0
