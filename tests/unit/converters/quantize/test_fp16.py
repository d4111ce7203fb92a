"""FP16 where it is good enough, FP32 where it is not."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.convolutions import Layers, calibrated, images, residual, run, silent, sqnr_db
from support.models import network

from converters.quantize import int8
from converters.quantize.calibrate import observe
from converters.quantize.fp16 import to_fp16
from converters.quantize.half import rounded
from edge_runtime.errors import EngineRejected

NONE: frozenset[str] = frozenset()


def types(data):
    """Type of every tensor."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(data)).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return values | {i.name: i.data_type for i in graph.initializer}


def computed_in_half(data):
    """Names of the nodes that give FP16, casts left out."""
    found, graph = types(data), onnx.load_from_string(data).graph
    return [n.name for n in graph.node if n.op_type != "Cast" and found[n.output[0]] == TensorProto.FLOAT16]


def single(kind, constants=(), shape=(1, 2, 4, 4), **attributes):
    """A Conv, the operator, and a Conv."""
    layers = Layers()
    first = layers.conv("image", "first", (2, 2))
    names = [f"constant{i}" for i in range(len(constants))]
    layers.constants |= dict(zip(names, constants, strict=True))
    middle = layers.node(kind, [first, *names], "middle", **attributes)
    layers.conv(middle, "last", (2, 2))
    return network(layers.nodes, {"image": shape}, {"last": shape}, layers.constants)


def test_all_of_a_plain_network_is_fp16_but_its_input_and_output():
    prepared = int8.prepare(residual())
    half, kept = to_fp16(prepared, NONE, None)
    found = types(half)
    assert kept == ()
    assert found["image"] == found["logits"] == TensorProto.FLOAT
    assert len(computed_in_half(half)) == len(onnx.load_from_string(prepared).graph.node)
    assert not any(found[name] == TensorProto.FLOAT for name in found if "weight" in name)


def test_the_answer_stays_close_and_the_file_is_half_as_large():
    layers = Layers()
    layers.conv(layers.node("Relu", [layers.conv("image", "a", (3, 64))], "relu"), "y", (64, 32))
    data = network(layers.nodes, {"image": (1, 3, 8, 8)}, {"y": (1, 32, 8, 8)}, layers.constants)
    half, _ = to_fp16(data, NONE, None)
    assert len(half) < 0.6 * len(data)
    for image in images(5, (1, 3, 8, 8)):
        expected = run(data, image)
        assert sqnr_db(expected, run(half, image)) > 50
        assert sqnr_db(expected, run(rounded(half), image)) > 50


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("Softmax", {"axis": 1}),
        ("Exp", {}),
        ("ReduceMean", {"axes": [1], "keepdims": 1}),
        ("Sqrt", {}),
    ],
)
def test_sensitive_operators_stay_in_fp32_and_are_named(kind, attributes):
    data = single(kind, **attributes) if kind != "ReduceMean" else single("LpNormalization", axis=1)
    half, kept = to_fp16(data, NONE, None)
    assert kept == ("middle",)
    assert types(half)["middle"] == TensorProto.FLOAT
    run(half, images(1, (1, 2, 4, 4))[0])


def test_instance_normalization_stays_in_fp32():
    half, kept = to_fp16(single("InstanceNormalization", (np.ones(2, np.float32), np.zeros(2, np.float32))), NONE, None)
    assert kept == ("middle",)
    assert computed_in_half(half) == ["first", "last"]


def test_the_scales_of_a_resize_stay_float32():
    scales = (np.array([], np.float32), np.array([1, 1, 1, 1], np.float32))
    half, _ = to_fp16(single("Resize", scales, mode="nearest"), NONE, None)
    onnx.checker.check_model(onnx.load_from_string(half), full_check=True)
    assert "middle" in computed_in_half(half)


def test_arithmetic_between_sensitive_operators_stays_in_fp32():
    """A sum of squares beyond FP16, divided at once by their number: no cast may lie between."""
    layers = Layers()
    layers.constants |= {"share": np.float32(1 / 4096), "small": np.float32(1e-9)}
    total = layers.node("ReduceSumSquare", ["image"], "squares", axes=[2, 3], keepdims=1)
    mean = layers.node("Add", [layers.node("Mul", [total, "share"], "mean"), "small"], "variance")
    deviation = layers.node("Sqrt", [mean], "deviation")
    layers.conv(layers.node("Mul", ["image", layers.node("Reciprocal", [deviation], "factor")], "scaled"), "y", (1, 1))
    shape = (1, 1, 64, 64)
    data = network(layers.nodes, {"image": shape}, {"y": shape}, layers.constants)
    half, kept = to_fp16(data, NONE, None)
    assert kept == ("squares", "mean", "variance", "deviation", "factor")
    image = 100 * images(1, shape)[0]
    assert np.square(image).sum() > 65504
    assert sqnr_db(run(data, image), run(rounded(half), image)) > 50


