"""A MONAI bundle gives its network, and none of its expressions are run."""

import json

import pytest
import torch
from support.checkpoints import UNET, bundle, card_of, repacked, torchscript
from support.tiny_torch import SHAPE, classifier, saved

from converters.checkpoints import load_checkpoint
from edge_runtime.errors import EdgeRuntimeError, EngineRejected

nets = pytest.importorskip("monai.networks.nets")


def unet():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nets.UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=[2, 4], strides=[2]).eval()


WEIGHTS = saved({"model": unet().state_dict()})


@pytest.fixture
def load(tmp_path):
    card = card_of(tmp_path, "monai_bundle")
    return lambda data: load_checkpoint(card, data, tmp_path)


@pytest.mark.parametrize("target", ["UNet", "monai.networks.nets.UNet", "monai.networks.nets.unet.UNet"])
def test_a_bundle_gives_the_network_of_its_definition(load, target):
    loaded = load(bundle({**UNET, "_target_": target, "_desc_": "tiny"}, WEIGHTS))
    image = torch.rand(SHAPE)
    with torch.no_grad():
        assert torch.equal(loaded.module(image), unet()(image))


def test_a_definition_in_yaml_is_the_same(load):
    text = json.dumps({"network_def": UNET, "classes": 2})
    data = bundle(UNET, WEIGHTS).replace(b"configs/inference.json", b"configs/inference.yaml")
    assert load(repacked(data, {"inference.yaml": f"# YAML\n{text}"})).module is not None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"channels": "$__import__('os').system('true') or [2, 4]"}, r"network_def::channels is the expression"),
        ({"strides": ["$2"]}, r"network_def::strides::0 is the expression"),
        ({"act": {"_target_": "os.system", "command": "true"}}, r"network_def::act::_target_ asks for os\.system"),
        ({"_target_": "monai.networks.nets.unet.torch.load"}, r"_target_ asks for monai\.networks\.nets\.unet\.torch"),
        ({"_target_": "monai.networks.utils.eval_mode"}, r"is no network of monai\.networks"),
        ({"_target_": "NoSuchNet"}, r"asks for NoSuchNet, which cannot be had"),
        ({"_requires_": "$1"}, r"network_def::_requires_ is _requires_, which may run code"),
        ({"_mode_": "debug"}, r"network_def::_mode_"),
        ({"norm": "%other.json"}, r"network_def::norm is the macro"),
        ({"out_channels": "@nothing"}, r"refers to '@nothing'"),
        ({"out_channels": "@later"}, r"in whose configs/inference\.json later::0 is the expression"),
    ],
)
def test_what_could_run_code_is_refused_with_its_place(load, change, place):
    with pytest.raises(EngineRejected, match=place):
        load(bundle({**UNET, **change}, WEIGHTS, later=["$print(1)"]))


def test_expressions_elsewhere_in_the_bundle_are_not_looked_at(load):
    assert load(bundle(UNET, WEIGHTS, postprocessing="$import os", imports=["$import glob"])).module is not None


def test_where_the_definition_runs_code_a_torchscript_in_the_bundle_is_taken_and_that_is_said(load):
    script = torchscript(unet())
    loaded = load(bundle({**UNET, "channels": "$[2, 4]"}, WEIGHTS, script))
    assert loaded.exporter == "trace" and "models/model.ts" in loaded.notes[0] and "network_def" in loaded.notes[0]
    assert load(bundle(UNET, None, script)).module is not None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bundle(UNET, None), "no configs/inference.json"),
        (bundle(None, WEIGHTS), "whose network_def is a NoneType"),
        (bundle({**UNET, "channels": [2]}, WEIGHTS), "network_def gives no network"),
        (bundle(UNET, saved(classifier().state_dict())), "does not fit the architecture UNet"),
        (saved({}), "is no MONAI bundle"),
        (repacked(bundle(UNET, WEIGHTS), {"inference.json": b"{"}), "inference.json cannot be read"),
        (repacked(bundle(UNET, WEIGHTS), {"inference.json": b"[]"}), "inference.json is no mapping"),
        (repacked(bundle(UNET, WEIGHTS), {"inference.json": b"{}"}), "has no network_def"),
    ],
)
def test_a_bundle_that_lacks_something_is_named(load, data, words):
    with pytest.raises(EngineRejected, match=words):
        load(data)


def test_a_bundle_that_is_cut_off_anywhere_is_refused(load):
    whole = bundle(UNET, WEIGHTS)
    for end in range(1, len(whole), max(1, len(whole) // 25)):
        with pytest.raises(EdgeRuntimeError, match="engine tiny: the checkpoint"):
            load(whole[:end])
