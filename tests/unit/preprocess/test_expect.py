"""An image that cannot be what the network knows is refused before it is asked."""

import numpy as np
import pytest
from support.models import card, segmenter, volume, write_card

from edge_runtime.domain import Frames
from edge_runtime.engines.card import read_card
from edge_runtime.errors import InferenceFailed
from edge_runtime.preprocess import compile_expectation

SHAPE = (1, 1, 4, 4, 4)
EXPECT = {"what": "brain", "range": [10.0, 90.0], "volume_ml": [50.0, 200.0]}


def expectation(tmp_path, **changes):
    return compile_expectation(
        read_card(write_card(tmp_path, card("segmentation", SHAPE, **changes), segmenter(SHAPE)))[0]
    )


def cube(extent, spacing=(2.0, 2.0, 2.0), value=40.0):
    """A cube of `extent` voxels in air."""
    voxels = np.full((60, 60, 60), -1000.0)
    voxels[10 : 10 + extent, 10 : 10 + extent, 10 : 10 + extent] = value
    return volume(voxels, spacing)


def test_an_image_with_what_is_expected_passes(tmp_path):
    expectation(tmp_path, expect=EXPECT)(cube(24))  # 48 mm wide: 111 ml


@pytest.mark.parametrize(
    "image", [cube(8), cube(48), cube(24, (6.0, 6.0, 6.0)), cube(24, value=200.0)],
    ids=["too small", "too large", "too large in mm", "nothing of the kind"],
)  # fmt: skip
def test_another_image_is_refused(tmp_path, image):
    with pytest.raises(InferenceFailed, match="does not look like brain"):
        expectation(tmp_path, expect=EXPECT)(image)


def test_only_what_is_enclosed_counts_where_the_card_says_so(tmp_path):
    image = cube(24)
    enclosed = expectation(tmp_path, expect={**EXPECT, "enclosed_by": 150.0})
    with pytest.raises(InferenceFailed, match="fills 0 ml"):
        enclosed(image)
    voxels = image.voxels.copy()
    for low, high in ((8, 10), (34, 36)):
        voxels[:, low:high, 8:36] = voxels[:, 8:36, low:high] = 700.0  # a wall around every axial plane
    enclosed(volume(voxels, (2.0, 2.0, 2.0)))


def test_two_parts_do_not_add_up(tmp_path):
    voxels = np.full((60, 60, 60), -1000.0)
    for start in (2, 32):
        voxels[start : start + 16, 10:26, 10:26] = 40.0  # 33 ml each
    with pytest.raises(InferenceFailed, match="does not look like brain"):
        expectation(tmp_path, expect=EXPECT)(volume(voxels, (2.0, 2.0, 2.0)))


def test_frames_cannot_be_told(tmp_path):
    frames = Frames(np.zeros((1, 8, 8), np.float32), "CT", cube(8).sources[:1])
    with pytest.raises(InferenceFailed, match="they make no volume"):
        expectation(tmp_path, expect=EXPECT)(frames)


def test_a_card_without_expectations_takes_everything(tmp_path):
    expectation(tmp_path)(cube(1))