def test_what_was_named_stays_in_fp32():
    half, kept = to_fp16(int8.prepare(residual()), frozenset({"outer"}), None)
    assert kept == ("outer",)
    assert "outer" not in computed_in_half(half)
    assert types(half)["outer.weight"] == TensorProto.FLOAT


def overflowing():
    """A layer, two whose products are beyond FP16, and one that brings them back."""
    layers = Layers()
    big = layers.conv(layers.conv("image", "small", (3, 3)), "big", (3, 4))
    bigger = layers.conv(layers.node("Relu", [big], "relu"), "bigger", (4, 4))
    layers.conv(bigger, "y", (4, 2))
    layers.constants["big.weight"] *= 3e5
    layers.constants["y.weight"] *= 1e-5
    return network(layers.nodes, {"image": (1, 3, 8, 8)}, {"y": (1, 2, 8, 8)}, layers.constants)


def test_what_was_seen_to_overflow_stays_in_fp32():
    """Neighbours in FP32 pass their tensors on as they are: a cast to FP16 and back would be infinite."""
    prepared = int8.prepare(overflowing())
    observed = observe(prepared, images(4, (1, 3, 8, 8)), silent(), 4)
    image = images(1, (1, 3, 8, 8), seed=7)[0]
    expected = run(prepared, image)
    half, kept = to_fp16(prepared, NONE, observed)
    assert set(kept) == {"big", "relu", "bigger", "y"}
    assert sqnr_db(expected, run(rounded(half), image)) > 40

    tame = {name: dataclasses.replace(s, low=-1, high=1) for name, s in observed.statistics.items()}
    blind, _ = to_fp16(prepared, frozenset({"big", "y"}), dataclasses.replace(observed, statistics=tame))
    assert not np.isfinite(run(rounded(blind), image)).all()


def test_an_overflow_at_the_output_is_not_cast():
    data = network(
        [helper.make_node("Mul", ["x", "k"], ["y"], "mul")], {"x": (1, 2)}, {"y": (1, 2)}, {"k": np.float32(1e4)}
    )
    x = np.array([[100, 200]], np.float32)
    half, kept = to_fp16(data, NONE, observe(data, [x], silent(), 1))
    assert kept == ("mul",)
    np.testing.assert_array_equal(run(half, x), [[1e6, 2e6]])


@pytest.mark.parametrize(("value", "lost"), [(1e6, True), (1e-9, True), (1.0, False), (1e-3, False)])
def test_weights_that_fp16_cannot_hold_stay_in_fp32(value, lost):
    data = single("Mul", (np.float32(value),))
    _, kept = to_fp16(data, NONE, None)
    assert kept == (("middle",) if lost else ())


def test_a_few_tiny_weights_among_others_do_no_harm():
    values = np.ones((1, 2, 4, 4), np.float32)
    values[0, 0, 0] = 1e-9
    assert to_fp16(single("Mul", (values,)), NONE, None)[1] == ()


def test_what_follows_the_last_layer_with_weights_is_fp32():
    """Coordinates of boxes: FP16 knows only every second half pixel beyond 1024."""
    layers = Layers()
    layers.constants["stride"] = np.float32(32)
    layers.node("Mul", [layers.conv("image", "conv", (3, 4)), "stride"], "boxes")
    data = network(layers.nodes, {"image": (1, 3, 8, 8)}, {"boxes": (1, 4, 8, 8)}, layers.constants)
    assert to_fp16(data, NONE, None)[1] == ("boxes",)


def test_a_tensor_is_cast_once_for_all_its_readers():
    prepared, observed = calibrated(residual(), images(2))
    half, _ = to_fp16(prepared, frozenset({"stem.relu"}), observed)
    casts = [n.input[0] for n in onnx.load_from_string(half).graph.node if n.op_type == "Cast"]
    assert sorted(casts) == sorted(set(casts))


def test_a_network_with_branches_is_refused():
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["out"])], "b", [], [helper.make_tensor_value_info("out", 1, (1, 2))]
    )
    node = helper.make_node("If", ["yes"], ["y"], "if", then_branch=branch, else_branch=branch)
    values = [helper.make_tensor_value_info(name, 1, (1, 2)) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", values[:1], values[1:], [numpy_helper.from_array(np.array(True), "yes")])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises(EngineRejected, match=r"node if \(If\) has a network within"):
        to_fp16(data, NONE, None)
