"""Two INT8 files of one calibration: the one that ONNX Runtime's CPU kernels are fast with, the one for TensorRT."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from support.convolutions import Layers, calibrated, images, residual, run, sqnr_db
from support.models import network

from converters.quantize import int8
from converters.quantize.calibrate import Range
from edge_runtime.errors import EngineRejected

pytestmark = pytest.mark.slow

NONE: frozenset[str] = frozenset()
FLAVOURS = ("cpu", "tensorrt")


def quantized(data, flavour, keep=NONE, reduce_range=False, inputs=None):
    prepared, observed = calibrated(data, inputs or images(4))
    return onnx.load_from_string(int8.quantize(prepared, flavour, observed.ranges("minmax", 100), keep, reduce_range))


def initializers(model):
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def pairs(model):
    """Tensors that are quantized, constants not counted."""
    constants = initializers(model)
    return {n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in constants}


def executed(data, tmp_path):
    """How many operators of each kind ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)


# preparing


def with_batch_norm():
    layers = Layers()
    conv = layers.conv("image", "conv", (3, 4))
    layers.constants |= {"s": np.array([1, 2, 3, 4], np.float32), "b": np.ones(4, np.float32)}
    layers.constants |= {"m": np.full(4, 0.5, np.float32), "v": np.array([1, 2, 3, 4], np.float32)}
    norm = layers.node("BatchNormalization", [conv, "s", "b", "m", "v"], "norm")
    layers.constants["slope"] = np.full((4, 1, 1), 0.25, np.float32)
    layers.node("PRelu", [norm, "slope"], "y")
    return network(layers.nodes, {"image": (1, 3, 8, 8)}, {"y": (1, 4, 8, 8)}, layers.constants)


def test_preparing_folds_batch_norm_and_computes_the_same():
    prepared = int8.prepare(with_batch_norm())
    assert [node.op_type for node in onnx.load_from_string(prepared).graph.node] == ["Conv", "LeakyRelu"]
    for image in images(3, (1, 3, 8, 8)):
        np.testing.assert_allclose(run(prepared, image), run(with_batch_norm(), image), atol=1e-5)


def test_preparing_gives_the_same_bytes_every_time_and_of_its_own_result():
    prepared = int8.prepare(residual())
    assert int8.prepare(residual()) == prepared
    assert [n.name for n in onnx.load_from_string(int8.prepare(prepared)).graph.node] == [
        n.name for n in onnx.load_from_string(prepared).graph.node
    ]


def test_every_node_gets_a_name_of_its_own():
    layers = Layers()
    layers.conv(layers.conv("image", "first", (3, 3)), "y", (3, 3))
    for node in layers.nodes:
        node.name = "conv"
    prepared = onnx.load_from_string(
        int8.prepare(network(layers.nodes, {"image": (1, 3, 8, 8)}, {"y": (1, 3, 8, 8)}, layers.constants))
    )
    assert len({node.name for node in prepared.graph.node}) == 2


def test_every_tensor_of_a_prepared_network_has_a_shape():
    model = onnx.load_from_string(int8.prepare(residual()))
    known = {v.name for v in (*model.graph.value_info, *model.graph.output)}
    assert known == {name for node in model.graph.node for name in node.output}


def test_what_is_no_network_is_refused():
    with pytest.raises(EngineRejected, match="cannot be read as an ONNX network"):
        int8.prepare(b"nothing")


# quantizing for the CPU


def test_on_the_cpu_all_between_the_first_and_the_last_layer_runs_in_int8(tmp_path):
    """No float32 convolution, addition or pooling is left: the fused integer kernels are taken."""
    found = executed(quantized(residual(), "cpu").SerializeToString(), tmp_path)
    integer = {"QLinearConv": 3, "QLinearAdd": 1, "QLinearGlobalAveragePool": 1, "QGemm": 1, "QuantizeLinear": 1}
    assert {kind: count for kind, count in found.items() if kind in integer} == integer
    assert found.keys() - integer.keys() <= {"Flatten", "Reshape", "Transpose"}


