"""The reference pipelines go their way on a CUDA driver (an emulated one) and say what they say on the processor."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import fake_engines, host_cuda, host_kernels
from support.built_engines import built_engines

TESTS = Path(__file__).parents[1]
NAMES = {
    "endoscopy": ("endoscopy-informative", "endoscopy-polyp-detector", "endoscopy-polyp-segmenter"),
    "ct-head-triage": ("ct-hemorrhage-classifier", "ct-hemorrhage-detector", "ct-hemorrhage-segmenter"),
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """The reference engines, for ONNX Runtime and for the fake TensorRT."""
    folder = tmp_path_factory.mktemp("engines")
    names = [name for each in NAMES.values() for name in each]
    built = built_engines(names)
    for name in names:
        shutil.copytree(built / name, folder / name)
        fake_engines.as_tensorrt(folder / name / "onnxruntime-fp32")
    return folder


def run(engines, name, tmp_path, **facts):
    calls = tmp_path / "calls"
    calls.touch()
    environment = host_cuda.environment(kernels=host_kernels.library(), sm=fake_engines.SM, log=calls, **facts)
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (TESTS / "support" / "fake_tensorrt_module", TESTS)))
    command = [sys.executable, "-m", "support.pipelines_on_cuda", str(engines), name]
    ended = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    *found, last = map(json.loads, ended.stdout.splitlines())
    return found, last


@pytest.mark.parametrize("integrated", [False, True], ids=["card", "integrated"])
@pytest.mark.parametrize("name", list(NAMES))
def test_every_image_gets_the_answers_that_the_processor_gives(engines, name, integrated, tmp_path):
    found, last = run(engines, name, tmp_path, integrated=integrated)
    for one in found:
        assert one["outcomes"][0] == one["outcomes"][1] and one["answers"][0] == one["answers"][1]
        assert one["probability"] < 1e-4 and sum(one["voxels"]) <= 1e-3 * sum(one["masks"])
    assert any(one["masks"] for one in found) and not all(one["masks"] for one in found)
    ways = {way for key in last["ways"] if (way := key.split()[1])}
    assert ways == {"host", "device"}, "both sides ran"


@pytest.mark.parametrize("integrated", [False, True], ids=["card", "integrated"])
def test_a_picture_costs_one_graph_and_one_wait_for_each_decision_and_takes_no_memory(engines, integrated, tmp_path):
    """The outline waits for what the detector finds: two launches and two waits with polyps, else one."""
    found, _ = run(engines, "endoscopy", tmp_path, integrated=integrated)
    for one in found:
        decisions = 2 if one["outcomes"][0][2][0] == "ran" else 1
        assert one["calls"].get("cuGraphLaunch") == one["calls"].get("cuEventSynchronize") == decisions
        forbidden = ("Alloc", "Malloc", "Register", "cuLaunchKernel", "StreamSynchronize", "Memcpy", "Capture")
        assert not [call for call in one["calls"] if any(word in call for word in forbidden)]
