"""The runtime on an emulated GPU, whole: TensorRT's and ONNX Runtime's CUDA path give what the processor gives."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from support.dicom_objects import save_series
from support.fake_engines import as_tensorrt, environment
from support.site import ball_series, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(engines, tmp_path_factory):
    """Engines for ONNX Runtime and for the fake TensorRT."""
    folder = shutil.copytree(engines, tmp_path_factory.mktemp("both") / "engines")
    as_tensorrt(folder / "bright" / "onnxruntime-fp32")
    return folder


@pytest.fixture(scope="module")
def analyse(tmp_path_factory, both):
    """Analyse a series in a process of its own; its findings, or what it says when it fails."""
    tmp_path = tmp_path_factory.mktemp("site")
    save_series(ball_series("one"), tmp_path / "in")
    config = write_config(tmp_path / "site.yaml", both, [])

    def run(name, variables, *overrides):
        options = [part for text in overrides for part in ("--set", text)]
        command = [sys.executable, "-m", "edge_runtime.cli", "analyse", str(config), str(tmp_path / "in"), "--out"]
        done = subprocess.run([*command, str(tmp_path / name), *options], env={**os.environ, **variables},
                              capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        if done.returncode:
            return done.returncode, done.stderr
        (file,) = (tmp_path / name).rglob("*.json")
        return json.loads(file.read_text()), done.stderr

    return run


@pytest.fixture(scope="module")
def expected(analyse):
    """What the processor finds."""
    found, _ = analyse("cpu", {}, "engines.device=cpu")
    assert ran_by(found).startswith("onnxruntime")
    return findings(found)


def findings(document):
    """What a result says was found."""
    assert document["findings"], document["stages"]
    return [{key: value for key, value in one.items() if "uid" not in key} for one in document["findings"]]


def ran_by(document):
    (stage,) = document["stages"]
    return stage["engine"]["backend"]


@pytest.mark.parametrize(
    ("library", "options", "backend"),
    [
        ("tensorrt", ["engines.backend=tensorrt"], "tensorrt 10.13.3.9"),
        ("tensorrt", [], "tensorrt 10.13.3.9"),
        ("onnxruntime", ["engines.device=cuda"], "CUDA"),
        ("onnxruntime", ["engines.cuda.graphs=false"], "CUDA"),
    ],
    ids=["tensorrt", "tensorrt by auto", "onnxruntime", "onnxruntime by auto"],
)
def test_every_way_gives_the_processors_findings_and_the_result_names_it(analyse, expected, library, options, backend):
    found, said = analyse(f"{library} {len(options)} {options}".replace("/", ""), environment(library), *options)
    assert isinstance(found, dict), said
    assert findings(found) == expected
    assert backend in ran_by(found)


def test_an_engine_of_another_version_ends_with_69_and_the_command_that_rebuilds(analyse):
    variables = {**environment("tensorrt"), "EDGE_FAKE_TENSORRT": "11.4.0"}
    code, said = analyse("version", variables, "engines.backend=tensorrt")
    assert code == 69
    assert "it was built by tensorrt 10.13.3.9, this machine has 11.4.0; run: edge-convert build" in said


def test_tensorrt_without_a_driver_ends_with_69_and_says_why(analyse):
    variables = {**environment("tensorrt"), "LD_LIBRARY_PATH": ""}
    code, said = analyse("driver", variables, "engines.backend=tensorrt")
    assert code == 69 and "engines.backend is tensorrt: " in said
