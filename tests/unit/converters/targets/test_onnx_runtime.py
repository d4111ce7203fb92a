"""ONNX Runtime's engine is the network; INT8 is bound to processors on which it answers the same."""

import platform

import numpy as np
import pytest
from onnx import helper
from support.models import double, network

from converters.progress import Progress
from converters.targets import TARGETS, Options, build_target, check_target, flavour_of, onnx_runtime
from edge_runtime.errors import BackendUnavailable, ConfigurationError


def progress():
    return Progress(lambda text: None)


def quantized():
    """y = x through 8 bits."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    return network(nodes, {"x": (1, 4)}, {"y": (1, 4)}, {"scale": np.float32(0.1), "zero": np.uint8(3)})


def test_an_fp32_engine_is_the_network_and_runs_on_any_processor():
    built = build_target("onnxruntime", double(), Options(), progress())
    assert built.engine == double() and built.file == "engine.onnx" and built.runs_here
    assert built.target.flavour == "onnxruntime" and built.packages == (f"onnxruntime {built.target.flavour_version}",)
    assert (built.target.instruction_set, built.target.architecture, built.target.operating_system) == (None,) * 3


def test_an_int8_engine_is_for_processors_like_this_one(monkeypatch):
    monkeypatch.setattr(onnx_runtime, "instruction_set", lambda: "avx512_vnni")
    built = build_target("onnxruntime", quantized(), Options(), progress())
    assert built.engine == quantized() and built.runs_here
    assert built.target.instruction_set == "avx512_vnni" and built.target.architecture == "x86_64"
    assert built.target.operating_system == platform.system()
    assert built.options == ("instruction_set=avx512_vnni",)


@pytest.mark.parametrize(
    ("wanted", "here", "architecture", "runs_here"),
    [
        ("avx2", "avx512_vnni", "x86_64", True),
        ("avx512_vnni", "avx2", "x86_64", False),
        ("asimddp", "avx512_vnni", "aarch64", False),
    ],
)
def test_a_workstation_builds_int8_for_the_processor_of_a_site(monkeypatch, wanted, here, architecture, runs_here):
    monkeypatch.setattr(onnx_runtime, "instruction_set", lambda: here)
    built = build_target("onnxruntime", quantized(), Options(instruction_set=wanted), progress())
    assert (built.target.instruction_set, built.target.architecture) == (wanted, architecture)
    assert built.runs_here is runs_here


def test_int8_on_a_processor_that_nobody_knows_asks_for_its_name(monkeypatch):
    monkeypatch.setattr(onnx_runtime, "instruction_set", lambda: "unknown")
    with pytest.raises(BackendUnavailable, match=r"cannot be told, and INT8 depends on it; .*--instruction-set sse\|"):
        build_target("onnxruntime", quantized(), Options(), progress())
    assert build_target("onnxruntime", double(), Options(), progress()).target.instruction_set is None


def test_the_names_of_nodes_make_no_network_int8():
    node = helper.make_node("Mul", ["x", "two"], ["y"], name="DequantizeLinear")
    named = network([node], {"x": (1, 4)}, {"y": (1, 4)}, {"two": np.float32(2)})
    assert not onnx_runtime.is_quantized(named)
    assert onnx_runtime.is_quantized(quantized())


def test_each_target_says_which_int8_network_it_takes():
    assert {name: flavour_of(name) for name in TARGETS} == {
        "onnxruntime": "cpu",
        "tensorrt-rtx": "tensorrt",
        "tensorrt": "tensorrt",
    }


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("cuda", Options(), "no target 'cuda'; there are: onnxruntime, tensorrt-rtx, tensorrt"),
        ("onnxruntime", Options(compute_capabilities=("8.6",)), "--sm means nothing to --target onnxruntime, which"),
        ("tensorrt", Options(compute_capabilities=("8.7",)), "--sm means nothing to --target tensorrt, which takes"),
        ("tensorrt-rtx", Options(dla_core=0), "--dla-core means nothing to --target tensorrt-rtx"),
        ("tensorrt-rtx", Options(instruction_set="avx2"), "--instruction-set means nothing"),
        ("tensorrt-rtx", Options(compute_capabilities=("86",)), "--sm takes compute capabilities such as 8.6"),
        ("tensorrt-rtx", Options(compute_capabilities=("8.6 ",)), "--sm takes compute capabilities such as 8.6"),
        ("tensorrt-rtx", Options(workspace_bytes=0), "--workspace-bytes must be positive, got 0"),
        ("tensorrt-rtx", Options(workspace_bytes=1 << 63), "--workspace-bytes is more than any memory holds"),
        ("tensorrt-rtx", Options(optimization_level=6), "--optimization-level is 0 to 5, got 6"),
        ("tensorrt", Options(dla_core=-1), "--dla-core counts from 0, got -1"),
        ("onnxruntime", Options(instruction_set="mmx"), "--instruction-set is one of sse, .*; got 'mmx'"),
    ],
)
def test_an_option_that_cannot_be_meant_is_named_before_any_work(target, options, message):
    with pytest.raises(ConfigurationError, match=message):
        check_target(target, options)
