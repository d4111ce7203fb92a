"""A letterbox keeps proportions, and what is found in it finds back to the source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recipes import card_of, frames_of, picture

from edge_runtime.engines.recipe import Letterbox, Step
from edge_runtime.engines.sampling import resize_linear, resize_nearest
from edge_runtime.engines.views import Placement, Region
from edge_runtime.preprocess import compile_recipe, placing


def boxed(pixels, shape, region=None, **options):
    card = card_of((1, 1, *shape), Step(crop="region"), Step(letterbox=Letterbox(shape, **options)))
    (place,) = compile_recipe(card)(frames_of(pixels), region, 0.0)
    return place.placement, place.inputs[0].array[0, 0]


@pytest.mark.parametrize(("method", "resize"), [("linear", resize_linear), ("nearest-exact", resize_nearest)])
def test_a_wide_frame_lies_in_the_middle_between_two_bars(method, resize):
    pixels = picture(1, (30, 60), "uint8")
    placement, found = boxed(pixels, (20, 20), method=method)
    assert (placement.start, placement.stop) == ((-15, 0), (45, 60))
    assert (found[:5] == 114).all() and (found[15:] == 114).all()
    assert found[5:15] == pytest.approx(resize(pixels, (10, 20)), abs=1e-4)


def test_a_region_is_boxed_from_its_own_pixels_alone():
    pixels = picture(1, (30, 60), "uint8")
    placement, found = boxed(pixels, (20, 20), Region((0.0, 10.0, 20.0), (1.0, 20.0, 40.0)), fill=-1.0)
    assert (placement.start, placement.stop) == ((5, 20), (25, 40))
    assert (found[:5] == -1).all() and (found[5:15] == pixels[10:20, 20:40]).all() and (found[15:] == -1).all()


EXTENTS = st.tuples(st.integers(1, 50), st.integers(1, 50))


@given(EXTENTS, EXTENTS, st.sampled_from(["linear", "nearest-exact"]))
def test_the_mask_of_what_is_not_fill_is_the_whole_frame(shape, size, method):
    placement, found = boxed(np.zeros(shape, np.uint8), size, fill=1.0, method=method)
    seen = np.argwhere(found == 0)
    if len(seen) == 0:
        return  # a frame so narrow that no element's centre lies on it
    region = placement.region(tuple(map(float, seen.min(axis=0))), tuple(seen.max(axis=0) + 1.0), size)
    one = np.divide(placement.box_shape, size)  # pixels of an element
    assert np.abs(np.array(region.start[1:])).max() <= one.max() and region.start[0] == 0
    assert (np.abs(np.subtract(region.stop[1:], shape)) <= one).all()
    assert placement.restore(np.ones(placement.box_shape, bool)).all()


@given(EXTENTS, EXTENTS)
def test_the_box_has_the_proportions_of_the_input(shape, size):
    placement = placing.letterboxed(placing.whole(shape, 0), size)
    box = placement.box_shape
    assert all(b >= n for b, n in zip(box, shape, strict=True)) and any(b == n for b, n in zip(box, shape, strict=True))
    assert abs(box[0] / size[0] - box[1] / size[1]) <= 0.5 / min(size) + 1e-9


BESIDE = Placement((10, 20), (0, 1), (False, False), (-5, 0), (15, 20), 3)


def test_a_region_is_clipped_to_the_source():
    assert BESIDE.region((0.0, 0.0), (10.0, 10.0), (10, 10)) == Region((3.0, 0.0, 0.0), (4.0, 10.0, 20.0))


def test_a_box_on_the_bars_is_no_region():
    assert BESIDE.region((0.0, 0.0), (2.0, 10.0), (10, 10)) is None
    turned = Placement((10, 20), (0, 1), (True, False), (-5, 0), (15, 20), 3)
    assert turned.region((8.0, 0.0), (10.0, 10.0), (10, 10)) is None


def test_a_mask_beyond_the_source_is_left_out():
    mask = np.zeros((20, 20), bool)
    mask[:6, 4] = True
    assert np.argwhere(BESIDE.restore(mask)).tolist() == [[0, 4]]
    assert BESIDE.cut(np.ones((10, 20))).shape == (10, 20)
