"""The error of each layer between two builds of a network."""

import math

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import helper
from support.lowered import convolutional, half, images, quantized
from support.models import double, network

from converters.measure import layers
from converters.measure.layers import Difference, compare_layers, decibels
from edge_runtime.errors import EngineRejected

TENSORS = ["c1", "r1", "c2", "r2", "c3", "r3", "pooled", "flat", "logit", "probability"]
NUMBERS = st.floats(-1e6, 1e6, width=32)


def scaled(factor: float, offset: float = 0.0) -> bytes:
    """y = factor x + offset, in two layers."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["m"], "mul"),
             helper.make_node("Add", ["m", "offset"], ["y"], "add")]  # fmt: skip
    constants = {"factor": np.float32(factor), "offset": np.float32(offset)}
    return network(nodes, {"x": (1, 4)}, {"y": (1, 4)}, constants)


def test_a_network_differs_in_no_layer_from_itself():
    """Every layer is told, in the order of the graph, and none has an error."""
    found = compare_layers(convolutional(), convolutional(), images(2))
    assert [e.name for e in found] == TENSORS
    assert [e.operator for e in found[:2]] == ["Conv", "Relu"]
    assert [e.node for e in found[:2]] == ["conv1", "relu1"]
    assert {(e.sqnr_db, e.relative_error, e.maximum_absolute_error) for e in found} == {(math.inf, 0.0, 0.0)}


def test_errors_are_those_of_the_arithmetic():
    """1 % more is 40 dB; the figures go over all inputs."""
    inputs = [np.array([[1, -2, 3, 4]], np.float32), np.array([[0, 0, 0, 5]], np.float32)]
    mul, add = compare_layers(scaled(2), scaled(2.02), inputs)
    assert mul.sqnr_db == pytest.approx(40, abs=1e-3)
    assert mul.relative_error == pytest.approx(0.01, rel=1e-4)
    assert mul.maximum_absolute_error == pytest.approx(0.1, rel=1e-4)
    assert mul.mean_absolute_error == pytest.approx(0.02 * 15 / 8, rel=1e-4)
    assert add.sqnr_db == mul.sqnr_db


def test_a_layer_is_compared_as_the_next_one_sees_it():
    """The error of a quantized tensor is that after DequantizeLinear, whatever it is called then."""
    step = 0.25
    errors = {
        e.name: e for e in compare_layers(convolutional(), quantized(convolutional(), {"conv1": step}), images(1))
    }
    assert list(errors) == TENSORS
    model = onnx.load_from_string(convolutional())
    exact = layers.Runner(model, ["c1"]).run(images(1)[0])[0]
    rounded = np.clip(np.round(exact / step), -128, 127) * step
    assert errors["c1"].maximum_absolute_error == pytest.approx(np.abs(exact - rounded).max(), rel=1e-5)
    assert errors["c1"].mean_absolute_error == pytest.approx(np.abs(exact - rounded).mean(), rel=1e-5)


def test_half_precision_is_compared_through_its_casts():
    """An FP16 network, its casts out of order, is compared in every layer, the output by its name."""
    found = compare_layers(convolutional(), half(convolutional()), images(2))
    assert [e.name for e in found] == TENSORS
    assert all(45 < e.sqnr_db < 90 for e in found)


def test_two_quantized_networks_are_compared_with_each_other():
    """Both sides go through their DequantizeLinear, and the tensor keeps its plain name."""
    one, two = (quantized(convolutional(), {"conv1": s, "fc": s}) for s in (0.01, 0.3))
    found = {e.name: e.sqnr_db for e in compare_layers(one, two, images(1))}
    assert list(found) == TENSORS
    assert found["c1"] < 30


@pytest.mark.parametrize("limit", [1, 700, 3000])
def test_chunks_bound_what_is_kept_and_change_nothing(monkeypatch, limit):
    """No run gives more bytes than the limit, but for a tensor that is larger alone; the errors are the same."""
    asked = []
    runner = layers.Runner

    def watched(model, tensors, what):
        asked.append(list(tensors))
        return runner(model, tensors, what)

    whole = compare_layers(convolutional(), half(convolutional()), images(2))
    monkeypatch.setattr(layers, "Runner", watched)
    found = compare_layers(convolutional(), half(convolutional()), images(2), limit)
    assert [e.name for e in found] == [e.name for e in whole]
    assert [e.sqnr_db for e in found] == pytest.approx([e.sqnr_db for e in whole], abs=0.01)
    sizes = dict.fromkeys(("c1", "r1", "c2", "r2", "c3", "r3"), 1024) | {"pooled": 16, "flat": 16}
    assert [t for tensors in asked[::2] for t in tensors] == TENSORS
    assert all(len(ts) == 1 or sum(sizes.get(t, 4) for t in ts) <= limit for ts in asked[::2])


def test_a_number_that_is_none_is_the_worst_error():
    """NaN where the reference has a number is no small error."""
    ruined = compare_layers(scaled(2), scaled(math.nan), [np.ones((1, 4), np.float32)])[0]
    assert ruined.sqnr_db == -math.inf
    assert ruined.maximum_absolute_error == math.inf


def test_a_tensor_of_another_shape_is_not_the_same():
    """A name that stands for something else in the other network is left out."""
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["m"], axis=1),
        helper.make_node("Slice", ["m", "a", "b", "c"], ["y"]),
    ]
    other = network(nodes, {"x": (1, 4)}, {"y": (1, 4)}, {"a": np.array([0]), "b": np.array([4]), "c": np.array([1])})
    assert [e.name for e in compare_layers(scaled(1), other, [np.ones((1, 4), np.float32)])] == ["y"]


@pytest.mark.parametrize("bad", [b"", b"not a network", b"\x00" * 100])
def test_what_is_no_network_is_refused(bad):
    """One message that says which of the two it is."""
    with pytest.raises(EngineRejected, match="the other network cannot be read as an ONNX network"):
        compare_layers(double(), bad, [np.ones((1, 4), np.float32)])


def test_nodes_in_a_circle_are_refused():
    """A network whose nodes read each other never ends; it is told at once."""
    model = onnx.load_from_string(scaled(1))
    model.graph.node[0].input[0] = "y"
    with pytest.raises(EngineRejected, match=r"go in a circle: .*mul"):
        compare_layers(model.SerializeToString(), double(), [])


def test_an_input_that_does_not_fit_is_an_error_with_a_name():
    """ONNX Runtime's own words, and which network."""
    with pytest.raises(EngineRejected, match="failed in a run of the reference network"):
        compare_layers(scaled(1), scaled(1), [np.ones((1, 5), np.float32)])


