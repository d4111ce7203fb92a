"""Training inputs carry the truth to where the network sees it, whichever way the slices run."""

from __future__ import annotations

import numpy as np
import pytest

from converters.reference.phantom import make_phantom
from converters.reference.samples import (
    CELL,
    CLASSIFIER,
    DETECTOR,
    SEGMENTER,
    card_of,
    clipped,
    in_cells,
    outline_samples,
    triage_samples,
)
from edge_runtime.domain import Volume
from edge_runtime.errors import InferenceFailed
from edge_runtime.preprocess import compile_expectation


@pytest.fixture(scope="module")
def phantoms():
    """One whose first slice is at the top of the head, and one whose is at its base."""
    made = [make_phantom(seed, "epidural", matrix=96) for seed in range(8)]
    return [next(p for p in made if p.scan.superior_first is way) for way in (True, False)]


def test_boxes_hold_the_blood_of_their_windows(phantoms):
    for phantom in phantoms:
        for _, boxes, cells in triage_samples(card_of(DETECTOR), phantom):
            assert len(boxes) == len(phantom.lesions) == 1
            hit = np.argwhere(cells > 0.2)
            assert len(hit) > 5
            low, high = hit * CELL, (hit + 1) * CELL
            assert (low.min(axis=0) >= boxes[0][:3] - CELL).all() and (high.max(axis=0) <= boxes[0][3:] + CELL).all()
            size = boxes[0][3:] - boxes[0][:3]
            assert (high.max(axis=0) - low.min(axis=0) >= 0.6 * size).all()


def test_the_head_stands_upright_in_every_window(phantoms):
    for phantom in phantoms:
        for image, _, _ in triage_samples(card_of(DETECTOR), phantom):
            filled = np.flatnonzero(image.max(axis=(1, 2)) > 0.9)
            lowest, highest = ((image[k] > 0.1).sum() for k in (filled[1], filled[-2]))
            assert lowest > highest  # the base of a head is wider than its vertex


def test_outlines_hold_the_blood_of_the_lesion(phantoms):
    for phantom in phantoms:
        spacing = np.prod([4.0, 1.25, 1.25]) / 1000
        crops = list(outline_samples(card_of(SEGMENTER), phantom, np.random.default_rng(1)))
        best = max(float(blood.sum()) * spacing for _, blood in crops)
        assert 0.3 * phantom.lesions[0].volume_ml < best < 1.3 * phantom.lesions[0].volume_ml
        image, blood = max(crops, key=lambda crop: crop[1].sum())
        assert 0.4 < np.median(image[blood]) < 0.8  # 40 to 100 HU


def test_a_box_that_a_window_hardly_sees_does_not_count():
    box = np.array([0.0, 0, 0, 10, 10, 10])
    assert clipped(box - [8, 0, 0, 8, 0, 0], (32, 96, 96)) is None
    seen = clipped(box - [4, 0, 0, 4, 0, 0], (32, 96, 96))
    assert seen is not None and seen.tolist() == [0, 0, 0, 6, 10, 10]


def test_cells_hold_the_mean_of_their_voxels():
    window = np.zeros((4, 8, 8))
    window[:2, :4, :4] = 1
    window[2, 4, 4] = 1
    cells = in_cells(window)
    assert cells.shape == (2, 2, 2)
    assert cells[0, 0, 0] == 1 and cells[1, 1, 1] == 1 / 32 and cells.sum() == 1 + 1 / 32


@pytest.mark.parametrize("name", [CLASSIFIER, DETECTOR, SEGMENTER])
def test_the_cards_expect_a_head_and_refuse_what_has_no_skull(phantoms, name):
    check = compile_expectation(card_of(name))
    for phantom in phantoms:
        check(phantom.image)
        bare = np.minimum(phantom.image.voxels, np.float32(60))
        with pytest.raises(InferenceFailed, match="does not look like a CT of a head"):
            check(Volume(bare, phantom.image.geometry, "CT", phantom.image.sources))
