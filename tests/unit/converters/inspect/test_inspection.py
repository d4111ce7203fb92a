"""What `inspect` and `compare` say of networks and built engines."""

import dataclasses
import hashlib
import json

import numpy as np
import onnx
import pytest
from support import models
from support.lowered import SHAPE, convolutional, half, images

from converters.inspect.comparison import compare
from converters.inspect.inspection import inspect, look_at
from converters.progress import Progress
from converters.quantize import int8
from converters.quantize.calibrate import observe
from edge_runtime.engines.card import read_card
from edge_runtime.engines.golden import golden_image, make_golden, make_seed, write_golden
from edge_runtime.engines.passport import (
    SCHEMA_VERSION,
    Builder,
    FileRecord,
    Gate,
    GoldenRecord,
    Metric,
    Onnx,
    Parity,
    Passport,
    Precision,
    Target,
    TensorRecord,
    write_passport,
)
from edge_runtime.errors import ConfigurationError, EngineRejected
from edge_runtime.preprocess import compile_recipe

FP32 = int8.prepare(convolutional())


def lowered(flavour, keep_fp32=frozenset()):
    observed = observe(FP32, images(2), Progress(lambda text: None), 2)
    return int8.quantize(FP32, flavour, observed.ranges("minmax", 100.0), keep_fp32, False)


INT8 = lowered("cpu")


def record(name, data):
    return FileRecord(name, hashlib.sha256(data).hexdigest(), len(data))


def engine(engines, target, recipe, network, plan=None, name="tiny", **changes):
    """A built engine's folder, with its card."""
    folder = engines / name
    if not folder.exists():
        models.write_card(engines, models.card("classification", SHAPE, name=name))
    card, card_sha256 = read_card(folder)
    seed = make_seed(card)
    prepared = next(iter(compile_recipe(card)(golden_image(seed), None, 0.0))).inputs[0].array
    golden = write_golden(make_golden(seed, prepared, prepared[:, 0, 0, :1]))
    file = "engine.onnx" if plan is None else "engine.plan"
    data = network if plan is None else plan
    tensors = [TensorRecord(t.name, t.shape, t.dtype) for t in (card.input, card.output)]
    passport = Passport(
        schema_version=SCHEMA_VERSION, name=name, version=card.version, card_sha256=card_sha256,
        engine=record(file, data), target=Target(target.replace("-", "_"), "1.7"), onnx=Onnx("0" * 64, 17),
        precision=Precision(recipe), inputs=(tensors[0],), outputs=(tensors[1],),
        golden=GoldenRecord(record("golden.npz", golden), 1e-3), parity=Parity("torch 2", 0.0125),
        longest_run_seconds=None if plan else 0.5, builder=Builder("edge-convert", "0"),
        documents=(record("network.onnx", network),) if plan else (),
    )  # fmt: skip
    out = folder / f"{target}-{recipe}"
    out.mkdir()
    for written, content in ((file, data), ("golden.npz", golden), ("network.onnx", network if plan else b"")):
        (out / written).write_bytes(content)
    (out / "passport.json").write_bytes(write_passport(dataclasses.replace(passport, **changes)))
    return out


@pytest.mark.parametrize(
    ("network", "precisions"),
    [
        (convolutional(), {"fp32": 10}),
        (half(convolutional()), {"fp16": 10}),
    ],
)
def test_precision_is_told_layer_by_layer(tmp_path, network, precisions):
    """What lies between DequantizeLinear and QuantizeLinear is INT8, FP16 is by type, the rest is FP32."""
    file = tmp_path / "network.onnx"
    file.write_bytes(network)
    found = inspect(file)
    assert found.network.layers_by_precision == precisions
    assert [layer.name for layer in found.network.layers][:2] == ["conv1", "relu1"]
    assert found.network.size_bytes == len(network)