@given(arrays.arrays(np.float32, (3, 7), elements=NUMBERS), arrays.arrays(np.float32, (3, 7), elements=NUMBERS))
def test_pieces_add_up_to_the_whole(reference, other):
    """However arrays are cut, signal, noise and maximum are those of the textbook."""
    whole, pieces = Difference(), Difference()
    whole.add(reference, other)
    for a, b in zip(reference, other, strict=True):
        pieces.add(a, b)
    error = reference.astype(np.float64) - other
    for found in (whole, pieces):
        assert found.noise == pytest.approx(np.sum(error**2), rel=1e-9)
        assert found.signal == pytest.approx(np.sum(reference.astype(np.float64) ** 2), rel=1e-9)
        assert found.maximum == np.abs(error).max()
        assert found.mean_absolute == pytest.approx(np.abs(error).mean(), rel=1e-9)
        assert (found.noise_ratio == 0) == np.array_equal(reference, other)


@given(st.floats(1e-12, 1e12))
def test_ten_times_the_noise_is_ten_decibels_less(ratio):
    """SQNR is 10 log10 of signal by noise."""
    assert decibels(10 * ratio) == pytest.approx(decibels(ratio) - 10)
    assert (decibels(0), decibels(1), decibels(math.inf)) == (math.inf, 0, -math.inf)
