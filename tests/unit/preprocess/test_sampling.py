"""Resizing keeps the edges of the extent where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_runtime.engines.sampling import nearest_exact_indices, resample_linear, resize_linear, resize_nearest

SIZES = st.integers(1, 300)


@given(SIZES, SIZES)
def test_the_nearest_index_is_that_of_the_voxel_that_holds_the_new_centre(size, new_size):
    found = nearest_exact_indices(size, new_size)
    exact = [(2 * i + 1) * size / (2 * new_size) for i in range(new_size)]
    assert all(k <= position + 1e-3 and position - 1e-3 <= k + 1 for k, position in zip(found, exact, strict=True))
    assert found.min() >= 0 and found.max() < size and (np.diff(found) >= 0).all()


@given(st.integers(1, 40), st.integers(1, 8))
def test_a_whole_factor_up_and_down_again_gives_the_same(size, factor):
    values = np.arange(size)
    assert (resize_nearest(resize_nearest(values, (size * factor,)), (size,)) == values).all()


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3), st.permutations(range(3)))
def test_the_order_of_the_axes_in_memory_does_not_matter(shape, new, axes):
    source = np.random.default_rng(0).random(shape, dtype=np.float32)
    view = np.ascontiguousarray(source.transpose(axes)).transpose(np.argsort(axes))
    found = resize_nearest(view, new)
    expected = source[np.ix_(*(nearest_exact_indices(a, b) for a, b in zip(shape, new, strict=True)))]
    assert found.flags.c_contiguous and (found == expected).all()


def test_a_resize_never_gives_the_source_itself():
    source = np.zeros((3, 3), np.float32)
    assert not np.shares_memory(resize_nearest(source, (3, 3)), source)


@pytest.mark.parametrize("new", [4, 8, 16])
def test_linear_resize_of_a_slope_is_a_slope_with_the_edges_aligned(new):
    slope = np.arange(8, dtype=np.float32)
    centres = (np.arange(new) + 0.5) * 8 / new - 0.5
    assert resize_linear(slope, (new,)) == pytest.approx(np.clip(centres, 0, 7), abs=1e-5)


def test_linear_resize_leaves_colours_apart():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[..., 1] = 200
    assert resize_linear(picture, (2, 2))[0, 0].tolist() == [0, 200, 0]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=60)
def test_resampling_is_the_antialiased_linear_resize_of_pillow(rows, columns, new_rows, new_columns):
    image = np.random.default_rng(rows).uniform(-1000, 2000, (rows, columns)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize((new_columns, new_rows), Image.Resampling.BILINEAR))
    assert resample_linear(image, (new_rows, new_columns)) == pytest.approx(expected, abs=0.02)


def test_resampling_to_the_same_shape_is_a_copy():
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = resample_linear(image, (2, 3))
    assert (found == image).all() and not np.shares_memory(found, image)
