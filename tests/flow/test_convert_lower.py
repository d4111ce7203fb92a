"""An engine in lower precision is written only where it passed the gate on images that did not calibrate it."""

import dataclasses
import json
import shutil

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper
from support.models import write_card
from support.pictures import bright_card, bright_network, write_pictures

from converters import lower
from converters.cli import main
from edge_runtime.engines.listing import list_engines
from edge_runtime.engines.passport import read_passport
from edge_runtime.engines.verify import verify
from edge_runtime.errors import EngineRejected


@pytest.fixture
def folder(tmp_path):
    """A card, its checkpoint, and its samples."""
    return site(tmp_path)


def site(root, data=None, **changes):
    folder = write_card(root / "engines", bright_card(**changes), data or bright_network())
    write_pictures(folder / "calibration", 8, seed=1)
    write_pictures(folder / "holdout", 12, seed=2)
    return folder


def convert(folder, target, precision, *more):
    output = folder / f"{target}-{precision}"
    return main(["build", str(folder), "--target", target, "--precision", precision, "--output", str(output), *more])


def built(folder):
    """What engines there are, whole or half."""
    return sorted(p.name for p in folder.iterdir() if "-" in p.name)


def passport_of(folder):
    return read_passport((folder / "passport.json").read_bytes())[0]


@pytest.mark.parametrize(("target", "precision"), [("onnxruntime", "int8"), ("onnxruntime", "fp16"),
                                                   ("tensorrt-rtx", "int8"), ("tensorrt-rtx", "fp16")])  # fmt: skip
def test_what_passes_the_gate_is_an_engine_that_says_how_good_it_is(folder, target, precision):
    assert convert(folder, target, precision) == 0
    engine = verify(folder / f"{target}-{precision}", (), allow_unsigned=True)
    found = engine.passport
    assert found.gate.samples == 12
    assert [(m.name, m.fp32, m.tolerance) for m in found.task_metrics] == [("auc", 1.0, 0.02)]
    assert (found.precision.calibration_sha256 is None) == (precision == "fp16")
    assert {"report.md", "report.json"} <= {record.file for record in found.documents}
    assert (found.longest_run_seconds is None) == (target == "tensorrt-rtx")


def test_one_calibration_serves_both_int8_networks(folder, capsys):
    assert convert(folder, "onnxruntime", "int8") == 0
    assert "used again" not in capsys.readouterr().err
    assert convert(folder, "tensorrt-rtx", "int8") == 0
    assert (
        "the calibration of onnxruntime-int8 is of the same network and samples: used again" in capsys.readouterr().err
    )
    calibrations = [json.loads((folder / name / "calibration.json").read_bytes()) for name in built(folder)]
    assert calibrations[0] == calibrations[1]


def test_a_calibration_that_is_not_that_of_its_passport_is_made_again(folder, capsys):
    assert convert(folder, "onnxruntime", "int8") == 0
    file = folder / "onnxruntime-int8" / "calibration.json"
    document = json.loads(file.read_bytes())
    for statistics in document["observed"]["tensors"].values():
        statistics["low"], statistics["high"] = 0.0, 1e-6
    file.write_text(json.dumps(document))
    assert convert(folder, "tensorrt-rtx", "int8", "--ungated") == 0
    assert "used again" not in capsys.readouterr().err


def test_another_recipe_or_other_samples_are_calibrated_anew(folder, capsys):
    assert convert(folder, "onnxruntime", "int8") == 0
    shutil.rmtree(folder / "calibration")
    write_pictures(folder / "calibration", 8, seed=4)
    assert convert(folder, "tensorrt-rtx", "int8") == 0
    card = yaml.safe_load((folder / "model.yaml").read_text())
    card["preprocess"][2]["window"]["range"] = [0.0, 250.0]
    (folder / "model.yaml").write_text(yaml.safe_dump(card))
    assert convert(folder, "onnxruntime", "int8") == 0
    assert "used again" not in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_without_a_gate_nothing_is_built_unless_asked_for_and_then_it_is_marked(tmp_path, capsys, precision):
    folder = site(tmp_path, gate=[])
    assert convert(folder, "onnxruntime", precision) == 78
    assert "--ungated" in capsys.readouterr().err and built(folder) == []
    assert convert(folder, "onnxruntime", precision, "--ungated") == 0
    engine = folder / f"onnxruntime-{precision}"
    with pytest.raises(EngineRejected, match="not measured against FP32"):
        verify(engine, (), allow_unsigned=True)
    assert verify(engine, (), allow_unsigned=True, allow_ungated=True).passport.gate is None
    assert "no gate" in (engine / "report.md").read_text()


def test_an_image_that_calibrates_may_not_measure(folder, capsys):
    shutil.copy(folder / "holdout" / "3.png", folder / "calibration" / "another-name.png")
    assert convert(folder, "onnxruntime", "int8") == 78
    said = capsys.readouterr().err
    assert "another-name.png" in said and "3.png" in said and "must not measure" in said
    assert built(folder) == []


