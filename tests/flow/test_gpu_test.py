"""`make gpu-test` itself: on a machine without a GPU, and all its parts on the emulated driver."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_NEEDED = """
from importlib.machinery import PathFinder

NAMES = {NAMES}
find = PathFinder.find_spec


def without(_, name, path=None, target=None):
    return None if name.partition(".")[0] in NAMES else find(name, path, target)


PathFinder.find_spec = classmethod(without)
"""
ABSENT = {
    "PIL", "av", "cv2", "gdcm", "highdicom", "imagecodecs", "matplotlib", "monai", "nibabel", "openjpeg", "paho",
    "pylibjpeg", "pynetdicom", "pytest_timeout", "requests", "selenium", "tensorrt_lean", "tensorrt_rtx", "torch",
    "xdist",
}  # fmt: skip


@pytest.fixture
def bare_python(tmp_path):
    """The environment of a Python that has only what the command is said to need."""
    (tmp_path / "sitecustomize.py").write_text(NOT_NEEDED.replace("{NAMES}", repr(ABSENT)))
    return {**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def gpu_test(environment, *options):
    command = [sys.executable, "-m", "benchmarks.gpu", *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


def test_on_a_machine_without_a_gpu_it_says_why_and_ends_with_0(tmp_path, bare_python):
    out = tmp_path / "out.json"
    done = gpu_test({**bare_python, "CUDA_VISIBLE_DEVICES": ""}, "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "there is no GPU here, so nothing was tested: " in done.stdout and not out.exists()


def test_every_part_runs_on_the_emulated_driver_with_no_package_that_is_not_named(tmp_path, bare_python):
    out = tmp_path / "out.json"
    chosen = "graphs,site,speed,engines,scenario pipeline"
    done = gpu_test(bare_python, "--emulated", "--json", str(out), "--steps", chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(out.read_text())
    assert {one["name"]: one["outcome"] for one in document["steps"]} == dict.fromkeys(
        ["device", *chosen.split(",")], "passed"
    )
    assert document["state"] == "complete" and "emulated" in document["driver"]
    steps = {one["name"]: one["details"] for one in document["steps"]}
    frame = steps["speed"]["result"]
    assert not frame["figures"] and not frame["latencies"], "the emulated driver gives no figure"
    assert any("emulated driver" in problem for problem in frame["problems"])
    assert set(frame["checks"]["allocations in all counted frames"].values()) == {0}
    assert frame["checks"]["cost 1/runs of the engines in a frame"] == ["triage", "find", "outline"]
    way = frame["details"]["cost 1/what the pipeline did until then"]
    assert way["edge_graphs_total captured"] > 0 and "edge_stage_runs_total host" not in way
    engines = steps["engines"]["engines"]
    assert {one["outcome"] for name, one in engines.items() if "tensorrt-fp32" in name} == {"right"}
    assert document["provenance"]["accelerator"] == "cpu"
