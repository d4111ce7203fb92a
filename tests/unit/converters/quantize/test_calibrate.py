"""One pass over the calibration inputs, with the activations of one input at a time."""

import weakref

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from support.convolutions import calibrated, images, residual, run, silent, sqnr_db
from support.models import double, network

from converters.quantize import calibrate, histogram, int8
from converters.quantize.calibrate import Observed, Range, observe
from edge_runtime.errors import ConfigurationError, EngineRejected

METHODS = ("minmax", "percentile", "entropy")


def test_every_tensor_has_the_range_that_it_had():
    inputs = [np.array([[-1, 0, 1, 2]], dtype=np.float32), np.array([[0, 0, 3, 0.5]], dtype=np.float32)]
    observed = observe(double(), inputs, silent(), 2)
    assert observed.inputs_seen == 2
    assert observed.tensors == ("x", "y")
    assert observed.ranges("minmax", 0) == {"x": Range(-1, 3), "y": Range(-2, 6)}


def test_zero_is_in_every_range():
    observed = observe(double(), [np.full((1, 4), 5, dtype=np.float32)], silent(), 1)
    for method in METHODS:
        assert observed.ranges(method, 99.0)["x"] == Range(0, 5)


def test_an_unknown_method_is_refused():
    observed = observe(double(), [np.ones((1, 4), dtype=np.float32)], silent(), 1)
    with pytest.raises(ConfigurationError, match="'median' is none of minmax, percentile, entropy"):
        observed.ranges("median", 99)


def test_no_method_gives_more_than_was_seen():
    _, observed = calibrated(residual(), images(4))
    seen = observed.ranges("minmax", 0)
    for method in METHODS:
        for name, found in observed.ranges(method, 99.9).items():
            assert seen[name].low <= found.low <= 0 <= found.high <= seen[name].high


def test_statistics_survive_json_and_name_what_they_are_of():
    prepared, observed = calibrated(residual(), images(3))
    again = Observed.from_json(observed.to_json())
    assert (again.network_sha256, again.inputs_sha256) == (observed.network_sha256, observed.inputs_sha256)
    assert again.inputs_seen == 3
    for method in METHODS:
        assert again.ranges(method, 99.9) == observed.ranges(method, 99.9)
    other = observe(prepared, images(3, seed=9), silent(), 3)
    assert other.network_sha256 == observed.network_sha256
    assert other.inputs_sha256 != observed.inputs_sha256


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tensors": {"x": {"low": 0, "high": 1, "counts": "AAAA"}}}'])
def test_other_json_is_refused(text):
    with pytest.raises(ConfigurationError, match="no calibration statistics"):
        Observed.from_json(text)


def test_no_input_is_refused():
    with pytest.raises(ConfigurationError, match="calibration set is empty"):
        observe(double(), [], silent(), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_names_its_tensor(value):
    good, bad = np.ones((1, 4), dtype=np.float32), np.array([[1, value, 1, 1]], dtype=np.float32)
    with pytest.raises(EngineRejected, match=r"tensor x .* on calibration input 2"):
        observe(double(), [good, bad], silent(), 2)


def test_an_overflow_within_the_network_names_the_tensor_that_it_makes():
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Mul", ["e", "e"], ["y"])]
    data = network(nodes, {"x": (1, 1)}, {"y": (1, 1)}, {})
    with pytest.raises(EngineRejected, match="tensor y of the network holds inf"):
        observe(data, [np.full((1, 1), 80, dtype=np.float32)], silent(), 1)


def test_a_network_run_in_parts_gives_the_same_statistics(monkeypatch):
    """Where activations are too large to be kept all at once."""
    prepared, observed = calibrated(residual(), images(2))
    monkeypatch.setattr(calibrate, "ACTIVATION_BYTES", 10_000)
    assert len(calibrate._parts(prepared)[1]) > 2
    parts = observe(prepared, images(2), silent(), 2)
    assert parts.tensors == observed.tensors
    assert parts.ranges("minmax", 0) == observed.ranges("minmax", 0)


def test_the_activations_of_one_input_are_gone_before_the_next_runs(monkeypatch):
    """At most one batch of activations is in memory; inputs are taken one by one."""
    held, asked, runs = [], [], []
    run_session, count = onnxruntime.InferenceSession.run_with_ort_values, histogram.count

    def watched(*arguments, **keywords):
        assert not [value for value in held if value() is not None], "activations of an earlier input are alive"
        runs.append(len(asked))
        values = run_session(*arguments, **keywords)
        held[:] = [weakref.ref(value) for value in values]
        return values

    def counted(values):
        if values.shape != (1, 3, 16, 16):  # the input itself
            held.append(weakref.ref(values))
        return count(values)

    def inputs():
        for image in images(3):
            asked.append(image)
            yield image

    prepared = int8.prepare(residual())
    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_ort_values", watched)
    monkeypatch.setattr(histogram, "count", counted)
    observe(prepared, inputs(), silent(), 3)
    assert runs == [1, 2, 3]
    assert len(held) > 5


def test_one_hot_pixel_spoils_min_max_and_not_the_percentile():
    """One pixel of a hundred images is a thousand times too bright; on other images the network must still be good."""
    inputs = images(100)
    inputs[42][0, 1, 8, 8] = 1000.0
    prepared, observed = calibrated(residual(), inputs)
    clean = images(20, seed=5)
    expected = np.concatenate([run(prepared, image) for image in clean])
    found = {}
    for method in METHODS:
        quantized = int8.quantize(prepared, "cpu", observed.ranges(method, 99.9), frozenset(), False)
        found[method] = sqnr_db(expected, np.concatenate([run(quantized, image) for image in clean]))
    assert found["minmax"] < 10
    assert found["percentile"] > 25
    assert found["entropy"] > 25
