"""A checkpoint of any format becomes an ONNX network that computes the same, always of the same bytes."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from support import models
from support.checkpoints import UNET, bundle, card_of, exported_program, torchscript
from support.tiny_torch import SHAPE, classifier, saved, with_bessel
from torch import nn

from converters.export import export
from edge_runtime.errors import EngineRejected

pytestmark = pytest.mark.slow


def state(network=None):
    return saved((network or classifier()).state_dict())


def run(data, name="image"):
    image = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return image, session.run(None, {name: image})[0]


def nodes(exported):
    return onnx.load_from_string(exported.data).graph.node


@pytest.mark.parametrize(
    ("kind", "data", "opset"),
    [
        ("state_dict", state(), 18),
        ("pt2", exported_program(), 18),
        ("torchscript", torchscript(), 17),
        ("onnx", models.classifier(SHAPE), 17),
    ],
)
def test_every_format_computes_what_its_own_framework_does(tmp_path, capfd, kind, data, opset):
    exported = export(card_of(tmp_path, kind), data, tmp_path)
    image, found = run(exported.data)
    assert np.allclose(found, exported.reference(image), atol=1e-6)
    if kind != "onnx":
        with torch.no_grad():
            assert np.allclose(found, classifier()(torch.from_numpy(image)).numpy(), atol=1e-6)
        assert exported.reference_name == f"torch {torch.__version__}"
    graph = onnx.load_from_string(exported.data).graph
    assert exported.opset == opset and [o.name for o in graph.output] == ["probability"]
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == list(SHAPE)
    assert capfd.readouterr().out == ""


def test_a_bundle_is_exported(tmp_path):
    nets = pytest.importorskip("monai.networks.nets")
    network = nets.UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=[2, 4], strides=[2]).eval()
    exported = export(card_of(tmp_path, "monai_bundle"), bundle(UNET, saved(network.state_dict())), tmp_path)
    image, found = run(exported.data)
    with torch.no_grad():
        assert np.allclose(found, network(torch.from_numpy(image)).numpy(), atol=1e-5)


@pytest.mark.parametrize("exporter", ["export", "trace"])
def test_the_graph_holds_its_weights_no_others_and_names_of_layers(tmp_path, exporter):
    exported = export(card_of(tmp_path, "state_dict", exporter=exporter), state(), tmp_path)
    model = onnx.load_from_string(exported.data)
    used = {name for node in model.graph.node for name in node.input}
    assert {i.name for i in model.graph.initializer} <= used
    assert not any(i.external_data for i in model.graph.initializer)
    assert b"tiny_torch" not in exported.data
    layers = ["features.0/Conv", "features.2/Relu", "ReduceMean", "head/Gemm", "Sigmoid"]
    assert exporter == "trace" or [n.name for n in nodes(exported)] == layers


HASHES = """
import hashlib, pathlib, sys
from support.checkpoints import card_of
from converters.export import export
folder, place = map(pathlib.Path, sys.argv[1:])
for kind in ("state_dict", "pt2", "torchscript"):
    data = export(card_of(place / kind, kind), (folder / kind).read_bytes(), folder).data
    print(kind, hashlib.sha256(data).hexdigest())
