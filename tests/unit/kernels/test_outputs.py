"""Kernels that read a network's output whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.host_kernels import launch

BLOCK = (32, 1, 1)


@given(st.integers(1, 255), st.integers(1, 40), st.sampled_from(["float32", "float16"]), st.integers(0, 99))
def test_argmax_is_that_of_numpy_the_first_of_equals(channels, voxels, dtype, seed):
    output = np.random.default_rng(seed).integers(-4, 5, (channels, voxels)).astype(dtype)
    found = np.full(voxels + 1, 255, np.uint8)
    half = np.uint32(dtype == "float16")
    launch(
        "output_argmax", (-(-voxels // 32), 1, 1), BLOCK, output, half, np.uint32(channels), np.uint32(voxels), found
    )
    assert np.array_equal(found[:-1], output.argmax(axis=0)) and found[-1] == 255


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_copy_is_float32_and_goes_no_further_than_the_output(dtype):
    output = np.array([1, -0.0, np.inf, -np.inf, 6e-8, 65504, 0.1], dtype)
    copy = np.full(9, 7, np.float32)
    launch("output_copy", (1, 1, 1), BLOCK, output, np.uint32(dtype == "float16"), np.uint32(7), copy)
    assert copy[:7].tobytes() == output.astype(np.float32).tobytes() and copy[7:].tolist() == [7, 7]


def test_clearing_leaves_what_is_behind():
    words = np.full(5, 9, np.uint32)
    launch("output_clear", (1, 1, 1), BLOCK, words, np.uint32(3))
    assert words.tolist() == [0, 0, 0, 9, 9]
