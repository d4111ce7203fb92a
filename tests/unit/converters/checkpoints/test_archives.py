"""TorchScript, torch.export and ONNX files: loaded, or refused with one sentence."""

import contextlib
import io
import json
import warnings
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from support import models
from support.checkpoints import Harm, card_of, exported_program, read_in_two_ways, renamed, repacked, torchscript
from support.tiny_torch import SHAPE, Giving, Wide, classifier, saved

from converters.checkpoints import load_checkpoint
from edge_runtime.errors import EdgeRuntimeError, EngineRejected

PROGRAM, SCRIPT, ONNX = exported_program(), torchscript(), models.classifier(SHAPE)


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    return {f: card_of(tmp_path_factory.mktemp(f), f) for f in ("onnx", "torchscript", "pt2", "ultralytics")}


@pytest.fixture
def load(cards, tmp_path):
    return lambda kind, data: load_checkpoint(cards[kind], data, tmp_path)


def gives_what(module, network):
    image = torch.rand(SHAPE)
    with torch.no_grad():
        return torch.allclose(module(image), network(image), atol=1e-6)


def test_each_gives_the_network_that_was_saved(load):
    assert gives_what(load("torchscript", SCRIPT).module, classifier())
    assert gives_what(load("pt2", PROGRAM).module, classifier())
    assert load("onnx", ONNX).onnx == ONNX


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "pt2", "ultralytics"])
def test_a_file_of_another_kind_is_named_for_what_it_is(load, kind):
    others = {"onnx": SCRIPT, "torchscript": PROGRAM, "pt2": SCRIPT, "ultralytics": ONNX}
    words = {
        "onnx": "TorchScript archive",
        "torchscript": r"\.pt2",
        "pt2": "TorchScript archive",
        "ultralytics": "ONNX",
    }
    with pytest.raises(EngineRejected, match=words[kind]):
        load(kind, others[kind])
    with pytest.raises(EngineRejected, match="it is a web page"):
        load(kind, b"<html>not found</html>")


@pytest.mark.parametrize(("kind", "whole"), [("onnx", ONNX), ("torchscript", SCRIPT), ("pt2", PROGRAM)])
def test_a_file_that_is_cut_off_anywhere_is_refused(load, kind, whole):
    for end in sorted({0, 1, 2, 4, 8, 40, *np.linspace(50, len(whole) - 1, 40).astype(int)}):
        with pytest.raises(EdgeRuntimeError, match="engine tiny: the checkpoint"):
            load(kind, whole[:end])


@pytest.mark.parametrize(("kind", "whole"), [("torchscript", SCRIPT), ("pt2", PROGRAM)])
def test_an_archive_with_a_damaged_member_is_refused_or_whole(load, kind, whole):
    random = np.random.default_rng(0)
    for position in random.integers(0, len(whole), 30):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        with contextlib.suppress(EdgeRuntimeError):  # and nothing else
            load(kind, bytes(damaged))


def test_torchscript_that_touches_files_is_refused(load, tmp_path):
    victim = tmp_path / "victim"
    data = repacked(SCRIPT, {"code/harm.py": f"def f(x):\n  torch.save(x, '{victim}')\n"})
    with pytest.raises(EngineRejected, match=r"calls torch\.save"):
        load("torchscript", data)


CALLS = [
    "torch.save(x, '{}')",
    "torch.save (x, '{}')",
    "torch . save(x, '{}')",
    "torch.save\\\n(x, '{}')",
    "(torch.save)(x, '{}')",
    "ops.aten . save(x, '{}')",
    "getattr(torch, 'save')(x, '{}')",
    "getattr(torch, 'sa' 've')(x, '{}')",
    'getattr(torch, "s\\141ve")(x, "{}")',
    "torch.from_file ('{}', True, 1)",
]


@pytest.mark.parametrize("call", CALLS)
def test_torchscript_that_touches_files_is_refused_however_it_is_written(load, monkeypatch, call):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("torch read it"))
    code = f"def f(x):\n  {call.format('victim')}\n"
    for name in ("code/harm.py", "code/harm.PY"):
        with pytest.raises(EngineRejected, match=r"touch files|puts together"):
            load("torchscript", repacked(SCRIPT, {name: code}))