def test_the_answer_itself_is_float_on_the_cpu():
    """256 steps would make ties of probabilities, and drown scores that share a tensor with coordinates."""
    model = quantized(residual(), "cpu")
    assert "logits" not in pairs(model)
    assert len(np.unique([run(model.SerializeToString(), image)[0, 0] for image in images(300)])) > 256


def test_what_follows_the_last_layer_with_weights_is_float():
    layers = Layers()
    conv = layers.conv(layers.node("Relu", [layers.conv("image", "first", (3, 4))], "relu"), "last", (4, 4))
    layers.node("Sigmoid", [layers.node("MaxPool", [conv], "pool", kernel_shape=[2, 2])], "y")
    data = network(layers.nodes, {"image": (1, 3, 8, 8)}, {"y": (1, 4, 7, 7)}, layers.constants)
    assert pairs(quantized(data, "cpu", inputs=images(4, (1, 3, 8, 8)))) == {"image", "relu"}


def test_the_distribution_of_a_box_is_decoded_in_float():
    """The Conv that takes the expectation over bins 0, 1, 2 ... is no layer: what leads to it is the answer."""
    layers = Layers()
    logits = layers.conv(layers.conv("image", "layer", (3, 16)), "last", (16, 16))
    layers.constants["bins"] = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)
    layers.node("Conv", [layers.node("Softmax", [logits], "shares", axis=1), "bins"], "y")
    prepared = int8.prepare(network(layers.nodes, {"image": (1, 3, 8, 8)}, {"y": (1, 1, 8, 8)}, layers.constants))
    assert int8.quantizable(prepared, "cpu") == ("layer",)
    assert int8.quantizable(prepared, "tensorrt") == ("layer", "last")


def test_a_thin_volume_is_convolved_in_float_on_the_cpu_and_in_int8_by_tensorrt():
    layers = Layers()
    layers.conv(
        layers.conv(layers.conv("image", "thin", (1, 8), (3, 3, 3)), "second", (8, 8), (3, 3, 3)),
        "y",
        (8, 2),
        (1, 1, 1),
    )
    data = network(layers.nodes, {"image": (1, 1, 8, 8, 8)}, {"y": (1, 2, 8, 8, 8)}, layers.constants)
    prepared = int8.prepare(data)
    assert int8.quantizable(prepared, "cpu") == ("second",)
    assert int8.quantizable(prepared, "tensorrt") == ("thin", "second", "y")


@pytest.mark.parametrize(("reduce_range", "largest"), [(False, 127), (True, 64)])
def test_without_vnni_weights_have_seven_bits(reduce_range, largest):
    """Two products of 8 by 8 bits do not fit the 16 bits in which AVX2 adds them; of 8 by 7 they do."""
    constants = initializers(quantized(residual(), "cpu", reduce_range=reduce_range))
    weights = [values for name, values in constants.items() if values.dtype == np.int8 and values.ndim > 1]
    assert len(weights) == 4
    assert all(largest - 1 <= np.abs(values.astype(int)).max() <= largest for values in weights)


def test_weights_have_a_scale_for_each_output_channel():
    for flavour in FLAVOURS:
        model = quantized(residual(), flavour)
        constants = initializers(model)
        scales = [
            constants[n.input[1]] for n in model.graph.node if n.input[0] in ("stem.weight", "stem.weight_quantized")
        ]
        assert all(scale.shape == (8,) for scale in scales)
        assert scales


# quantizing for TensorRT


def test_tensorrt_gets_symmetric_int8_and_float_biases():
    model = quantized(residual(), "tensorrt")
    constants = initializers(model)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8
            assert not constants[node.input[2]].any()
    assert {constants[n.input[2]].dtype for n in model.graph.node if n.op_type == "Conv"} == {np.dtype(np.float32)}


def test_tensorrt_gets_nothing_between_conv_add_and_relu():
    """Of the residual addition only the skip is quantized; Relu outputs are where the next layer reads them."""
    assert pairs(quantized(residual(), "tensorrt")) == {"image", "stem.relu", "inner.relu", "flat"}