def test_what_does_not_pass_is_not_written(folder, monkeypatch, capsys):
    def dull(network, flavour, ranges, kept, reduce_range):
        """Quantized until nothing is left: every picture gets the same answer."""
        model = onnx.load_from_string(network)
        for tensor in model.graph.initializer:
            if tensor.name == "slope":
                tensor.CopyFrom(numpy_helper.from_array(np.zeros((1, 1), dtype=np.float32), "slope"))
        return model.SerializeToString()

    monkeypatch.setattr(lower.int8, "quantize", dull)
    assert convert(folder, "onnxruntime", "int8") == 69
    said = capsys.readouterr().err
    assert "no engine was written" in said and "auc" in said and "fails" in said
    assert built(folder) == []


def test_a_network_that_is_no_good_itself_is_not_lowered(tmp_path, capsys):
    folder = site(tmp_path, gate=[{"metric": "auc", "tolerance": 0.02, "at_least": 0.9}])
    truth = folder / "holdout" / "truth.yaml"
    truth.write_text(
        truth.read_text().replace("positive: []", "positive: [x]").replace("- bright", "").replace("[x]", "[bright]")
    )
    document = yaml.safe_load(truth.read_text())
    for sample in document["samples"]:
        sample["positive"] = sample["positive"] or []
    truth.write_text(yaml.safe_dump(document))
    assert convert(folder, "onnxruntime", "int8") == 69
    assert "FP32 itself misses" in capsys.readouterr().err and built(folder) == []


def test_samples_on_the_command_line_take_the_place_of_the_cards(tmp_path, folder):
    write_pictures(tmp_path / "mine", 6, seed=8)
    write_pictures(tmp_path / "yours", 10, seed=9)
    options = ["--calibration", str(tmp_path / "mine"), "--holdout", str(tmp_path / "yours")]
    assert convert(folder, "onnxruntime", "int8", *options) == 0
    assert passport_of(folder / "onnxruntime-int8").gate.samples == 10


def append(file, text):
    file.write_text(file.read_text() + text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: [p.unlink() for p in (f / "calibration").iterdir()], "calibration"),
        (lambda f: shutil.rmtree(f / "calibration"), "calibration"),
        (lambda f: (f / "holdout" / "truth.yaml").unlink(), "truth.yaml"),
        (lambda f: (f / "holdout" / "5.png").write_bytes(b"no picture"), "5.png"),
        (lambda f: (f / "holdout" / "5.png").unlink(), "5.png"),
        (lambda f: (f / "holdout" / "truth.yaml").write_text("samples: []\nmore: 1\n"), "unknown key"),
        (lambda f: (f / "calibration" / "notes.txt").write_text("no picture"), "notes.txt"),
        (lambda f: append(f / "model.yaml", "speed: fast\n"), "speed: unknown key"),
    ],
)  # fmt: skip
def test_wrong_samples_are_named_and_nothing_is_built(folder, capsys, spoil, message):
    spoil(folder)
    assert convert(folder, "onnxruntime", "int8") == 78
    assert message in capsys.readouterr().err and built(folder) == []


def test_weights_that_are_no_numbers_are_refused(tmp_path, capsys):
    folder = site(tmp_path, bright_network(weight=float("nan")))
    assert convert(folder, "onnxruntime", "fp32") == 69
    assert "first" in capsys.readouterr().err and built(folder) == []


def test_the_commands_around_a_build_work_on_it(folder, tmp_path, capsys):
    assert convert(folder, "onnxruntime", "int8") == 0
    assert convert(folder, "onnxruntime", "fp32") == 0
    low, full = folder / "onnxruntime-int8", folder / "onnxruntime-fp32"
    key = tmp_path / "key.pem"
    assert main(["keygen", str(key)]) == 0
    public = capsys.readouterr().out.split()[-1]
    assert main(["sign", str(low), "--key", str(key)]) == 0
    assert verify(low, [public], allow_unsigned=False).signed
    assert main(["verify", str(low)]) == 0
    assert "golden run: differs by 0" in capsys.readouterr().out
    assert main(["inspect", str(low), "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["network"]["layers"]
    assert {layer["operator"]: layer["precision"] for layer in layers}["Conv"] == "int8"
    assert main(["compare", str(full), str(low)]) == 0
    assert "Conv" in capsys.readouterr().out
    assert main(["report", str(low)]) == 0
    assert "**Passed.**" in capsys.readouterr().out


def test_verify_finds_a_report_that_was_changed(folder, capsys):
    assert convert(folder, "onnxruntime", "fp32") == 0
    report = folder / "onnxruntime-fp32" / "report.md"
    report.write_text(report.read_text().replace("FP32", "INT8", 1))
    assert main(["verify", str(report.parent)]) == 69
    assert "report.md" in capsys.readouterr().err


def test_a_golden_run_that_differs_is_refused(folder, capsys, monkeypatch):
    assert convert(folder, "onnxruntime", "fp32") == 0
    from converters.inspect import checking

    reading = checking.verify

    def other(*arguments, **options):
        engine = reading(*arguments, **options)
        golden = dataclasses.replace(engine.golden, output_samples=engine.golden.output_samples + 1)
        return dataclasses.replace(engine, golden=golden)

    monkeypatch.setattr(checking, "verify", other)
    assert main(["verify", str(folder / "onnxruntime-fp32")]) == 69
    assert "golden run differs" in capsys.readouterr().err


def test_the_listing_tells_what_is_not_measured(folder):
    assert convert(folder, "onnxruntime", "fp16", "--ungated") == 0
    (found,) = list_engines(folder.parent)
    assert "not measured against FP32" in found.problem
