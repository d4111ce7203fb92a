"""Lesions are separated and measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.models import volume

from edge_runtime.stages.lesions import largest_diameter_mm, lesions

SPACING = (5.0, 0.5, 0.5)


def geometry(shape, spacing=SPACING):
    return volume(np.zeros(shape), spacing).geometry


def brute_diameter(mask, spacing):
    faces = [(a, s) for a in range(3) for s in (-0.5, 0.5)]
    points = []
    for index in np.argwhere(mask):
        for axis, shift in faces:
            point = index.astype(float)
            point[axis] += shift
            points.append(point * spacing)
    points = np.array(points)
    return max(float(np.linalg.norm(points - p, axis=1).max()) for p in points)


@given(arrays(np.bool_, st.tuples(*[st.integers(1, 5)] * 3)), st.tuples(*[st.floats(0.3, 6.0)] * 3))
@settings(max_examples=60)
def test_the_largest_diameter_is_that_of_all_pairs_of_faces(mask, spacing):
    if mask.any():
        assert largest_diameter_mm(mask, spacing) == pytest.approx(brute_diameter(mask, spacing))


def test_the_diameter_of_a_ball_is_twice_its_radius():
    z, y, x = np.ogrid[-30:31, -30:31, -30:31]
    assert largest_diameter_mm(z**2 + y**2 + x**2 <= 25.0**2, (1.0, 1.0, 1.0)) == pytest.approx(51, abs=0.6)


def test_an_empty_mask_has_no_diameter():
    with pytest.raises(ValueError, match="no diameter"):
        largest_diameter_mm(np.zeros((2, 2, 2), bool), (1.0, 1.0, 1.0))


def test_parts_are_told_apart_largest_first_and_touching_corners_hang_together():
    mask = np.zeros((4, 20, 20), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[2:4, 10:14, 10:14] = True
    big, small = lesions(mask, geometry(mask.shape))
    assert (big.box.start, big.box.stop, big.volume.value) == ((2, 10, 10), (4, 14, 14), pytest.approx(32 * 1.25e-3))
    assert (small.box.start, small.box.stop, small.volume.value) == ((0, 0, 0), (2, 2, 2), pytest.approx(2 * 1.25e-3))
    assert (
        np.count_nonzero(small.on_grid(mask.shape)) == 2
        and (mask == (small.on_grid(mask.shape) | big.on_grid(mask.shape))).all()
    )


def test_parts_below_the_minimum_are_left_out():
    mask = np.zeros((4, 20, 20), bool)
    mask[0, 0, 0] = True
    mask[2:4, 10:14, 10:14] = True
    assert len(lesions(mask, geometry(mask.shape), minimum_ml=0.01)) == 1
    assert lesions(mask, geometry(mask.shape), minimum_ml=1.0) == []


@given(arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))))
@settings(max_examples=60)
def test_lesions_are_disjoint_and_together_the_mask(mask):
    found = lesions(mask, geometry(mask.shape))
    total = np.zeros(mask.shape, int)
    for one in found:
        total += one.on_grid(mask.shape)
        assert one.voxels.any() and one.diameter.value > 0
    assert (total == mask).all()