def test_torchscript_may_have_children_without_names(load):
    network = torch.nn.Sequential(torch.nn.Sequential(classifier())).eval()
    data = torchscript(network)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert any(b"getattr" in archive.read(name) for name in archive.namelist())
    assert gives_what(load("torchscript", data).module, network)


def doubled(archive, end, data, spelled=str):
    """The archive with another member of that name before the one that it has."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(stream, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in old.namelist():
            if name.endswith(end):
                new.writestr(spelled(name), data)
            new.writestr(name, old.read(name))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["torchscript", "pt2"])
def test_torch_gets_the_archive_that_was_looked_at(load, tmp_path, kind):
    victim = tmp_path / "victim"
    whole, end, harm = {
        "torchscript": (SCRIPT, "support/tiny_torch.py", b"this is no code"),
        "pt2": (PROGRAM, "sample_inputs/model.pt", saved(Harm(victim))),
    }[kind]
    with pytest.raises(EngineRejected, match="two members of one name"):
        load(kind, doubled(whole, end, harm))
    with pytest.raises(EngineRejected, match="two members of one name"):
        load(kind, doubled(whole, end, harm, spelled=str.upper))
    both = read_in_two_ways(repacked(whole, {end: harm}), whole)
    assert gives_what(load(kind, both).module, classifier())
    assert not victim.exists()


def test_an_archive_that_fills_the_memory_is_refused(load):
    stream = io.BytesIO(SCRIPT)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/extra/zeros", bytes(1 << 27))
    with pytest.raises(EngineRejected, match=r"that would become 1342\d+: no network does so"):
        load("torchscript", stream.getvalue())


def harm_in(*path, **keys):
    """The member with the graph, where the mapping at `path` has other keys."""

    def changed(data):
        document = json.loads(data)
        place = document
        for step in path:
            place = place[step]
        place.append(keys) if isinstance(place, list) else place.update(keys)
        return json.dumps(document)

    return {"models/model.json": changed}


CALL = "__import__('os').system('true')"
MODULE = ("graph_module",)
NODE = (*MODULE, "graph", "nodes", 0)
SIZE = {"as_sym_int": {"as_expr": {"expr_str": CALL}}}
OPAQUE = {"config": {"c": {"path_name": "opaque_obj_0", "use_pickle": True}}}
HARMS = {
    "target": harm_in(*NODE, target="torch.hub.load"),
    "getter": harm_in(*NODE, target="_operator.methodcaller"),
    "argument": harm_in(*NODE, "outputs", 0, "as_tensor", name=f"x={CALL}"),
    "parameter": harm_in(*MODULE, "signature", "input_specs", 0, "parameter", parameter_name=f'a"),{CALL}'),
    "guard": harm_in(guards_code=[CALL]),
    "size": harm_in(*NODE, "inputs", name="n", arg=SIZE, kind=1),
    "library": {"data/aotinductor/model/x.so": b"\x7fELF"},
    "constant": {"model_constants_config.json": json.dumps(OPAQUE)},
    "object": {"model_constants_config.json": json.dumps(OPAQUE).replace("true", "false")},
    "second program": {"models/other.txt": "{}"},
    "program as configuration": {"models/other_config.json": '{"config": {}}'},
}


@pytest.mark.parametrize("harm", sorted(HARMS))
def test_a_program_that_would_run_code_is_refused_before_torch_reads_it(load, monkeypatch, harm):
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("torch read it"))
    with pytest.raises(EngineRejected, match=r"wants? to run code"):
        load("pt2", repacked(PROGRAM, HARMS[harm]))


def test_a_program_with_a_member_in_capital_letters_is_refused(load, monkeypatch):
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("torch read it"))
    with pytest.raises(EngineRejected, match=r"writes no 'archive/data/sample_inputs/model\.PT'"):
        load("pt2", renamed(PROGRAM, "sample_inputs/model.pt", "sample_inputs/model.PT"))


def test_a_program_that_gives_a_container_which_imports_is_refused(load):
    spec = '[1, {"type": "collections.defaultdict", "context": "", "children_spec": []}]'
    data = repacked(PROGRAM, harm_in(*MODULE, "module_call_graph", 0, "signature", out_spec=spec))
    with pytest.raises(EngineRejected, match=r"takes or gives a collections\.defaultdict"):
        load("pt2", data)


def test_a_program_whose_example_inputs_are_a_harmful_pickle_is_refused_by_name(load, tmp_path):
    victim = tmp_path / "victim"
    with pytest.raises(EngineRejected, match=r"asks for posix\.system"):
        load("pt2", repacked(PROGRAM, {"sample_inputs/model.pt": saved(Harm(victim))}))
    assert not victim.exists()


def test_a_program_with_a_free_batch_and_a_dictionary_is_loaded(load):
    network = Giving(lambda y: {"a": y, "b": [y]}).eval()
    free = {0: torch.export.Dim("batch", min=1, max=8)}
    data = exported_program(network, batch=2, dynamic_shapes=(free,))
    assert b"expr_str" in zipfile.ZipFile(io.BytesIO(data)).read("archive/models/model.json")
    assert load("pt2", data).module(torch.zeros(SHAPE)).keys() == {"a", "b"}


def test_a_program_in_training_mode_or_half_precision_is_refused(load):
    with pytest.raises(EngineRejected, match=r"training mode .*batch_norm.*network\.eval\(\)"):
        load("pt2", exported_program(classifier().train()))
    with pytest.raises(EngineRejected, match=r"torch\.float64 weights \(network\.features\.0\.weight\)"):
        load("pt2", exported_program(Wide().eval()))


@pytest.mark.parametrize("kind", ["torchscript", "pt2"])
def test_a_weight_that_is_no_number_is_refused_by_name(load, kind):
    network = classifier()
    network.head.bias.data.fill_(float("nan"))
    data = torchscript(network) if kind == "torchscript" else exported_program(network)
    with pytest.raises(EngineRejected, match=r"has 1 NaN in tensor head\.bias of 1 values"):
        load(kind, data)


def test_half_precision_torchscript_becomes_float32(load):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        half = torch.jit.load(io.BytesIO(SCRIPT)).half()
    loaded = load("torchscript", _script_bytes(half))
    assert "from float16 to float32" in loaded.notes[0] and gives_what_roughly(loaded.module)


def _script_bytes(module):
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(module, stream)
    return stream.getvalue()


def gives_what_roughly(module):
    image = torch.rand(SHAPE)
    with torch.no_grad():
        return torch.allclose(module(image), classifier()(image), atol=1e-2)


def changed_onnx(change):
    model = onnx.load_from_string(ONNX)
    change(model)
    return model.SerializeToString()


def test_an_onnx_weight_that_is_no_number_is_refused_by_name_and_a_mask_is_not(load):
    def add(values):
        return changed_onnx(lambda m: m.graph.initializer.append(numpy_helper.from_array(np.float32(values), "w")))

    with pytest.raises(EngineRejected, match="has 1 NaN in tensor w of 3 values"):
        load("onnx", add([1, 2, np.nan]))
    with pytest.raises(EngineRejected, match="has 1 infinite values in tensor w"):
        load("onnx", add([1, 2, -np.inf]))
    load("onnx", add([0, 0, -np.inf]))


def test_an_onnx_constant_in_a_branch_is_looked_at(load):
    bad = numpy_helper.from_array(np.float32([np.nan]), "inner")
    branch = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["c"], value=bad)], "then", [], [])
    node = onnx.helper.make_node("If", ["condition"], ["z"], then_branch=branch, else_branch=branch)
    with pytest.raises(EngineRejected, match="NaN in tensor inner"):
        load("onnx", changed_onnx(lambda m: m.graph.node.append(node)))


def test_an_onnx_whose_weights_are_in_another_file_is_refused(load):
    def move(model):
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../weights.bin")

    data = changed_onnx(move)
    with pytest.raises(EngineRejected, match=r"keeps tensor \w+ in another file"):
        load("onnx", data)