@pytest.mark.parametrize("flavour", ["cpu", "tensorrt"])
def test_layers_kept_in_fp32_are_told_from_those_in_int8(flavour):
    """Of what the quantizer writes, for each kind of library."""
    found = look_at(lowered(flavour, frozenset({"conv2"})))
    precisions = {layer.name: layer.precision for layer in found.layers}
    assert {precisions[name] for name in ("conv1", "conv3", "fc")} == {"int8"}
    assert precisions["conv2"] == "fp32"
    assert found.boundaries > 0


def test_convolutions_of_quantized_inputs_and_weights_are_int8():
    """What ONNX Runtime's quantizer writes: weights stored as int8 and dequantized, Relu part of its convolution."""
    inputs = {"image": (1, 1, 4, 4)}
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["image", "s", "z"], ["q"]),
        make("DequantizeLinear", ["q", "s", "z"], ["d"]),
        make("DequantizeLinear", ["w_quantized", "s", "z"], ["w"]),
        make("Conv", ["d", "w"], ["c"], "conv"),
        make("Relu", ["c"], ["r"], "relu"),
        make("QuantizeLinear", ["r", "s", "z"], ["rq"]),
        make("DequantizeLinear", ["rq", "s", "z"], ["rd"]),
        make("Sigmoid", ["rd"], ["probability"], "sigmoid"),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(0), "w_quantized": np.ones((1, 1, 1, 1), np.int8)}
    network = look_at(models.network(nodes, inputs, {"probability": (1, 1, 4, 4)}, constants))
    assert [(x.name, x.precision) for x in network.layers] == [("conv", "int8"), ("relu", "int8"), ("sigmoid", "fp32")]
    assert network.layers[0].weight_bytes == 1 + 4 + 1
    assert network.layers[0].inputs == ((1, 1, 4, 4),)
    assert network.boundaries == 5
    assert dict(network.stored_bytes) == {"float": 4, "int8": 2}


def test_an_engines_folder_shows_network_and_passport(tmp_path):
    """Layers, totals and what the passport says, as text and as JSON."""
    folder = engine(
        tmp_path, "onnxruntime", "int8", INT8, gate=Gate("0" * 64, 40, "engine"),
        precision=Precision("int8", "0" * 64, "percentile 99.99", ("fc",)),
        task_metrics=(Metric("auc", 0.91, 0.85, 0.95, 0.92, 0.02),),
    )  # fmt: skip
    found = inspect(folder)
    text = found.text()
    for word in ("tiny 1", "onnxruntime 1.7", "int8, calibrated by percentile 99.99, 1 layers kept in FP32", "conv1",
                 "1x4x8x8", "auc 0.9100 (FP32 0.9200)", "passed on 40 samples", "layers: "):  # fmt: skip
        assert word in text
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert document["network"]["layers_by_precision"]["int8"] >= 4
    assert document["engine"]["passport"]["precision"]["raised"] == ["fc"]


def test_a_plan_is_shown_by_the_network_it_was_built_from(tmp_path):
    """Nothing opens the plan; the note says where the layers come from."""
    folder = engine(tmp_path, "tensorrt-rtx", "fp16", half(convolutional()), plan=b"not for this machine")
    found = inspect(folder)
    assert found.network.layers_by_precision == {"fp16": 10}
    assert "engine.plan can only be opened on the GPU it is for" in found.text()


@pytest.mark.parametrize("file", ["engine.plan", "network.onnx", "passport.json", "golden.npz"])
def test_one_flipped_byte_is_found_before_anything_is_parsed(tmp_path, monkeypatch, file):
    """An engine's folder is verified first: no library sees a byte of a file that was altered."""
    folder = engine(tmp_path, "tensorrt-rtx", "fp16", half(convolutional()), plan=b"a plan of some bytes")
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / file).write_bytes(data)
    monkeypatch.setattr("converters.inspect.inspection.look_at", lambda *arguments: pytest.fail("it was parsed"))
    with pytest.raises(EngineRejected):
        inspect(folder)


