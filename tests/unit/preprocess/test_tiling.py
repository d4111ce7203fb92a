"""Sliding windows see every voxel, and share what they must."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import InferenceFailed
from edge_runtime.preprocess.tiling import cut, offsets, tiles

EXTENTS = st.integers(1, 90)
WINDOWS = st.integers(1, 40)
OVERLAPS = st.floats(0.0, 0.9)


@given(EXTENTS, WINDOWS, OVERLAPS)
def test_windows_lie_within_the_extent_and_leave_no_voxel_out(extent, window, overlap):
    starts = offsets(extent, window, overlap)
    seen = {k for start in starts for k in range(start, start + window)}
    assert set(range(extent)) <= seen
    if extent > window:
        assert min(starts) == 0 and max(starts) + window == extent


@given(EXTENTS, WINDOWS, OVERLAPS)
def test_neighbours_share_at_least_the_overlap(extent, window, overlap):
    starts = offsets(extent, window, overlap)
    for one, two in itertools.pairwise(starts):
        assert one < two
        assert two - one <= max(1.0, window * (1 - overlap)) + 1  # positions are whole voxels


def test_a_small_image_is_centred_in_one_window():
    assert offsets(5, 8, 0.25) == [-1]
    (tile,) = tiles((5, 8), (8, 8), 0.25)
    window = cut(np.ones((5, 8)), tile, -7.0)
    assert window.dtype == np.float32
    assert window[:, 0].tolist() == [-7, 1, 1, 1, 1, 1, -7, -7]


@given(st.tuples(EXTENTS, EXTENTS), st.tuples(WINDOWS, WINDOWS), st.floats(0.0, 0.5))
def test_windows_put_back_where_they_were_give_the_image(grid, window, overlap):
    image = np.arange(grid[0] * grid[1], dtype=np.float32).reshape(grid)
    back = np.full(grid, -1, dtype=np.float32)
    try:
        made = tiles(grid, window, overlap)
    except InferenceFailed:
        return
    for tile in made:
        back[tile.of_grid] = cut(image, tile, -9.0)[tile.of_window]
    assert (back == image).all()


def test_an_image_of_too_many_windows_is_refused():
    with pytest.raises(InferenceFailed, match="1000 windows: too large"):
        tiles((1000, 8), (1, 8), 0.0)
