"""The scenarios about engines: what they measure, and against what bound."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from support.models import build_engine, card, segmenter

from benchmarks import conversion, networks
from benchmarks.cli import main
from benchmarks.conversion import convert, tree_bytes
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import engine
from benchmarks.scenarios.engine import Runs
from benchmarks.scenarios.schema import Convert, ConvertTargets, Engine, read_scenario

SHAPE = (1, 1, 16, 16)
TREE = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print('ready', flush=True); p.wait()"
HUNGRY = """
import sys, time
block = bytearray(200_000_000)
time.sleep(0.5)
sys.exit("out of luck" if sys.argv[-1] == "fp16" else 0)
"""


class Paced:
    """An engine whose runs take a fixed time."""

    def __init__(self, seconds):
        self.seconds, self.calls = seconds, []

    def run(self, count):
        self.calls.append(count)
        return Runs([self.seconds] * count, [self.seconds / 10] * count)


def runs(seconds):
    return Runs([seconds] * 3, [seconds / 10] * 3)


@pytest.fixture
def built(tmp_path):
    return [build_engine(tmp_path / "engines", card("segmentation", SHAPE, name=n), segmenter(SHAPE)) for n in "ab"]


def test_built_engines_are_measured_in_turn_and_described(tmp_path, built):
    keys = {"work": str(tmp_path / "work"), "precisions": [], "engines": [str(path) for path in built]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"kind": "engine", "rounds": 2, "runs": 12, **keys}))
    out = tmp_path / "out.json"
    main(["run", str(tmp_path / "mine.yaml"), "--json", str(out)])
    document = json.loads(out.read_text())
    figures = document["figures"]
    assert set(figures) == {f"{name}-fp32/{what}" for name in "ab" for what in ("compute", "enqueue")}
    assert all(len(figure["samples"]) == 2 and min(figure["samples"]) > 0 for figure in figures.values())
    told = document["details"]["compute of all runs"]["a-fp32"]
    assert told["runs"] == 24 and told["p50"] > 0 and told["p90"] >= told["p50"] and told["p99"] is None
    assert {one["precision"] for one in document["provenance"]["engines"].values()} == {"fp32"}
    assert document["provenance"]["instruction_set"] and document["provenance"]["threads"] >= 1


def test_engines_take_turns_in_blocks_and_a_slow_one_is_passed_over():
    fast, slow = Paced(0.001), Paced(0.3)
    found = engine._round({"fast": fast, "slow": slow}, Engine("engine", runs=25, seconds=2.0, engines=("x",)))
    assert fast.calls == [10, 10, 5] and slow.calls == [10]
    assert len(found["fast"].compute) == 25


@pytest.mark.parametrize(("here", "bound"), [("avx512_vnni", 2.2), ("avx_vnni", 2.2), ("avx2", None), ("asimd", None)])
def test_int8_has_a_bound_only_where_the_processor_has_vnni(here, bound, monkeypatch):
    monkeypatch.setattr(engine, "instruction_set", lambda: here)
    record = Record({}, reduced=False)
    engine._add_round(record, {"resnet18-fp32": runs(0.01), "resnet18-int8": runs(0.004), "other-fp32": runs(1.0)})
    ratio = record.figures["resnet18-fp32 : int8"]
    assert ratio.samples == [pytest.approx(2.5)] and (ratio.target and ratio.target.bound) == bound
    assert "resnet18-fp32 : fp16" not in record.figures


def test_pictures_are_the_same_each_time_and_no_set_shares_one():
    sets = [networks.calibration(4), networks.holdout(4), networks._samples(networks.FITTING[:4])]
    hashes = [sample.sha256 for samples in sets for sample in samples]
    assert len(set(hashes)) == 12
    assert hashlib.sha256(networks.picture(3)).digest() == hashlib.sha256(networks.picture(3)).digest()
    assert [bool(sample.truth.positive) for sample in networks.holdout(4)] == [False, True, False, True]


def test_the_head_separates_what_its_features_separate():
    random = np.random.default_rng(0)
    positive = np.arange(40) % 2
    features = random.normal(size=(40, 8)) + 3 * positive[:, None]
    weight, bias = networks._head(features, positive)
    assert (((features @ weight + bias) > 0) == positive).all() and weight.dtype == np.float32


def test_memory_is_that_of_a_process_and_its_children():
    with subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        (child,) = conversion.children(process.pid)
        alone = conversion.memory_bytes(process.pid)
        assert alone < tree_bytes(process.pid) <= alone + conversion.memory_bytes(child) + 1_000_000
        os.kill(child, 15)
    assert tree_bytes(process.pid) == 0


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Another program in place of `edge-convert`."""
    (tmp_path / "hungry.py").write_text(HUNGRY)
    monkeypatch.setattr(conversion, "MODULE", "hungry")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_build_is_timed_and_its_peak_is_seen(tmp_path, instead):
    found = convert(tmp_path / "model", "onnxruntime", "int8", "--x")
    assert found.folder == tmp_path / "model" / "onnxruntime-int8"
    assert found.seconds > 0 and 200e6 < found.peak_bytes < 1e9


def test_a_build_that_fails_says_what_it_said_last(tmp_path, instead):
    with pytest.raises(BenchFailed, match=r"hungry build .* ended with 1: out of luck"):
        convert(tmp_path / "model", "onnxruntime", "int8", "fp16")


def test_the_bounds_are_those_of_the_task():
    assert read_scenario("convert")[1].targets == ConvertTargets(seconds=60, megabytes=3000)
    assert read_scenario("convert")[1].compute_capabilities == ("8.6", "8.9", "12.0")
    assert engine.INT8_TARGET.bound == 2.2
    assert Convert("convert").reduced().targets == ConvertTargets()
