"""An array's place on the source survives every turn and cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.engines.views import Placement, Region

SHAPES = st.tuples(*[st.integers(1, 6)] * 3)
AXES = st.sampled_from(list(itertools.permutations(range(3))))
FLIPS = st.tuples(*[st.booleans()] * 3)


@st.composite
def placements(draw):
    shape, axes, flips = draw(SHAPES), draw(AXES), draw(FLIPS)
    oriented = [shape[axis] for axis in axes]
    start = tuple(draw(st.integers(0, n - 1)) for n in oriented)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, oriented, strict=True))
    return Placement(shape, axes, flips, start, stop)


@given(placements())
def test_a_mask_comes_back_to_the_voxels_that_it_was_cut_from(placement):
    source = np.arange(np.prod(placement.source_shape)).reshape(placement.source_shape)
    cut = placement.cut(placement.orient(source))
    assert cut.shape == placement.box_shape
    assert set(source[placement.restore(np.ones(cut.shape, bool))]) == set(cut.reshape(-1))


@given(placements())
def test_the_region_of_one_prepared_voxel_is_that_voxel_of_the_source(placement):
    source = np.arange(np.prod(placement.source_shape)).reshape(placement.source_shape)
    cut = placement.cut(placement.orient(source))
    last = tuple(n - 1 for n in cut.shape)
    region = placement.region(tuple(map(float, last)), tuple(n + 1.0 for n in last), cut.shape)
    assert source[region.box(source.shape).slices].item() == cut[last]


@given(placements())
def test_the_whole_prepared_array_is_the_region_of_the_cut_whatever_it_was_resized_to(placement):
    region = placement.region((0.0, 0.0, 0.0), (7.0, 8.0, 9.0), (7, 8, 9))
    mask = placement.restore(np.ones(placement.box_shape, bool))
    found = np.zeros_like(mask)
    box = region.box(mask.shape)
    found[tuple(slice(round(a), round(b)) for a, b in zip(region.start, region.stop, strict=True))] = True
    assert (found == mask).all() and box.shape == tuple(
        round(b - a) for a, b in zip(region.start, region.stop, strict=True)
    )


def test_a_plane_of_a_volume_has_a_region_of_its_slice():
    placement = Placement((4, 4), (0, 1), (False, True), (0, 0), (4, 4), frame=5)
    assert placement.region((0.0, 0.0), (1.0, 1.0), (4, 4)) == Region((5.0, 0.0, 3.0), (6.0, 1.0, 4.0))


def test_a_region_has_an_extent():
    with pytest.raises(ValueError, match="extent"):
        Region((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))
