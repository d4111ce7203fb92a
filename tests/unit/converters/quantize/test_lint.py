"""What TensorRT would refuse, or take and compute differently, is refused with node, reason and remedy."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.convolutions import Layers, calibrated, images, residual
from support.models import network

from converters.quantize import int8
from converters.quantize.fp16 import to_fp16
from converters.quantize.lint import lint_tensorrt
from edge_runtime.errors import EngineRejected

NONE: frozenset[str] = frozenset()


def through(zero_point, scale=0.1):
    """x, quantized and back."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], "dequantize"),
    ]
    constants = {"scale": np.asarray(scale, np.float32), "zero": np.asarray(zero_point)}
    return network(nodes, {"x": (1, 4)}, {"y": (1, 4)}, constants)


def model(
    nodes,
    inputs=(("x", TensorProto.FLOAT, (1, 4)),),
    outputs=(("y", TensorProto.FLOAT, (1, 4)),),
    constants=None,
    domains=(),
):
    """An unchecked network."""
    values = [[helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs)]
    initializers = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    imports = [helper.make_opsetid(domain, 1) for domain in domains] + [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "g", *values, initializers)
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def refused(data):
    with pytest.raises(EngineRejected) as caught:
        lint_tensorrt(data, "engine tiny")
    return str(caught.value)


def test_what_this_program_makes_for_tensorrt_passes():
    prepared, observed = calibrated(residual(), images(2))
    lint_tensorrt(prepared, "engine tiny")
    lint_tensorrt(to_fp16(prepared, NONE, None)[0], "engine tiny")
    lint_tensorrt(int8.quantize(prepared, "tensorrt", observed.ranges("minmax", 0), NONE, False), "engine tiny")


def test_the_file_for_the_cpu_is_refused():
    prepared, observed = calibrated(residual(), images(2))
    message = refused(int8.quantize(prepared, "cpu", observed.ranges("minmax", 0), NONE, False))
    assert message.startswith("engine tiny: node ")
    assert message.endswith("; build it with --target tensorrt-rtx or tensorrt")


def test_symmetric_int8_passes_by_tensor_and_by_channel():
    lint_tensorrt(through(np.int8(0)), "engine tiny")
    lint_tensorrt(through(np.zeros(4, np.int8), np.full(4, 0.1)), "engine tiny")


@pytest.mark.parametrize(
    ("zero_point", "scale", "reason"),
    [
        (np.uint8(0), 0.1, "node quantize (QuantizeLinear) is in uint8"),
        (np.uint8(128), 0.1, "node quantize (QuantizeLinear) is in uint8"),
        (np.int8(3), 0.1, "node quantize (QuantizeLinear) has a zero point other than 0"),
        (np.array([0, 0, 1, 0], np.int8), np.full(4, 0.1), "has a zero point other than 0"),
        (np.int8(0), 0.0, "has a scale that is not a positive number"),
        (np.int8(0), np.nan, "has a scale that is not a positive number"),
    ],
)
def test_quantization_that_tensorrt_does_not_compute_is_refused(zero_point, scale, reason):
    assert reason in refused(through(zero_point, scale))


def test_a_zero_point_left_out_means_uint8():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"], "dequantize"),
    ]
    message = refused(model(nodes, constants={"s": np.float32(0.1)}))
    assert "node quantize (QuantizeLinear) is in uint8, which TensorRT computes as if it were int8" in message


def test_a_bias_in_int32_is_refused():
    nodes = [helper.make_node("DequantizeLinear", ["b", "s"], ["y"], "bias")]
    constants = {"b": np.ones((1, 4), np.int32), "s": np.float32(0.1)}
    assert "node bias (DequantizeLinear) has a bias in INT32" in refused(model(nodes, constants=constants))


@pytest.mark.parametrize("which", ["s", "z"])
def test_parameters_that_are_computed_are_refused(which):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s2", "z2"], ["y"], "dequantize"),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(0), "s2": np.float32(0.1), "z2": np.int8(0)}
    del constants[which]
    kind = TensorProto.FLOAT if which == "s" else TensorProto.INT8
    inputs = (("x", TensorProto.FLOAT, (1, 4)), (which, kind, ()))
    assert "that is not constant" in refused(model(nodes, inputs, constants=constants))


@pytest.mark.parametrize("kind", ["QLinearMatMul", "MatMulInteger"])
def test_int8_in_the_form_of_onnx_runtime_is_refused(kind):
    parameters = ["s", "z"] if kind == "QLinearMatMul" else []
    operands = ["x", *parameters, "w", *parameters, *parameters]
    output = "INT8" if kind == "QLinearMatMul" else "INT32"
    constants = {"w": np.ones((4, 4), np.int8)} | ({"s": np.float32(1), "z": np.int8(0)} if parameters else {})
    inputs, outputs = (("x", TensorProto.INT8, (1, 4)),), (("y", getattr(TensorProto, output), (1, 4)),)
    message = refused(model([helper.make_node(kind, operands, ["y"], "it")], inputs, outputs, constants))
    assert f"node it ({kind}) is INT8 in the form of ONNX Runtime" in message


def test_quantization_at_run_time_is_refused():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "it"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    assert "node it (DynamicQuantizeLinear) is INT8 in the form of ONNX Runtime" in refused(model(nodes))


def test_operators_of_another_domain_are_refused():
    node = helper.make_node("QGemm", ["x"], ["y"], "it", domain="com.microsoft")
    assert "node it (QGemm) is an operator of com.microsoft" in refused(model([node], domains=["com.microsoft"]))


