"""The golden pair tells a network that is not what it was."""

import numpy as np
import pytest
from support.models import card, segmenter, write_card

from edge_runtime.domain import Frames, Volume
from edge_runtime.engines.card import read_card
from edge_runtime.engines.golden import (
    golden_difference,
    golden_image,
    make_golden,
    make_seed,
    read_golden,
    samples,
    write_golden,
)

IN, OUT = np.linspace(0, 1, 20_000, dtype=np.float32), np.linspace(2, 3, 30_000, dtype=np.float32)


@pytest.fixture
def golden():
    return read_golden(write_golden(make_golden(np.zeros((2, 2, 2), np.uint8), IN, OUT)))


def test_the_same_pair_has_no_difference(golden):
    assert golden_difference(golden, IN, OUT) == (0.0, pytest.approx(0, abs=1e-9))


def test_a_shifted_output_differs_by_the_shift(golden):
    assert golden_difference(golden, IN + np.float32(0.5), OUT - np.float32(0.25)) == (
        pytest.approx(0.5, abs=1e-6),
        pytest.approx(0.25, abs=1e-6),
    )


@pytest.mark.parametrize("wrong", [np.full_like(OUT, np.nan), OUT[:-9000], np.full_like(OUT, np.inf)])
def test_nan_infinity_and_another_size_differ_infinitely(golden, wrong):
    assert golden_difference(golden, IN, wrong)[1] == np.inf


def test_one_nan_between_the_samples_is_found(golden):
    spoilt = OUT.copy()
    spoilt[1] = np.nan
    assert 1 not in np.flatnonzero(np.isin(OUT, samples(OUT)))
    assert golden_difference(golden, IN, spoilt)[1] == np.inf


def test_samples_are_few_and_spread():
    taken = samples(np.arange(256**3, dtype=np.float32))
    assert 4000 < len(taken) <= 8192
    assert len(set(taken % 256)) > 200


@pytest.mark.parametrize(("shape", "kind"), [((1, 1, 8, 8, 8), Volume), ((1, 1, 8, 8), Frames)])
def test_the_seed_is_an_image_of_the_cards_kind_and_always_the_same(tmp_path, shape, kind):
    found, _ = read_card(write_card(tmp_path, card("segmentation", shape), segmenter(shape)))
    seed = make_seed(found)
    assert isinstance(golden_image(seed), kind)
    assert (seed == make_seed(found)).all() and seed.max() > 200 and seed.min() == 0


@pytest.mark.parametrize("data", [b"", b"PK", write_golden(make_golden(np.zeros((1, 1, 1), np.uint8), IN, OUT))[:-40]])
def test_what_is_no_golden_pair_is_refused(data):
    with pytest.raises(ValueError, match="golden"):
        read_golden(data)
