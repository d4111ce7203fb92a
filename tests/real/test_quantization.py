"""MONAI's networks, by both of PyTorch's exporters, in FP16 and in both forms of INT8."""

from __future__ import annotations

import io
import warnings
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from support.convolutions import calibrated, sqnr_db

from converters.quantize import int8
from converters.quantize.fp16 import to_fp16
from converters.quantize.half import rounded
from converters.quantize.lint import lint_tensorrt

pytestmark = pytest.mark.real

torch = pytest.importorskip("torch")
nets = pytest.importorskip("monai.networks.nets")
functional = torch.nn.functional

NETWORKS = {
    "resnet18": (lambda: nets.resnet18(spatial_dims=2, n_input_channels=3, num_classes=2), (1, 3, 96, 96)),
    "unet-3d": (lambda: nets.UNet(3, 1, 2, channels=(8, 16, 32), strides=(2, 2), num_res_units=1), (1, 1, 32, 32, 32)),
}
EXPORTERS = {"trace": False, "dynamo": True}


def images(shape, count, seed):
    """Smooth images with some noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = [torch.randn((1, shape[1], *(n // 8 for n in shape[2:])), generator=generator) for _ in range(count)]
    mode = "trilinear" if len(shape) == 5 else "bilinear"
    fine = [functional.interpolate(c, size=shape[2:], mode=mode) for c in coarse]
    return [(image + 0.1 * torch.randn(shape, generator=generator)).numpy() for image in fine]


def settled(make, shape):
    """Random weights, and BatchNorm statistics of the images."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = make().train()
        for layer in module.modules():
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.momentum = None
        for seed in range(3):
            module(torch.cat([torch.from_numpy(image) for image in images(shape, 4, seed)]))
    return module.eval()


def exported(module, shape, dynamo):
    arguments = {"input_names": ["image"], "output_names": ["out"], "dynamo": dynamo}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporters warn of their own future
        if dynamo:
            return torch.onnx.export(module, (torch.zeros(shape),), **arguments, verbose=False).model_proto
        stream = io.BytesIO()
        torch.onnx.export(module, (torch.zeros(shape),), stream, **arguments, opset_version=17)
        return onnx.load_from_string(stream.getvalue())


@pytest.fixture(scope="module", params=[(n, e) for n in NETWORKS for e in EXPORTERS], ids="-".join)
def case(request):
    """The exported network, prepared, what it held, and fresh images."""
    name, exporter = request.param
    make, shape = NETWORKS[name]
    data = exported(settled(make, shape), shape, EXPORTERS[exporter]).SerializeToString()
    prepared, observed = calibrated(data, images(shape, 8, 10))
    return name, data, prepared, observed, images(shape, 4, 20)


def outputs(data, inputs):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image})[0] for image in inputs])


def test_the_prepared_network_computes_the_same(case):
    _, data, prepared, _, fresh = case
    np.testing.assert_allclose(outputs(prepared, fresh), outputs(data, fresh), atol=1e-4)


@pytest.mark.parametrize("flavour", ["cpu", "tensorrt"])
@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_int8_stays_close(case, flavour, method):
    _, _, prepared, observed, fresh = case
    quantized = int8.quantize(prepared, flavour, observed.ranges(method, 99.99), frozenset(), False)
    assert sqnr_db(outputs(prepared, fresh), outputs(quantized, fresh)) > 18


def test_fp16_stays_close(case):
    _, _, prepared, observed, fresh = case
    half, _ = to_fp16(prepared, frozenset(), observed)
    assert sqnr_db(outputs(prepared, fresh), outputs(rounded(half), fresh)) > 40


def test_resnet_runs_in_integer_kernels_on_the_cpu(case, tmp_path):
    name, _, prepared, observed, _ = case
    if name != "resnet18":
        pytest.skip("a ResNet's shape")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    quantized = int8.quantize(prepared, "cpu", observed.ranges("minmax", 0), frozenset(), False)
    onnxruntime.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert (found["QLinearConv"], found["QLinearAdd"], found["QGemm"]) == (20, 8, 1)
    assert not found.keys() & {"Conv", "FusedConv", "Add", "Relu", "Gemm"}


def test_tensorrt_builds_all_of_them(case):
    """By TensorRT-RTX for the Ampere generation, without a GPU."""
    trt = pytest.importorskip("tensorrt_rtx")
    _, _, prepared, observed, _ = case
    int8_file = int8.quantize(prepared, "tensorrt", observed.ranges("minmax", 0), frozenset(), False)
    for data in (prepared, to_fp16(prepared, frozenset(), observed)[0], int8_file):
        lint_tensorrt(data, "network")
        builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
        definition = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        assert trt.OnnxParser(definition, trt.Logger(trt.Logger.ERROR)).parse(data)
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM86, 0)
        assert builder.build_serialized_network(definition, config) is not None
