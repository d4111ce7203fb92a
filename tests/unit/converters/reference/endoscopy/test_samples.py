"""Training inputs and sets carry the truth to where the networks see it."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from converters.reference.endoscopy import samples, sets
from converters.reference.endoscopy.frames import POLYP, make_frame
from converters.reference.endoscopy.samples import DETECTOR, INFORMATIVE, NAMES, SEGMENTER, card_of
from converters.samples.sample import check_sample
from edge_runtime.preprocess import compile_recipe


@pytest.fixture(scope="module")
def frame():
    """A frame with a polyp that is neither tiny nor at the edge."""
    made = (make_frame(seed, POLYP) for seed in itertools.count())
    return next(f for f in made if f.polyps and f.polyps[0].mask.mean() > 0.01 and f.polyps[0].box[0] > 0)


def test_what_is_cached_is_what_the_recipes_make(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "frames_of", lambda seed: [frame, frame])
    file = tmp_path / "1.npz"
    samples._write(1, file)
    with np.load(file) as arrays:
        assert arrays["boxes"].tolist() == [len(frame.polyps)] * 2
        assert (arrays["box"][0] * [360, 480, 360, 480]).tolist() == pytest.approx(list(frame.polyps[0].box))
        for name in (INFORMATIVE, DETECTOR):
            (place,) = compile_recipe(card_of(name))(samples.as_image(frame.pixels), None, 0.0)
            assert np.abs(arrays[name][0] / 255 - place.inputs[0].array[0]).max() < 1e-6
        assert len(arrays["crops"]) == len(arrays["outlines"]) == 2 * len(frame.polyps)


def test_the_outline_of_a_region_lies_on_its_polyp(frame):
    prepare = compile_recipe(card_of(SEGMENTER))
    pairs = list(samples.outline_samples(prepare, frame, np.random.default_rng(1)))
    assert len(pairs) == len(frame.polyps)
    image, mask = pairs[0]
    assert image.shape == (3, *mask.shape) and image.dtype == np.uint8 and mask.dtype == np.bool_
    assert 0.1 < mask.mean() < 0.8
    top, left, bottom, right = frame.polyps[0].box
    colours = frame.pixels[frame.polyps[0].mask].mean(axis=0), image[:, mask].mean(axis=1)
    assert colours[1] == pytest.approx(colours[0], abs=12)
    assert bottom > top and right > left


@pytest.fixture(scope="module")
def made():
    """Some samples of every set; each phantom is rendered once."""
    frames_of = sets.frames_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "frames_of", functools.cache(lambda seed: frames_of(seed)[2:]))
        names = ("calibration", "calibration_regions", "holdout", "holdout_regions", "holdout_informative")
        yield {name: list(getattr(sets, name)(6)) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_sets_fit_the_cards_and_are_of_other_phantoms(made, name):
    card = card_of(name)
    calibration, holdout = (made[source.generator.split(":")[1]] for source in (card.calibration, card.holdout))
    assert len(calibration) == len(holdout) == 6
    for sample in holdout:
        check_sample(card, sample, labelled=True)
    for sample in calibration:
        check_sample(card, sample, labelled=False)
    assert not {sample.sha256 for sample in calibration} & {sample.sha256 for sample in holdout}


@pytest.mark.slow
def test_holdouts_have_frames_with_and_without_what_they_ask_for(made):
    assert {bool(sample.truth.positive) for sample in made["holdout_informative"]} == {True, False}
    boxes = [len(sample.truth.boxes) for sample in made["holdout"]]
    assert min(boxes) == 0 and max(boxes) > 0
    assert all(sample.truth.masks["polyp"].any() for sample in made["holdout_regions"])
