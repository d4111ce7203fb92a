"""Pictures as the slot takes them."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.capture.picture import Converter, image_number, size


@given(st.integers(1, 8000), st.integers(1, 8000), st.one_of(st.none(), st.integers(16, 4000)))
def test_a_picture_keeps_its_shape_and_is_never_made_larger(width, height, wanted):
    columns, rows = size(width, height, wanted)
    assert columns <= width and rows >= 1 and (wanted is None or columns <= max(wanted, 1))
    assert columns == width or rows == pytest.approx(height * columns / width, abs=1)


def test_lines_that_lie_further_apart_in_memory_are_put_together():
    picture = np.random.default_rng(0).integers(0, 255, (37, 51, 3), np.uint8)
    assert (Converter(None).rgb(av.VideoFrame.from_ndarray(picture, "rgb24")) == picture).all()


@pytest.mark.parametrize(("rows", "red"), [(1080, (63, 102, 240)), (480, (81, 90, 240))])
def test_untagged_colours_are_taken_as_the_size_suggests(rows, red):
    frame = av.VideoFrame(640, rows, "yuv420p")
    for plane, value in zip(frame.planes, red, strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    assert Converter(None).rgb(frame)[0, 0] == pytest.approx([255, 0, 0], abs=3)


def test_equal_pictures_have_equal_numbers_and_others_do_not():
    picture = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    other = picture.copy()
    other[32, 7, 1] ^= 1
    assert image_number(picture) == image_number(picture.copy()) != image_number(other)
    assert image_number(picture) != image_number(picture.reshape(48, 64, 3))