"""


def test_the_same_checkpoint_gives_the_same_bytes_in_any_process(tmp_path, capsys, monkeypatch):
    for kind, data in (("state_dict", state()), ("pt2", exported_program()), ("torchscript", torchscript())):
        (tmp_path / kind).write_bytes(data)
    command = [sys.executable, "-W", "ignore", "-c", HASHES, str(tmp_path), str(tmp_path / "there")]
    there = subprocess.run(command, env={"PYTHONPATH": "tests:."}, capture_output=True, text=True, check=True)
    monkeypatch.setattr(sys, "argv", ["-", str(tmp_path), str(tmp_path / "here")])
    exec(HASHES, {})
    assert there.stdout == capsys.readouterr().out and len(there.stdout.split()) == 6


@pytest.mark.parametrize(
    ("name", "exporter"),
    [("list", "trace"), ("shape", "trace"), ("dictionary", "trace"), ("nested", "trace"), ("nested", "export")],
)
def test_of_many_outputs_the_card_s_is_taken(tmp_path, name, exporter):
    card = card_of(tmp_path, "state_dict", f"support.tiny_torch:giving_{name}", exporter=exporter)
    exported = export(card, state(), tmp_path)
    image, found = run(exported.data)
    with torch.no_grad():
        assert np.allclose(found, classifier()(torch.from_numpy(image)).numpy(), atol=1e-6)
    assert np.allclose(found, exported.reference(image), atol=1e-6)


def test_an_output_that_is_not_the_card_s_is_named_with_what_there_is(tmp_path):
    card = card_of(tmp_path, "state_dict", "support.tiny_torch:giving_wrong")
    with pytest.raises(
        EngineRejected, match=r"no float32 output probability \(1, 1\).* a \(1, 2\) float32, b\.0 \(1, 1"
    ):
        export(card, state(), tmp_path)


def test_a_network_that_does_not_take_the_card_s_input_is_refused(tmp_path):
    card = card_of(tmp_path, "torchscript")
    with pytest.raises(EngineRejected, match=r"does not take the card's input \(1, 1, 8, 8\): RuntimeError"):
        export(card, torchscript(nn.Sequential(nn.Conv2d(3, 1, 3)), (1, 3, 8, 8)), tmp_path)


@pytest.mark.parametrize("exporter", ["export", "trace"])
def test_an_operator_without_counterpart_is_named_with_its_layer_and_stdout_stays_clean(tmp_path, capfd, exporter):
    card = card_of(tmp_path, "state_dict", "support.tiny_torch:with_bessel", exporter=exporter)
    with pytest.raises(EngineRejected, match=r"operator [\w:.]*bessel_j0, in layer features\.3, has no counterpart"):
        export(card, state(with_bessel()), tmp_path)
    assert capfd.readouterr().out == ""


def test_the_layer_is_named_in_a_torchscript_too(tmp_path):
    with pytest.raises(EngineRejected, match=r"bessel_j0, in layer features\.3,"):
        export(card_of(tmp_path, "torchscript"), torchscript(with_bessel()), tmp_path)


def test_a_network_whose_steps_depend_on_values_is_refused_with_the_line(tmp_path):
    card = card_of(tmp_path, "state_dict", "support.tiny_torch:branching")
    with pytest.raises(EngineRejected, match=r"torch\.export cannot follow the network at .*tiny_torch\.py, line \d+"):
        export(card, state(), tmp_path)
    assert export(
        card_of(tmp_path / "2", "state_dict", "support.tiny_torch:branching", exporter="trace"), state(), tmp_path
    )


def test_a_shape_that_tracing_left_open_is_the_card_s(tmp_path):
    card = card_of(tmp_path, "state_dict", "support.tiny_torch:padded", exporter="trace")
    (output,) = onnx.load_from_string(export(card, state(), tmp_path).data).graph.output
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [1, 1]


def test_swish_written_for_training_becomes_plain(tmp_path):
    card = card_of(tmp_path, "state_dict", "support.tiny_torch:with_swish", exporter="trace")
    exported = export(card, state(), tmp_path)
    assert "Sigmoid" in {n.op_type for n in nodes(exported)}


def test_an_onnx_that_the_checker_refuses_is_named(tmp_path):
    model = onnx.load_from_string(models.classifier(SHAPE))
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(EngineRejected, match=r"no valid ONNX network: .*NoSuchOperator"):
        export(card_of(tmp_path, "onnx"), model.SerializeToString(), tmp_path)


def test_the_free_sizes_of_an_onnx_become_the_card_s(tmp_path):
    model = onnx.load_from_string(models.classifier(SHAPE))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.input[0].type.tensor_type.shape.dim[3].ClearField("dim_value")
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    exported = export(card_of(tmp_path, "onnx"), model.SerializeToString(), tmp_path)
    assert exported.notes == ("fixed batch = 1, size 3 = 8 of the network's input, which were free, to the card's",)
    graph = onnx.load_from_string(exported.data).graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == list(SHAPE)
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [1, 1]
    image, found = run(exported.data)
    assert np.allclose(found, exported.reference(image))


def test_a_weight_that_only_a_branch_uses_stays(tmp_path):
    model = onnx.load_from_string(models.classifier(SHAPE))
    last = model.graph.node[-1]
    last.output[0] = "plain"
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["plain", "factor"], ["scaled"])], "then", [],
        [onnx.helper.make_tensor_value_info("scaled", onnx.TensorProto.FLOAT, [1, 1])],
    )  # fmt: skip
    model.graph.node.append(
        onnx.helper.make_node("If", ["always"], ["probability"], then_branch=branch, else_branch=branch)
    )
    for name, value in (("factor", np.float32(3)), ("always", np.bool_(True))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    exported = export(card_of(tmp_path, "onnx"), model.SerializeToString(), tmp_path)
    image, found = run(exported.data)
    assert np.allclose(found, 3 * image.mean())
