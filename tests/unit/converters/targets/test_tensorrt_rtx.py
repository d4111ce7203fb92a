"""TensorRT-RTX builds real plans for cards that are not in this machine."""

import os
import signal
import threading

import numpy as np
import pytest
from onnx import helper
from support.models import network

from converters.progress import Progress
from converters.targets import Options, build_target, check_target
from edge_runtime.errors import ConfigurationError, EngineRejected

trt = pytest.importorskip("tensorrt_rtx")

SHAPE = (1, 2, 8, 8)
THREE = ("8.6", "8.9", "12.0")
WEIGHTS = np.linspace(-1, 1, 2 * 2 * 3 * 3).reshape(2, 2, 3, 3)


def progress(said=None):
    return Progress((said if said is not None else []).append)


def fp32():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    return network(nodes, {"x": SHAPE}, {"y": SHAPE}, {"w": WEIGHTS.astype(np.float32)})


def fp16():
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=10),
        helper.make_node("Conv", ["h", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["c"], ["y"], to=1),
    ]
    return network(nodes, {"x": SHAPE}, {"y": SHAPE}, {"w": WEIGHTS.astype(np.float16)})


def int8():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    constants = {
        "s": np.float32(0.02), "z": np.int8(0), "w": np.round(127 * WEIGHTS).astype(np.int8),
        "ws": np.full(2, 1 / 127, np.float32), "wz": np.zeros(2, np.int8),
    }  # fmt: skip
    return network(nodes, {"x": SHAPE}, {"y": SHAPE}, constants)


def uint8(zero_point):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    return network(nodes, {"x": SHAPE}, {"y": SHAPE}, {"s": np.float32(0.1), "z": np.uint8(zero_point)})


@pytest.mark.parametrize("make", [fp32, fp16, int8])
def test_one_plan_serves_three_cards_and_two_builds_give_the_same_bytes(make, capfd):
    built = build_target("tensorrt-rtx", make(), Options(), progress())
    assert built.engine == build_target("tensorrt-rtx", make(), Options(), progress()).engine
    assert len(built.engine) > 1000 and built.file == "engine.plan"
    assert built.target.flavour == "tensorrt_rtx" and built.target.flavour_version == trt.__version__
    assert built.target.compute_capabilities == THREE
    assert built.options == ("strongly_typed", "max_aux_streams=0", "sm=8.6,8.9,12.0")
    assert built.packages == (f"tensorrt_rtx {trt.__version__}",)
    assert not built.runs_here
    assert capfd.readouterr() == ("", "")


def test_precision_is_that_of_the_network():
    plans = {make: build_target("tensorrt-rtx", make(), Options(), progress()).engine for make in (fp32, fp16, int8)}
    assert len(set(plans.values())) == 3


def test_the_cards_named_are_each_taken_once_in_order_and_make_another_plan():
    built = build_target("tensorrt-rtx", fp32(), Options(compute_capabilities=("12.0", "8.6", "12.0")), progress())
    assert built.target.compute_capabilities == ("8.6", "12.0") and "sm=8.6,12.0" in built.options
    assert built.engine != build_target("tensorrt-rtx", fp32(), Options(), progress()).engine


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ("8.7", "8.7 is Jetson Orin: build it there with --target tensorrt"),
        ("9.0", "9.0 is Hopper: build it there with --target tensorrt"),
        ("11.0", "11.0 is Jetson Thor: build it there with --target tensorrt"),
        ("6.1", "--sm 6.1 is none of those"),
    ],
)
def test_a_card_that_rtx_does_not_serve_is_named_with_who_does(one, message):
    with pytest.raises(ConfigurationError, match=f"builds for compute capabilities .*8.6, 8.9, 12.0.*; {message}"):
        check_target("tensorrt-rtx", Options(compute_capabilities=("8.6", one)))


def test_workspace_and_level_are_recorded():
    options = Options(compute_capabilities=("8.6",), workspace_bytes=1 << 26, optimization_level=4)
    built = build_target("tensorrt-rtx", fp32(), options, progress())
    assert built.options[2:] == ("sm=8.6", "workspace_bytes=67108864", "builder_optimization_level=4")


@pytest.mark.parametrize(
    ("operator", "domain", "message"),
    [
        ("Frobnicate", "com.example", r"operator Frobnicate of node 'block1/odd': Plugin not found.*; replace it by"),
        (
            "Det",
            "",
            r"operator Det of node 'block1/odd': it has no such operator; replace it by",
        ),
    ],
)
def test_an_operator_that_it_has_not_is_named_with_its_node(operator, domain, message):
    import onnx

    node = helper.make_node(operator, ["x"], ["y"], name="block1/odd", domain=domain)
    model = onnx.load_from_string(fp32())
    del model.graph.node[:]
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(EngineRejected, match=f"tensorrt_rtx {trt.__version__} does not take this network: {message}"):
        build_target("tensorrt-rtx", model.SerializeToString(), Options(), progress())


def test_uint8_is_refused_where_the_parser_only_warns():
    with pytest.raises(EngineRejected, match="uint8 quantization, which tensorrt_rtx would compute as int8"):
        build_target("tensorrt-rtx", uint8(0), Options(), progress())
    with pytest.raises(EngineRejected, match="Non-zero zero point is not supported"):
        build_target("tensorrt-rtx", uint8(3), Options(), progress())


@pytest.mark.parametrize("data", [b"", b"no network", b"\x08\x08" * 40])
def test_what_is_no_network_is_refused(data):
    with pytest.raises(EngineRejected, match="does not take this network: "):
        build_target("tensorrt-rtx", data, Options(), progress())


def test_shapes_that_vary_are_refused():
    varying = network([helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 4)}, {"y": ("n", 4)}, {})
    with pytest.raises(EngineRejected, match=r"input 'x' has the shape \(-1, 4\); engines have fixed shapes"):
        build_target("tensorrt-rtx", varying, Options(), progress())


def test_ctrl_c_within_a_real_build_ends_it(monkeypatch):
    from converters.targets import tensorrt_plan

    steps = []
    original = tensorrt_plan.make_monitor

    def interrupting(module, said, stop):
        def stop_after_one():
            steps.append(1)
            if len(steps) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return stop()

        return original(module, said, stop_after_one)

    monkeypatch.setattr(tensorrt_plan, "make_monitor", interrupting)
    with pytest.raises(KeyboardInterrupt):
        build_target("tensorrt-rtx", fp32(), Options(), progress())
    interrupted_after = len(steps)
    monkeypatch.setattr(tensorrt_plan, "make_monitor", original)
    assert interrupted_after < 20, "a whole build takes more than 60 steps"
    assert build_target("tensorrt-rtx", fp32(), Options(), progress()).engine


def test_a_build_in_another_thread_leaves_signals_alone():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(build_target("tensorrt-rtx", fp32(), Options(), progress()).engine)
    )
    thread.start()
    thread.join(60)
    assert found and found[0]
