"""Ultralytics files: layers of the package are restored, never constructed, and nothing else is."""

import importlib
import pickle
import sys

import pytest
import torch
from support.checkpoints import Harm, card_of
from support.tiny_torch import SHAPE, saved

from converters.checkpoints import load_checkpoint
from edge_runtime.errors import BackendUnavailable, EdgeRuntimeError, EngineRejected

PACKAGE = """
import pathlib
from torch import nn

class Detect(nn.Module):
    export, format = False, None

    def forward(self, boxes):
        return boxes if self.export else (boxes, [boxes])

class DetectionModel(nn.Module):
    def __init__(self, configuration):
        super().__init__()
        eval(configuration["activation"])
        self.convolution, self.head = nn.Conv2d(1, 2, 3), Detect()

    def forward(self, image):
        return self.head(self.convolution(image))

def helper():
    pass
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with the names of the real one."""
    folder = tmp_path / "packages" / "ultralytics" / "nn"
    folder.mkdir(parents=True)
    for file, text in (
        (folder.parent / "__init__.py", ""),
        (folder / "__init__.py", ""),
        (folder / "tasks.py", PACKAGE),
    ):
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    for name in ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("ultralytics.nn.tasks")
    for name in ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks"):
        sys.modules.pop(name, None)


@pytest.fixture
def load(tmp_path):
    card = card_of(tmp_path / "card", "ultralytics")
    return lambda data: load_checkpoint(card, data, tmp_path)


def test_the_averaged_network_is_taken_in_float32_with_its_head_made_to_export(package, load):
    networks = [package.DetectionModel({"activation": "1"}) for _ in range(2)]
    loaded = load(saved({"model": networks[0], "ema": networks[1].half(), "classes": {1, 2}}))
    image = torch.rand(SHAPE)
    with torch.no_grad():
        assert torch.equal(loaded.module(image), networks[1].float()(image)[0])
    assert [type(m) for m in loaded.module.modules()] == [type(m) for m in networks[1].modules()]
    assert loaded.notes == ("converted 2 tensors from float16 to float32",)


class Constructs:
    def __init__(self, layer, configuration):
        self.call = layer, configuration

    def __reduce__(self):
        return self.call[0], (self.call[1],)


def test_a_layer_is_never_constructed(package, load, tmp_path):
    victim = tmp_path / "victim"
    harm = Constructs(package.DetectionModel, {"activation": f"pathlib.Path({str(victim)!r}).touch()"})
    with pytest.raises(EngineRejected, match="constructs DetectionModel"):
        load(saved({"model": harm}))
    assert not victim.exists()


@pytest.mark.parametrize("name", ["posix.system", "ultralytics.nn.tasks.helper", "torch.nn.modules.module.Any"])
def test_what_is_no_layer_is_refused_by_name(package, load, tmp_path, name):
    victim = tmp_path / "victim"
    content = {"posix.system": Harm(victim), "ultralytics.nn.tasks.helper": package.helper}.get(name)
    data = saved(content) if content is not None else pickle.dumps(0, 2)[:2] + b"ctorch.nn.modules.module\nAny\n."
    with pytest.raises(EngineRejected, match=f"asks for {name}, which is no layer"):
        load(data)
    assert not victim.exists()


def test_a_file_without_a_network_or_cut_off_is_refused(package, load):
    whole = saved({"model": package.DetectionModel({"activation": "1"})})
    with pytest.raises(EngineRejected, match="no network under ema or model"):
        load(saved({"model": 3}))
    for end in range(1, len(whole), len(whole) // 25):
        with pytest.raises(EdgeRuntimeError, match="engine tiny: the checkpoint"):
            load(whole[:end])


def test_without_the_package_the_way_around_it_is_said(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(BackendUnavailable, match="yolo export model=FILE format=onnx"):
        load(saved({"model": 3}))