@pytest.mark.parametrize("kind", ["RandomNormalLike", "Bernoulli"])
def test_operators_that_give_other_numbers_at_every_run_are_refused(kind):
    assert "gives other numbers at every run" in refused(model([helper.make_node(kind, ["x"], ["y"], "it")]))


def test_shapes_that_depend_on_values_are_refused():
    nodes = [helper.make_node("NonZero", ["x"], ["n"], "it"), helper.make_node("Relu", ["x"], ["y"])]
    assert "node it (NonZero) gives a shape that depends on values" in refused(model(nodes))


def test_float64_is_refused():
    nodes = [
        helper.make_node("Cast", ["x"], ["d"], "widen", to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["d"], ["y"], "narrow", to=TensorProto.FLOAT),
    ]
    assert "node widen (Cast) computes in float64" in refused(model(nodes))


@pytest.mark.parametrize(("shape", "said"), [(("batch", 4), "?x4"), ((None, 4), "?x4"), (None, "unknown")])
def test_shapes_that_are_not_fixed_are_refused(shape, said):
    values = (("x", TensorProto.FLOAT, shape),), (("y", TensorProto.FLOAT, shape),)
    message = refused(model([helper.make_node("Relu", ["x"], ["y"])], *values))
    assert message == f"engine tiny: the shape of x is not fixed ({said}); export the network with fixed shapes"


# the real parser


class TestParser:
    """What TensorRT-RTX says of the same files, where it is installed: it builds engines without a GPU."""

    @pytest.fixture
    def parse(self):
        trt = pytest.importorskip("tensorrt_rtx")

        class Logger(trt.ILogger):
            def __init__(self):
                trt.ILogger.__init__(self)
                self.warnings = []

            def log(self, severity, text):
                if severity == trt.ILogger.WARNING:
                    self.warnings.append(text)

        def parse(data, build=False):
            logger = Logger()
            builder = trt.Builder(logger)
            definition = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
            parsed = trt.OnnxParser(definition, logger).parse(data)
            if not (parsed and build):
                return parsed, logger.warnings
            config = builder.create_builder_config()
            config.num_compute_capabilities = 1
            config.set_compute_capability(trt.ComputeCapability.SM86, 0)
            return builder.build_serialized_network(definition, config) is not None, logger.warnings

        return parse

    def test_it_accepts_uint8_with_a_warning_and_takes_it_for_int8(self, parse):
        """This is why the lint refuses it."""
        data = through(np.uint8(0))
        accepted, warnings = parse(data)
        assert accepted
        assert any("UINT8" in text and "INT8 instead" in text for text in warnings)
        assert "is in uint8" in refused(data)

    def test_it_refuses_the_file_for_the_cpu(self, parse):
        prepared, observed = calibrated(residual(), images(2))
        assert not parse(int8.quantize(prepared, "cpu", observed.ranges("minmax", 0), NONE, False))[0]

    @pytest.mark.parametrize("name", ["residual", "decoder", "swish"])
    def test_it_builds_what_this_program_makes(self, parse, name):
        """A residual block; an up-sampling decoder with normalization; SiLU with squeeze and excitation."""
        data, shape = NETWORKS[name]()
        prepared, observed = calibrated(data, images(2, shape))
        half, _ = to_fp16(prepared, NONE, observed)
        whole = int8.quantize(prepared, "tensorrt", observed.ranges("minmax", 0), NONE, False)
        part = int8.quantize(
            prepared, "tensorrt", observed.ranges("minmax", 0), frozenset(int8.quantizable(prepared)[1:2]), False
        )
        for made in (prepared, half, whole, part):
            lint_tensorrt(made, name)
            assert parse(made, build=True) == (True, [])


def _decoder():
    layers = Layers()
    low = layers.node("LeakyRelu", [layers.conv("image", "down", (1, 4), (3, 3, 3))], "act", alpha=0.1)
    layers.constants |= {"scale": np.ones(4, np.float32), "shift": np.zeros(4, np.float32)}
    normal = layers.node("InstanceNormalization", [low, "scale", "shift"], "norm")
    weight = layers.constant("up.weight", (4, 4, 2, 2, 2), 0.3)
    up = layers.node("ConvTranspose", [normal, weight], "up", kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    layers.constants["sizes"] = np.array([1, 1, 2, 2, 2], np.float32)
    wide = layers.node("Resize", ["image", "", "sizes"], "wide", mode="nearest")
    layers.conv(layers.node("Concat", [up, wide], "both", axis=1), "mask", (5, 2), (1, 1, 1))
    shape = (1, 1, 8, 8, 8)
    return network(layers.nodes, {"image": shape}, {"mask": (1, 2, 16, 16, 16)}, layers.constants), shape


def _swish():
    layers = Layers()
    stem = layers.conv("image", "stem", (3, 8))
    swish = layers.node("Mul", [stem, layers.node("Sigmoid", [stem], "stem.sigmoid")], "swish")
    squeeze = layers.conv(layers.node("GlobalAveragePool", [swish], "squeeze"), "excite", (8, 8), (1, 1))
    gated = layers.node("Mul", [swish, layers.node("Sigmoid", [squeeze], "gate")], "gated")
    layers.node("Add", [layers.conv(gated, "project", (8, 3)), "image"], "sum")
    layers.conv("sum", "head", (3, 2))
    return network(layers.nodes, {"image": (1, 3, 8, 8)}, {"head": (1, 2, 8, 8)}, layers.constants), (1, 3, 8, 8)


NETWORKS = {"residual": lambda: (residual(), (1, 3, 16, 16)), "decoder": _decoder, "swish": _swish}
