"""Key images with outlines."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_runtime.report.drawing import Outlined, colour, magnification, outline, picture

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS)
def test_an_outline_is_inside_its_mask_and_holds_every_pixel_that_touches_the_outside(mask):
    edge = outline(mask, 1)
    assert not (edge & ~mask).any()
    padded = np.pad(mask, 1)
    touches = ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
    assert np.array_equal(edge, mask & touches)


@given(MASKS, st.integers(1, 3))
def test_a_wider_outline_holds_the_narrower_one(mask, width):
    assert not (outline(mask, width) & ~outline(mask, width + 1)).any()


def test_the_picture_shows_the_image_unchanged_outside_the_outline():
    pixels = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30).astype(np.uint8)
    mask = np.zeros((20, 30), dtype=np.bool_)
    mask[5:15, 6:20] = True
    factor = magnification(20, 30)
    bare = picture(pixels, [], "banner", [], ["line"])
    drawn = picture(pixels, [Outlined(1, "x", mask=mask)], "banner", [], ["line"])
    rows, columns = 20 * factor, 30 * factor
    top = next(
        r for r in range(bare.shape[0]) if np.array_equal(bare[r : r + rows, :columns, 0][::factor, ::factor], pixels)
    )
    large = np.repeat(np.repeat(mask, factor, axis=0), factor, axis=1)
    window = drawn[top : top + rows, :columns]
    changed = (window != bare[top : top + rows, :columns]).any(axis=-1)
    assert changed.any()
    assert not (changed & ~large).any()
    assert (window[changed] == colour(1)).all()


def test_a_rectangle_is_outlined_at_its_own_pixels():
    pixels = np.zeros((40, 600), dtype=np.uint8)
    drawn = picture(pixels, [Outlined(2, "box", rectangle=(10, 100, 30, 200))], "b", [], [])
    bare = picture(pixels, [Outlined(2, "box")], "b", [], [])
    rows, columns = np.nonzero((drawn != bare).any(axis=-1))
    assert (columns.min(), columns.max() + 1, rows.max() + 1 - rows.min()) == (100, 200, 20)
    assert (drawn[rows, columns] == colour(2)).all()


@given(st.text("abc \u00e4\\", max_size=400))
def test_any_text_fits_the_width_of_the_picture(text):
    image = picture(np.zeros((64, 64), dtype=np.uint8), [], "banner", [], [text])
    assert image.shape[1] == 512
    assert not image[:, -2:].any()


def test_every_segment_has_a_colour():
    assert len({colour(n) for n in range(1, 9)}) == 8
    assert colour(9) == colour(1)


def test_a_picture_in_colour_is_that_of_its_three_planes_in_grey():
    """Outlines and text are the same; a pixel of the image has its own three values."""
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    mask = np.zeros((20, 30), dtype=np.bool_)
    mask[5:15, 6:20] = True
    drawn = [Outlined(1, "x", mask=mask), Outlined(2, "y", rectangle=(2, 3, 10, 12))]
    coloured = picture(pixels, drawn, "banner", [], ["line"])
    grey = [picture(pixels[..., plane], drawn, "banner", [], ["line"]) for plane in range(3)]
    assert np.array_equal(coloured, np.stack([one[..., plane] for plane, one in enumerate(grey)], axis=-1))
    same = np.stack([pixels[..., 0]] * 3, axis=-1)
    assert np.array_equal(picture(same, drawn, "banner", [], []), picture(pixels[..., 0], drawn, "banner", [], []))
