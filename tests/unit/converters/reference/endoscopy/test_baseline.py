"""The plain methods that the networks are compared with are no straw men: they find what is easy."""

from __future__ import annotations

import numpy as np
import pytest

from converters.measure import metrics
from converters.measure.metrics import dice
from converters.reference.endoscopy import baseline

BOX = (60, 80, 110, 150)


def picture() -> np.ndarray:
    """A pale disc on a red wall, with noise; uint8."""
    rng = np.random.default_rng(1)
    pixels = np.full((240, 320, 3), (150, 80, 70)) + rng.normal(0, 3, (240, 320, 3))
    pixels[disc()] += (40, 60, 60)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def disc() -> np.ndarray:
    y, x = np.mgrid[:240, :320]
    return ((y - 84.5) / 25) ** 2 + ((x - 114.5) / 35) ** 2 < 1


def test_a_disc_of_another_colour_is_found_as_a_box():
    found = baseline.blobs(baseline.contrast(picture()), 2.0, (BOX,))
    assert metrics.matches(found, 0.5) == [0]
    assert found.truth == (baseline.corners(BOX),) == ((0.0, 60.0, 80.0, 1.0, 110.0, 150.0),)


def test_a_disc_is_outlined_from_the_middle_of_its_box():
    assert dice(baseline.grow(picture(), BOX, 0.14), disc()) > 0.95
    assert not baseline.grow(picture(), BOX, 1e-4)[:60].any()


def test_a_blurred_picture_is_less_sharp_and_a_blue_one_less_red():
    rng = np.random.default_rng(2)
    sharp = rng.integers(60, 200, (120, 160, 3), dtype=np.uint8)
    blurred = ((sharp[:-3].astype(int) + sharp[1:-2] + sharp[2:-1] + sharp[3:]) // 4).astype(np.uint8)
    assert baseline.sharpness(blurred) < 0.7 * baseline.sharpness(sharp)
    assert baseline.redness(sharp) == pytest.approx(1 / 3, abs=0.01)
    assert baseline.redness(sharp * np.array([0.5, 1, 1])) < 0.25
    assert baseline.sharpness(np.zeros((120, 160, 3), np.uint8)) == 0


def test_nothing_that_differs_gives_no_box():
    flat = np.full((120, 160, 3), 90, np.uint8)
    assert baseline.blobs(baseline.contrast(flat), 2.0, ()).boxes == ()