def test_a_plan_without_its_network_says_so(tmp_path):
    """An engine of another builder has no network beside it: one sentence, and what to do."""
    folder = engine(tmp_path, "tensorrt", "fp32", convolutional(), plan=b"plan", documents=())
    with pytest.raises(EngineRejected, match=r"names no network\.onnx .*build it again"):
        inspect(folder)


@pytest.mark.parametrize("path", ["empty", "engine.plan", "absent.onnx"])
def test_what_is_no_engine_and_no_network_is_refused(tmp_path, path):
    """A folder without a passport, a lone plan, a file that is not there: configuration errors."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "engine.plan").write_bytes(b"plan")
    with pytest.raises(ConfigurationError):
        inspect(tmp_path / path)


def test_names_do_not_steer_the_terminal(tmp_path):
    """A layer's name is text from a file: control characters are not printed."""
    model = onnx.load_from_string(convolutional())
    model.graph.node[0].name = "conv\x1b[2J"
    (tmp_path / "n.onnx").write_bytes(model.SerializeToString())
    assert "conv?[2J" in inspect(tmp_path / "n.onnx").text()


def test_two_builds_are_compared_layer_by_layer(tmp_path):
    """Errors, precisions that differ, sizes and metrics with intervals, side by side."""
    metric = Metric("auc", 0.91, 0.85, 0.95, 0.92, 0.02)
    one = engine(tmp_path, "onnxruntime", "fp32", convolutional())
    two = engine(tmp_path, "onnxruntime", "int8", INT8, task_metrics=(metric,), gate=Gate("0" * 64, 40, "engine"))
    found = compare(one, two)
    assert [e.name for e in found.errors][:2] == ["r1", "r2"]
    assert 20 < found.errors[0].sqnr_db < 60
    assert {("conv2", "fp32", "int8"), ("fc", "fp32", "int8")} < {(c.name, c.first, c.second) for c in found.changes}
    text = found.text()
    for word in ("onnxruntime-fp32", "onnxruntime-int8", "SQNR", "r1", "0.9100 (0.8500 to 0.9500)", "p50"):
        assert word in text
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert document["layers"][0]["name"] == "r1"
    assert len(document["latency"]) == 2


def test_a_plans_latency_is_not_told_by_a_processor(tmp_path):
    """What a plan takes on its GPU cannot be measured here, and is not made up."""
    one = engine(tmp_path, "onnxruntime", "fp32", convolutional())
    two = engine(tmp_path, "tensorrt-rtx", "fp16", half(convolutional()), plan=b"plan")
    found = compare(one, two)
    assert found.latency is None
    assert "latency is not measured here" in found.text()
    assert {c.second for c in found.changes} == {"fp16"}


def test_the_same_build_does_not_differ_from_itself(tmp_path):
    """Nothing is reported where there is nothing."""
    one = engine(tmp_path, "onnxruntime", "fp32", convolutional())
    found = compare(one, one)
    assert found.changes == ()
    assert {e.maximum_absolute_error for e in found.errors} == {0.0}
    assert "equal" in found.text()


def test_two_models_are_not_compared(tmp_path):
    """Figures of two models beside each other would mean nothing; the message says what differs."""
    one = engine(tmp_path, "onnxruntime", "fp32", convolutional())
    two = engine(tmp_path, "onnxruntime", "fp32", convolutional(), name="other")
    with pytest.raises(ConfigurationError, match=r"not two builds of one model: the engine is tiny .* and other"):
        compare(one, two)


def test_two_checkpoints_are_not_compared(tmp_path):
    """Another training is another model, whatever its name."""
    one = engine(tmp_path, "onnxruntime", "fp32", convolutional(), checkpoint_sha256="1" * 64)
    two = engine(tmp_path, "onnxruntime", "int8", INT8, checkpoint_sha256="2" * 64)
    with pytest.raises(ConfigurationError, match="the checkpoint is 1111"):
        compare(one, two)
