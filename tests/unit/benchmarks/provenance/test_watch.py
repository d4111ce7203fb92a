"""The whole of a result's provenance: what it has, what it warns of, and what it never tells."""

import getpass
import json
import re
import socket
import time
from pathlib import Path

import pytest
from support.models import build_engine, card, segmenter

from benchmarks.provenance import PACKAGES, Watch, accelerator_of, described
from benchmarks.provenance.watch import disturbances
from edge_runtime.engines.verify import verify

SHAPE = (1, 1, 16, 16)
GPU = {"detector": {"backend": "tensorrt 10.3.0"}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = build_engine(tmp_path_factory.mktemp("engines"), card("segmentation", SHAPE), segmenter(SHAPE))
    return described(verify(folder, (), allow_unsigned=True, allow_ungated=True))


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    watch = Watch()
    time.sleep(0.1)
    return watch.document(tmp_path_factory.mktemp("work"))


def test_a_result_has_the_machine_its_state_twice_and_its_load(document):
    for key in ("kernel", "machine", "cores", "memory_bytes", "packages", "peers", "before", "after", "date"):
        assert document[key], key
    assert set(PACKAGES) == set(document["packages"]) and set(document["peers"]) == {"dcmtk", "orthanc", "trtexec"}
    load = document["load"]
    assert {"busy_share", "others_share", "steal_share", "load_average", "time_line"} <= set(load)
    assert 0 <= document["cpu_share_of_other_programs"] <= 1
    assert document["accelerator"] == "cpu" and document["device"].endswith("no accelerator was used")


def test_a_result_names_no_host_no_user_and_no_path_of_the_machine(document, engine):
    text = json.dumps({**document, "engines": {"one": engine}})
    for own in (socket.gethostname(), str(Path.home()), str(Path.cwd()), "/tmp", f"/{getpass.getuser()}"):
        assert not re.search(rf"(?<!\w){re.escape(own)}\b", text), own
    assert "uuid" not in text.lower() and "serial" not in text.lower()


def test_a_run_that_ends_at_once_has_a_document(tmp_path):
    watch = Watch()
    found = watch.document(tmp_path)
    assert found["load"]["samples"] >= 1 and watch.unrest(found) is not None


def test_a_sampler_that_failed_is_a_problem(tmp_path, monkeypatch):
    watch = Watch()
    monkeypatch.setattr(watch._sampler, "_failed", "OSError: gone")
    found = watch.document(tmp_path)
    assert "the load of the machine during the run is not fully known: OSError: gone" in watch.unrest(found)


def loads(others=0.0, steal=0.0, others_minute=0.0, steal_minute=0.0):
    told = {
        "others_share": {"whole_run": others, "worst_minute": others_minute},
        "steal_share": {"whole_run": steal, "worst_minute": steal_minute},
    }
    return {"cpu_share_of_other_programs": others + steal, "load": told}


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (loads(), []),
        (loads(others=0.1, steal=0.0), []),
        (loads(others=0.15), ["other programs took 15%"]),
        (loads(others=0.05, steal=0.02), []),
        (loads(others=0.05, steal=0.03), ["its hypervisor gave 3.0%"]),
        (loads(others=0.05, others_minute=0.6), ["in its worst minute other programs took 60%"]),
        (loads(steal=0.01, steal_minute=0.05), ["gave 5.0%"]),
        ({"cpu_share_of_other_programs": None, "load": {}}, ["not fully known: one sample"]),
    ],
)
def test_a_machine_that_was_disturbed_is_said_to_be(load, expected):
    found = disturbances(load)
    assert len(found) == len(expected)
    assert all(text in sentence for text, sentence in zip(expected, found, strict=True))


def test_a_changed_power_mode_is_in_the_problems(tmp_path, monkeypatch):
    modes = iter(["0: MAXN", "1: 15W"])
    monkeypatch.setattr("benchmarks.provenance.watch.state", lambda: {"power_mode": next(modes)})
    watch = Watch()
    found = watch.unrest(watch.document(tmp_path))
    assert "the power mode changed during the run from 0: MAXN to 1: 15W" in found


@pytest.mark.parametrize(("engines", "told"), [(GPU, True), ({}, False)])
def test_a_gpu_that_was_held_back_matters_to_a_run_that_used_it(tmp_path, monkeypatch, engines, told):
    monkeypatch.setattr("benchmarks.provenance.watch.state", lambda: {"gpus": [{"reasons": ["hw_slowdown"]}]})
    watch = Watch()
    found = watch.unrest(watch.document(tmp_path, engines))
    assert ("GPU 0 was held back after the run: hw_slowdown" in found) == told


def test_a_run_on_a_gpu_is_called_so(tmp_path):
    found = Watch().document(tmp_path, GPU)
    assert found["accelerator"] == "gpu" and found["device"].startswith("GPU: ")


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        ([], "cpu"),
        (["onnxruntime 1.32.0"], "cpu"),
        (["onnxruntime 1.32.0", "tensorrt 10.3.0"], "gpu"),
        (["tensorrt_rtx 1.3"], "gpu"),
        (["onnxruntime 1.32.0", "openvino 2026"], "unknown"),
        (["tensorrt 10.3.0", "openvino 2026"], "gpu"),
    ],
)
def test_the_accelerator_is_that_of_the_engines_backends(backends, expected):
    assert accelerator_of({str(i): {"backend": backend} for i, backend in enumerate(backends)}) == expected


def test_an_engine_that_was_built_and_not_run_used_no_accelerator():
    assert accelerator_of({"one": {"sha256": "0", "precision": "int8"}}) == "cpu"


def test_an_engine_is_told_with_its_passport_and_without_what_that_leaves_open(engine):
    assert len(engine["sha256"]) == 64 and engine["precision"] == "fp32"
    passport = engine["passport"]
    assert engine["backend"] == f"{passport['flavour']} {passport['flavour_version']}"
    assert passport["schema_version"] == 2 and len(passport["onnx_sha256"]) == 64 and passport["signed"] is False
    assert passport["builder"] and None not in passport.values() and "device_name" not in passport
    assert set(engine) == {"sha256", "precision", "backend", "passport"}
