"""State dictionaries: found in what the file holds, fitted to the architecture, or refused with the keys."""

import re
import sys

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.checkpoints import card_of
from support.tiny_torch import SHAPE, classifier, saved

from converters.checkpoints import load_checkpoint
from edge_runtime.errors import BackendUnavailable, ConfigurationError, EdgeRuntimeError, EngineRejected


@pytest.fixture
def load(tmp_path):
    """Load bytes under a card whose checkpoint has these keys."""

    def load(data, **checkpoint):
        card = card_of(tmp_path / f"c{len(list(tmp_path.iterdir()))}", "state_dict", **checkpoint)
        return load_checkpoint(card, data, tmp_path)

    return load


def weights(seed=0, width=4):
    return classifier(width, seed).state_dict()


def gives_what(loaded, network):
    image = torch.rand(SHAPE)
    with torch.no_grad():
        return torch.equal(loaded.module(image), network(image))


@pytest.mark.parametrize(
    "content",
    [
        weights(),
        {"state_dict": weights(), "epoch": 3},
        {"model_state_dict": weights(), "optimizer": {"state": {0: torch.zeros(2)}}},
        {"trainer": {"best": weights()}},
        {f"module.{k}": v for k, v in weights().items()},
        {"state_dict": {f"model.net.{k.replace('.', '._orig_mod.', 1)}": v for k, v in weights().items()}},
        {k: v for k, v in weights().items() if "num_batches" not in k},
    ],
    ids=["plain", "lightning", "optimizer", "nested", "parallel", "compiled", "counters"],
)
def test_weights_are_found_wherever_they_are(load, content):
    assert gives_what(load(saved(content)), classifier())
    assert gives_what(load(saved(content, _use_new_zipfile_serialization=False)), classifier())


def test_safetensors_give_the_same(load):
    assert gives_what(load(safetensors.torch.save(weights())), classifier())


def test_a_prefix_and_what_is_left_out_are_said(load):
    content = {f"net.{k}": v for k, v in weights().items()} | {"criterion.weight": torch.ones(2)}
    notes = " ".join(load(saved({"state_dict": content})).notes)
    assert "prefix 'net.'" in notes and "left out 1 tensors" in notes and "criterion.weight" in notes


def test_of_two_entries_that_fit_the_known_one_is_taken_and_the_card_may_choose(load):
    both = saved({"ema": weights(seed=1), "model": weights(seed=0)})
    loaded = load(both)
    assert gives_what(loaded, classifier(seed=0)) and "'ema' fits too" in loaded.notes[0]
    assert gives_what(load(both, entry="ema"), classifier(seed=1))
    with pytest.raises(ConfigurationError, match=r"checkpoint\.entry.*'emma'.*it has: .*ema"):
        load(both, entry="emma")


def test_half_precision_becomes_float32_and_that_is_said(load):
    loaded = load(saved(classifier().half().state_dict()))
    assert all(p.dtype == torch.float32 for p in loaded.module.parameters())
    assert loaded.notes == ("converted 8 tensors from float16 to float32",)


def test_a_misfit_names_the_first_keys_and_the_first_shape(load):
    wrong = {k.replace("head", "classifier"): v for k, v in weights(width=8).items()}
    with pytest.raises(EngineRejected) as refused:
        load(saved(wrong))
    said = str(refused.value)
    assert "2 missing in the checkpoint: head.weight, head.bias" in said
    assert "2 unexpected in the checkpoint: classifier.weight, classifier.bias" in said
    assert "features.0.weight is (8, 1, 3, 3) in the checkpoint and (4, 1, 3, 3) in the network" in said


def test_of_many_keys_three_are_named(load):
    with pytest.raises(EngineRejected, match=re.escape("(entry 'a'); 8 missing in the checkpoint: ")) as refused:
        load(saved({"a": {"x": torch.zeros(1)}}))
    assert str(refused.value).count("features") == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused_by_name(load, value):
    bad = weights()
    bad["head.weight"][0, 1] = value
    with pytest.raises(EngineRejected, match=r"in tensor head\.weight"):
        load(saved(bad))


@pytest.mark.parametrize("other", [lambda w: w.to(torch.complex64), lambda w: torch.nested.nested_tensor([w])])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_weight_that_would_lose_a_part_of_itself_is_not_taken(load, other):
    state = weights()
    state["head.weight"] = other(state["head.weight"])
    with pytest.raises(EngineRejected, match=r"1 missing in the checkpoint: head\.weight"):
        load(saved(state))


@pytest.mark.parametrize(("content", "words"), [({}, "empty mapping"), ([1], "of type list"), ({"a": 1}, "with a")])
def test_a_file_without_weights_is_named(load, content, words):
    with pytest.raises(EngineRejected, match=words):
        load(saved(content))


@pytest.mark.parametrize(
    ("callable_", "words"),
    [
        ("no_such_module:Net", "there is no module no_such_module; put it beside the card in"),
        ("support.tiny_torch:Clasifier", "did you mean Classifier"),
        ("support.tiny_torch:SHAPE", "no callable"),
        ("support.tiny_torch:with_bessel.code", "has no with_bessel.code"),
        ("math:sin", "failed: TypeError"),
        ("io:StringIO", "gives StringIO, not a torch.nn.Module"),
    ],
)
def test_an_architecture_that_gives_no_network_is_named(load, callable_, words):
    with pytest.raises(ConfigurationError, match=r"checkpoint\.architecture: ") as refused:
        load(saved(weights()), callable_=callable_)
    assert words in str(refused.value)


def test_an_architecture_that_raises_is_named_with_its_arguments(load):
    with pytest.raises(ConfigurationError, match=r"Classifier\(width='4'\) failed: "):
        load(saved(weights()), arguments={"width": "4"})


def test_architectures_of_one_name_in_two_folders_are_two(tmp_path, capsys):
    source = (
        "print('hello')\nfrom support.tiny_torch import Classifier\nWIDTH = {}\ndef make(): return Classifier(WIDTH)\n"
    )
    for width in (2, 4):
        card = card_of(tmp_path / str(width), "state_dict", callable_="tiny_architecture:make")
        folder = tmp_path / str(width) / "tiny"
        (folder / "tiny_architecture.py").write_text(source.format(width))
        assert gives_what(load_checkpoint(card, saved(weights(width=width)), folder), classifier(width))
    assert capsys.readouterr().out == ""


def test_an_architecture_that_fails_to_import_is_named(tmp_path):
    card = card_of(tmp_path, "state_dict", callable_="tiny_broken:make")
    for source, words in (
        ("import no_such_package", "needs no_such_package"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ):
        (tmp_path / "tiny_broken.py").write_text(source)
        with pytest.raises(ConfigurationError, match=words):
            load_checkpoint(card, saved(weights()), tmp_path)


WHOLE = {
    "zip": saved(weights()),
    "legacy": saved(weights(), _use_new_zipfile_serialization=False),
    "safetensors": safetensors.torch.save(weights()),
}


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_is_refused(tmp_path_factory, name, share):
    folder = tmp_path_factory.mktemp("cut")
    data = WHOLE[name]
    with pytest.raises(EdgeRuntimeError, match="engine tiny: the checkpoint"):
        load_checkpoint(card_of(folder, "state_dict"), data[: int(share * len(data))], folder)


def test_an_architecture_of_monai_names_the_extra_where_monai_is_missing(load, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(BackendUnavailable, match=r"needs monai; run: pip install 'edge-runtime\[monai\]'"):
        load(saved(weights()), callable_="monai.networks.nets:resnet18")
