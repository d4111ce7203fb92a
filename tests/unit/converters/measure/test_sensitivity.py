"""Which layers pay for the lower precision."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lowered import LAYERS, convolutional, images, quantized

from converters.measure.sensitivity import ranked, sensitivities
from converters.progress import Progress

QUIET = Progress(lambda text: None)
NOISE = st.floats(0, 1, width=16)


def measured(scales, kept_scales=None, **options):
    def make(kept):
        return quantized(convolutional(), scales, kept)

    return sensitivities(make, LAYERS, convolutional(), images(2), QUIET, **options)


@pytest.mark.parametrize("coarse", LAYERS)
def test_the_layer_that_ruins_the_output_comes_first(coarse):
    """Each layer is measured alone, and the one with the coarsest steps is told first."""
    found = measured(dict.fromkeys(LAYERS, 0.05) | {coarse: 2.0})
    assert found[0].layer == coarse
    assert Counter(s.layer for s in found) == Counter(LAYERS)
    assert all(s.measured_with == 1 for s in found)
    ratios = [s.noise_ratio for s in found]
    assert ratios == sorted(ratios, reverse=True)
    assert found[0].sqnr_db == pytest.approx(-20 * math.log10(found[0].relative_error))


def test_layers_that_change_nothing_stay_in_order():
    """Ties go by the order of the layers, so that a build is the same every time."""
    found = sensitivities(lambda kept: convolutional(), LAYERS, convolutional(), images(1), QUIET)
    assert [s.layer for s in found] == list(LAYERS)
    assert {s.sqnr_db for s in found} == {math.inf}


def test_a_layer_that_gives_no_number_is_the_most_sensitive():
    """NaN in the output is worse than any error."""
    import onnx

    def make(kept):
        model = onnx.load_from_string(quantized(convolutional(), dict.fromkeys(LAYERS, 0.3), kept))
        if "conv3" not in kept:
            scale = next(i for i in model.graph.initializer if i.name == "c3_scale")
            scale.CopyFrom(onnx.numpy_helper.from_array(np.float32(np.nan), "c3_scale"))
        return model.SerializeToString()

    first = sensitivities(make, LAYERS, convolutional(), images(1), QUIET)[0]
    assert (first.layer, first.sqnr_db) == ("conv3", -math.inf)


def test_parts_of_an_output_count_alike():
    """Small numbers beside large ones are not drowned: the error is the mean of the parts' own."""
    whole = measured(dict.fromkeys(LAYERS, 0.3))
    halves = measured(dict.fromkeys(LAYERS, 0.3), parts=lambda output: (output, 1000 + output * 0))
    assert [s.noise_ratio / 2 for s in whole] == pytest.approx([s.noise_ratio for s in halves])


def test_what_is_measured_is_said_with_an_estimate():
    """A long measurement says how far it is."""
    said, clock = [], iter(range(0, 1000, 3))
    ranked(list(LAYERS), lambda group: 0.0, Progress(said.append, lambda: next(clock)), 96)
    assert any("measuring layers one by one: 2 of 4, about" in line for line in said)


@given(st.lists(NOISE, max_size=60), st.integers(1, 70))
def test_no_more_is_measured_than_allowed_and_no_layer_is_lost(noise, allowed):
    """Every layer is in exactly one group, and groups are measured at most as often as allowed."""
    layers, calls = [f"l{i}" for i in range(len(noise))], []

    def measure(group):
        calls.append(tuple(group))
        return sum(noise[int(name[1:])] for name in group)

    groups = ranked(layers, measure, QUIET, allowed)
    assert len(calls) <= allowed
    assert sorted(name for _, group in groups for name in group) == sorted(layers)
    assert all(ratio == measure(group) for ratio, group in groups)
    if len(layers) <= allowed:
        assert all(len(group) == 1 for _, group in groups)


@given(st.integers(97, 400), st.data())
def test_one_bad_layer_among_hundreds_is_found(count, data):
    """Where one layer makes the noise, halving its group finds it within the measurements allowed."""
    bad = data.draw(st.integers(0, count - 1))
    layers = [f"l{i}" for i in range(count)]
    groups = ranked(layers, lambda group: 1.0 if f"l{bad}" in group else 1e-6 * len(group), QUIET, 96)
    assert max(groups)[1] == [f"l{bad}"]


def test_groups_share_their_figure_and_say_so(monkeypatch):
    """Where not every layer was tried alone, the result says with how many it was measured."""
    found = measured(dict.fromkeys(LAYERS, 0.3), measurements=3)
    assert sum(1 / s.measured_with for s in found) <= 3
    assert max(s.measured_with for s in found) > 1
    assert sorted(s.layer for s in found) == sorted(LAYERS)


def test_a_measurement_needs_an_input():
    """Without an input there is nothing to measure on."""
    with pytest.raises(ValueError, match="at least one input"):
        sensitivities(lambda kept: convolutional(), LAYERS, convolutional(), [], QUIET)
