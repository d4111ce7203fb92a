"""The plain method that the networks are compared with is no straw man: it finds what is easy."""

from __future__ import annotations

import numpy as np

from converters.measure.metrics import dice
from converters.reference import baseline
from converters.reference.phantom import make_phantom


def test_a_large_homogeneous_haemorrhage_is_found_and_outlined():
    image = make_phantom(2, "negative", matrix=128, slices=30).image
    inside = baseline.inside_skull(image)
    brain = inside & (image.voxels > 15) & (image.voxels < 50)
    z, y, x = (int(np.median(indices)) for indices in np.nonzero(brain))
    truth = np.zeros(image.voxels.shape, dtype=bool)
    truth[z - 2 : z + 3, y - 8 : y + 9, x + 10 : x + 24] = True
    values = baseline.smoothed(image).copy()
    values[truth] = 75
    parts = baseline.bright_parts(values, inside, 60.0, image)
    assert dice(parts.largest(), truth) > 0.9
    assert parts.volumes_ml[0] == max(parts.volumes_ml)
    start, stop = np.array(parts.boxes[0][:3]), np.array(parts.boxes[0][3:])
    assert (start <= [z - 1, y - 7, x + 11]).all() and (stop >= [z + 2, y + 8, x + 23]).all()


def test_inside_the_skull_is_neither_bone_nor_air():
    image = make_phantom(2, "negative", matrix=128, slices=30).image
    inside = baseline.inside_skull(image)
    assert 0.05 < inside.mean() < 0.4
    assert np.percentile(image.voxels[inside], 1) > -200
    assert np.percentile(image.voxels[inside], 98) < 250


def test_nothing_bright_gives_no_part():
    image = make_phantom(2, "negative", matrix=128, slices=30).image
    nothing = baseline.bright_parts(np.full_like(image.voxels, 30), baseline.inside_skull(image), 50.0, image)
    assert nothing.volumes_ml == () and nothing.boxes == () and not nothing.largest().any()