def test_for_tensorrt_a_kept_layer_reads_what_others_read_quantized():
    """Two layers read the image; the one in FP32 reads the image itself."""
    layers = Layers()
    layers.node("Add", [layers.conv("image", "first", (3, 4)), layers.conv("image", "second", (3, 4))], "y")
    data = network(layers.nodes, {"image": (1, 3, 8, 8)}, {"y": (1, 4, 8, 8)}, layers.constants)
    model = quantized(data, "tensorrt", frozenset({"second"}), inputs=images(2, (1, 3, 8, 8)))
    reads = {node.name: node.input[0] for node in model.graph.node if node.op_type == "Conv"}
    assert reads["second"] == "image"
    assert reads["first"] != "image"


def test_of_two_convolutions_that_are_added_one_stays_whole():
    """The skip of a down-sampling block is a convolution too."""
    layers = Layers()
    total = layers.node(
        "Add", [layers.conv("image", "main", (3, 4)), layers.conv("image", "skip", (3, 4), (1, 1))], "sum"
    )
    layers.conv(layers.node("Relu", [total], "relu"), "y", (4, 2))
    data = network(layers.nodes, {"image": (1, 3, 8, 8)}, {"y": (1, 2, 8, 8)}, layers.constants)
    assert pairs(quantized(data, "tensorrt", inputs=images(4, (1, 3, 8, 8)))) == {"image", "skip", "relu"}


# both


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_the_answer_stays_close(flavour, method):
    prepared, observed = calibrated(residual(), images(20))
    data = int8.quantize(prepared, flavour, observed.ranges(method, 99.99), NONE, False)
    fresh = images(20, seed=9)
    assert sqnr_db(*(np.concatenate([run(n, image) for image in fresh]) for n in (prepared, data))) > 30


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_layer_that_is_kept_has_its_own_weights_and_unquantized_neighbours(flavour):
    model = quantized(residual(), flavour, frozenset({"outer"}))
    outer = next(node for node in model.graph.node if node.name == "outer")
    assert outer.input[1] == "outer.weight"
    assert "outer" not in pairs(model)
    if flavour == "tensorrt":
        assert outer.input[0] == "inner.relu"
        assert "add" not in pairs(model)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_with_every_layer_kept_the_network_is_what_it_was(flavour):
    prepared, observed = calibrated(residual(), images(2))
    kept = frozenset(int8.quantizable(prepared, flavour))
    data = int8.quantize(prepared, flavour, observed.ranges("minmax", 0), kept, False)
    assert pairs(onnx.load_from_string(data)) == set()
    image = images(1, seed=3)[0]
    np.testing.assert_array_equal(run(data, image), run(prepared, image))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_keeping_layers_never_needs_ranges_that_were_not_observed(flavour):
    prepared, observed = calibrated(residual(), images(1))
    ranges = observed.ranges("minmax", 0)
    for name in int8.quantizable(prepared, flavour):
        int8.quantize(prepared, flavour, ranges, frozenset({name}), False)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_same_input_gives_the_same_bytes(flavour):
    prepared, observed = calibrated(residual(), images(1))
    ranges = observed.ranges("minmax", 0)
    assert len({int8.quantize(prepared, flavour, ranges, NONE, False) for _ in range(2)}) == 1


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_ranges_of_another_network_are_refused(flavour):
    with pytest.raises(EngineRejected, match=r"tensor .* has no range"):
        int8.quantize(int8.prepare(residual()), flavour, {"x": Range(0, 1)}, NONE, False)


def test_layers_with_weights_are_named_in_order():
    assert int8.quantizable(int8.prepare(residual())) == ("stem", "inner", "outer", "logits")


def test_a_product_of_two_activations_is_not_quantized():
    """Attention multiplies what it computed: there are no weights."""
    data = network([helper.make_node("MatMul", ["image", "image"], ["y"])], {"image": (1, 4, 4)}, {"y": (1, 4, 4)}, {})
    assert int8.quantizable(int8.prepare(data)) == ()
