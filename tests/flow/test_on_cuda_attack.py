"""On an emulated driver that fails now and then, no picture gets another's answer, and what fails has a name."""

import json
import os
import subprocess
import sys

import pytest
from support import fake_engines
from support.models import build_engine, card, classifier, segmenter

pytestmark = pytest.mark.slow
FRAME = (1, 1, 8, 8)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    build_engine(folder, card("classification", FRAME, name="classify"), classifier(FRAME))
    build_engine(folder, card("detection", FRAME, name="each", decode={"keep": "each"}), segmenter(FRAME))
    build_engine(folder, card("segmentation", FRAME, name="segment"), segmenter(FRAME))
    for name in ("classify", "each", "segment"):
        fake_engines.as_tensorrt(folder / name / "onnxruntime-fp32")
    return folder


def run(built, tmp_path, fault, pictures, **facts):
    environment = fake_engines.environment("tensorrt", fault_file=tmp_path / "fault", **facts)
    command = [sys.executable, "-m", "support.lanes_on_cuda", str(built), fault, str(pictures)]
    ended = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120,
                           check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-4000:]
    return json.loads(ended.stdout)


@pytest.mark.parametrize("integrated", [False, True], ids=["card", "integrated"])
def test_lanes_side_by_side_answer_each_picture_with_its_own_number(built, tmp_path, integrated):
    found = run(built, tmp_path, "", 600, integrated=integrated)
    assert found["said"] == {"right": 1200} and set(found["graphs"]) == {"captured"}


FAULTS = (
    "cuStreamBeginCapture@1=900",
    "cuStreamEndCapture@1=901",
    "cuGraphInstantiate@1=2",
    "cuGraphInstantiate@2=801",
    "cuGraphUpload@1=2",
    "cuEventRecordWithFlags@3=801",
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_graph_that_cannot_be_made_costs_no_answer_and_is_counted(built, tmp_path, fault):
    found = run(built, tmp_path, fault, 60)
    assert found["said"] == {"right": 120} and found["graphs"]["fallback"] >= 1


def test_calls_that_fail_give_errors_and_the_pictures_after_them_their_own_answers(built, tmp_path):
    fault = "cuGraphLaunch@9=1;cuLaunchKernel@4=701;cuMemcpyHtoDAsync@7=1;cuEventSynchronize@11=1"
    found = run(built, tmp_path, fault, 100)["said"]
    assert "wrong" not in found and found["right"] >= 190 and sum(found.values()) == 200
