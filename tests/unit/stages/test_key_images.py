"""Key images show where the masks are."""

import numpy as np
import pytest
from support.models import ANATOMY, BRAIN, SOURCE, volume

from edge_runtime.domain import Code, Frames, KeyImage, Mask
from edge_runtime.stages.key_images import key_images


def mask(*slices):
    voxels = np.zeros((20, 4, 4), bool)
    voxels[list(slices), 1, 1] = True
    return Mask(1, "brain", Code(**ANATOMY), Code(**BRAIN), "s", voxels)


RAMP = volume(np.arange(20 * 16).reshape(20, 4, 4))


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([], [10]),
        ([mask(3)], [3]),
        ([mask(3, 17)], [3, 17]),
        ([mask(*range(4, 12))], [5, 7, 9, 11]),
        ([mask(1), mask(19)], [1, 19]),
    ],
)
def test_up_to_four_slices_spread_through_the_masks_or_the_middle_one(masks, expected):
    assert [key.slice_index for key in key_images(RAMP, masks)] == expected


def test_grey_values_are_windowed_over_the_whole_image():
    first, last = key_images(RAMP, [mask(0, 19)])
    assert (first.pixels.dtype, first.pixels.shape, first.pixels[0, 0], last.pixels[3, 3]) == (np.uint8, (4, 4), 0, 255)


def test_a_window_of_the_source_maps_its_edges_to_black_and_white():
    (key,) = key_images(RAMP, [mask(0)], window=(5.0, 10.0))
    assert key.pixels.reshape(-1)[[0, 5, 10, 15]].tolist() == [0, 128, 255, 255]


def test_an_image_of_one_value_is_black():
    assert not key_images(volume(np.full((3, 4, 4), 7)), [])[0].pixels.any()


def test_colour_frames_stay_as_they_are():
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    (key,) = key_images(Frames(pixels, "ES", (SOURCE,) * 3), [])
    assert key.slice_index == 1 and np.array_equal(key.pixels, pixels[1])
    assert not np.shares_memory(key.pixels, pixels)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_a_key_image_is_grey_or_rgb_bytes(pixels):
    with pytest.raises(ValueError, match="3 colours"):
        KeyImage(0, pixels)
