"""The scenarios about engines: what they measure, and against what bound."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.models import build_engine, card, segmenter

from benchmarks import conversion, networks
from benchmarks.cli import main
from benchmarks.compare import compare
from benchmarks.conversion import convert, tree_bytes
from benchmarks.peers import trtexec
from benchmarks.peers.bare_ort import BareOrt
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import engine
from benchmarks.scenarios.engine_runs import Bare
from benchmarks.scenarios.engine_times import Runs
from benchmarks.scenarios.schema import Convert, ConvertTargets, read_scenario
from edge_runtime.backends.base import LayerTime
from edge_runtime.backends.onnxruntime import OnnxRuntimeSession
from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.engines.verify import verify

pytestmark = pytest.mark.slow

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
        return Runs(wall=[self.seconds] * count)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    engines = tmp_path_factory.mktemp("engines")
    return [build_engine(engines, card("segmentation", SHAPE, name=n), segmenter(SHAPE)) for n in "ab"]


def bench(tmp_path, **keys):
    document = {"kind": "engine", "rounds": 2, "runs": 12, "work": str(tmp_path / "work"), "precisions": [], **keys}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    out = tmp_path / "out.json"
    main(["run", str(tmp_path / "mine.yaml"), "--json", str(out)])
    return json.loads(out.read_text())


def test_engines_are_measured_in_turn_with_onnx_runtime_and_under_every_load(tmp_path, built):
    loads = {"loads": ["server", "multi-stream", "offline"], "load_seconds": 0.1, "offline_samples": 6}
    document = bench(tmp_path, engines=[str(path) for path in built], **loads)
    assert document["state"] == "complete", document["problems"]
    figures, latencies = document["figures"], document["latencies"]
    serial = {"h2d", "compute", "d2h", "latency", "enqueue", "wall", "onnxruntime wall", "onnxruntime-defaults wall"}
    ratios = {"edge : onnxruntime", "edge : onnxruntime-defaults"}
    loaded = {"server p50", "multi-stream p50", "offline throughput"}
    assert set(figures) == {f"{name}-fp32/{what}" for name in "ab" for what in serial | ratios | loaded}
    assert all(len(figure["samples"]) == 2 and min(figure["samples"]) > 0 for figure in figures.values())
    assert figures["a-fp32/edge : onnxruntime"]["target"]["bound"] == 1.05
    assert "target" not in figures["a-fp32/edge : onnxruntime-defaults"]
    assert {name: one["mode"] for name, one in latencies.items() if name.startswith("a")} == {
        "a-fp32 single-stream/edge": "single-stream", "a-fp32 single-stream/onnxruntime": "single-stream",
        "a-fp32 single-stream/onnxruntime-defaults": "single-stream", "a-fp32 server/edge": "server",
        "a-fp32 multi-stream/edge": "multi-stream", "a-fp32 offline/edge": "offline",
    }  # fmt: skip
    told = document["details"]["summary of all runs, ms"]["a-fp32/edge"]
    for times in told.values():
        assert times["min"] <= times["median"] <= times["p90"] <= times["p99"] <= times["max"]
    assert document["checks"]["largest difference of the outputs"] == {
        f"{name}-fp32/{peer}": 0 for name in "ab" for peer in ("onnxruntime", "onnxruntime-defaults")
    }
    assert {one["folder"] for one in document["provenance"]["engines"].values()} == {
        "a/onnxruntime-fp32", "b/onnxruntime-fp32"
    }  # fmt: skip
    assert document["provenance"]["instruction_set"] and document["provenance"]["threads"] >= 1
    assert not any("trtexec" in problem for problem in document["problems"])


def test_the_time_of_each_layer_is_told_on_request_where_the_library_tells_it(tmp_path, built, monkeypatch, capsys):
    short = {"engines": [str(built[0])], "peers": [], "runs": 2}
    document = bench(tmp_path, **short, layers=3)
    assert any("its library tells no times of layers" in note for note in document["notes"])
    monkeypatch.setattr(
        OnnxRuntimeSession, "profile", lambda _, runs: (LayerTime("conv", 0.003), LayerTime("relu", runs / 1000)),
        raising=False,
    )  # fmt: skip
    assert bench(tmp_path, **short, layers=1)["details"]["engine/layers, ms"] == [["conv", 3.0], ["relu", 1.0]]
    assert "engine:    3.000 ms  75.0 %  conv" in capsys.readouterr().out
    assert "engine/layers, ms" not in bench(tmp_path, **short)["details"]


def test_copies_and_network_are_parts_of_what_the_caller_waits_for(tmp_path, built):
    document = bench(tmp_path, engines=[str(built[0])], peers=[])
    assert {"engine/latency", "engine/wall"} <= set(document["figures"]), "a single engine's figures have no name"
    parts = [one["samples"] for one in document["stages"]["engine"].values()]
    (walls,) = (one["rounds"] for one in document["latencies"].values())
    sums = np.sum(parts, axis=0)
    assert len(parts) == 3 and len(sums) == 24
    assert (sums <= np.concatenate(walls) + 0.001).all()


def test_a_run_s_latency_is_the_time_from_its_first_event_to_its_last(built):
    backend, device = open_on_cpu(1)
    bare = Bare(verify(built[0], (), allow_unsigned=True), backend, device)
    slot = bare._slots[0]
    assert bare.run(1).latency == [pytest.approx(slot.ended.elapsed_seconds(slot._began))]
    before = slot.output.copy()
    slot.output[:] = -1
    bare.saturate(3)
    assert np.array_equal(slot.output, before), "a saturated run does not bring its output back"
    bare.close()
    device.close()


def test_two_engines_are_compared_by_two_results(tmp_path, built):
    a, b = (bench(tmp_path, engines=[str(one)], peers=[], rounds=5, runs=3) for one in built)
    names = {f"engine/{what}" for what in ("h2d", "compute", "d2h", "latency", "enqueue", "wall")}
    assert names <= {one.name for one in compare(a, b) if "too few" not in one.verdict}


def test_engines_take_turns_in_blocks_and_a_slow_one_is_passed_over():
    fast, slow = Paced(0.001), Paced(0.3)
    found = engine.in_turn({"fast": fast.run, "slow": slow.run}, 25, 2.0)
    assert fast.calls == [1, 10, 10, 4] and slow.calls == [1] * 7
    assert len(found["fast"].wall) == 25 and sum(found["slow"].wall) >= 2


@pytest.mark.parametrize(("here", "bound"), [("avx512_vnni", 2.2), ("avx_vnni", 2.2), ("avx2", None), ("asimd", None)])
def test_int8_has_a_bound_only_where_the_processor_has_vnni(here, bound, monkeypatch):
    monkeypatch.setattr(engine, "instruction_set", lambda: here)
    record = Record({}, reduced=False)
    for name, ms in (("resnet18-fp32", 10.0), ("resnet18-int8", 4.0), ("other-fp32", 1.0)):
        record.add(f"{name}/compute", ms, "ms", higher_is_better=False)
    engine._ratios(record, {})
    ratio = record.figures["resnet18-fp32 : int8"]
    assert ratio.samples == [pytest.approx(2.5)] and (ratio.target and ratio.target.bound) == bound
    assert "resnet18-fp32 : fp16" not in record.figures


def test_engines_are_named_after_model_and_precision_and_two_never_share_a_name():
    a, b = Path("e/a/onnxruntime-fp32"), Path("e/b/onnxruntime-int8")
    assert engine.named([a], several=False) == {"engine": a}
    assert engine.named([a], several=True) == {"a-fp32": a}
    assert engine.named([a, b], several=False) == {"a-fp32": a, "b-int8": b}
    rtx = Path("e/a/tensorrt-rtx-fp32")
    assert engine.named([a, rtx], several=False) == {"a-onnxruntime-fp32": a, "a-tensorrt-rtx-fp32": rtx}
    with pytest.raises(BenchFailed, match="two engines are called a-onnxruntime-fp32"):
        engine.named([a, Path("f/a/onnxruntime-fp32")], several=False)
    with pytest.raises(BenchFailed, match="e/a is no built engine"):
        engine.named([Path("e/a"), b], several=False)


def as_tensorrt(folder):
    """An engine verified as it is, and taken for one of TensorRT where its model is called a."""
    found = verify(folder, (), allow_unsigned=True)
    if folder.parent.name != "a":
        return found
    target = dataclasses.replace(found.passport.target, flavour="tensorrt")
    return dataclasses.replace(found, passport=dataclasses.replace(found.passport, target=target))


def test_a_tensorrt_engine_without_backend_and_trtexec_is_named_once_and_the_others_are_measured(
    tmp_path, built, monkeypatch
):
    monkeypatch.setattr(engine, "_verified", as_tensorrt)
    monkeypatch.setattr(trtexec, "PROGRAMS", {"tensorrt": "trtexec-that-is-not-here"})
    keys = {"peers": ["trtexec"], "loads": ["offline"], "offline_samples": 2}
    document = bench(tmp_path, engines=[str(path) for path in built], **keys)
    assert document["state"] == "complete"
    assert {name.split("/")[0] for name in document["figures"]} == {"b-fp32"}
    said = [problem for problem in document["problems"] if "was not measured" in problem]
    assert len(said) == 2 and "backend is tensorrt" in said[0] and "install it" in said[1]
    described = document["provenance"]["engines"]
    assert set(described) == {"b-fp32"} and document["provenance"]["accelerator"] == "cpu", "an engine that never ran"
    assert described["b-fp32"]["passport"]["flavour"] == "onnxruntime" and "folder" in described["b-fp32"]
    alone = bench(tmp_path, engines=[str(built[0])], **keys)
    assert alone["state"] == "failed" and any("no engine can be measured here" in one for one in alone["problems"])


def test_what_trtexec_measures_is_of_the_gpu_and_stands_beside_no_figure_of_the_processor(tmp_path, built, monkeypatch):
    monkeypatch.setattr(engine, "_verified", as_tensorrt)
    seen = []

    class Fake:
        def run(self, file, count, work):
            seen.append((file.read_bytes(), count))
            return Runs([0.001] * count, [0.002] * count, [0.003] * count, [0.004] * count)

    monkeypatch.setattr(trtexec, "find", lambda flavour: Fake())
    document = bench(tmp_path, engines=[str(path) for path in built], runs=3, peers=["trtexec"])
    ours = {name: one for name, one in document["figures"].items() if name.startswith("a-fp32")}
    assert set(ours) == {f"a-fp32/trtexec {what}" for what in ("h2d", "compute", "d2h", "latency", "enqueue")}
    assert {one["device"] for one in ours.values()} == {"gpu"}
    assert ours["a-fp32/trtexec latency"]["samples"] == [pytest.approx(6)] * 2
    assert document["latencies"]["a-fp32 single-stream/trtexec"]["device"] == "gpu"
    assert document["figures"]["b-fp32/latency"]["device"] == "cpu"
    assert seen == [((built[0] / "engine.onnx").read_bytes(), 3)] * 2


def test_an_output_that_is_not_onnx_runtime_s_fails_the_run(tmp_path, built, monkeypatch):
    monkeypatch.setattr(BareOrt, "answer", lambda *_: np.full((1, 2, 16, 16), 7, np.float32))
    document = bench(tmp_path, engines=[str(built[0])], peers=["onnxruntime"])
    assert document["state"] == "failed" and "differ by" in document["problems"][0]


def test_percentiles_of_all_runs_are_trtexec_s():
    found = Runs(h2d=[0.0] * 100, compute=[n / 1000 for n in range(1, 101)], d2h=[0.0] * 100).summary()
    above = {"p90": 10, "p95": 5, "p99": 1}
    assert {name: found["latency"][name] for name in above} == {name: 100 - n for name, n in above.items()}
    assert found["latency"]["median"] == 50.5 and "wall" not in found


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
    assert engine.INT8_TARGET.bound == 2.2 and engine.ONNXRUNTIME_TARGET.bound == 1.05
    assert Convert("convert").reduced().targets == ConvertTargets()
