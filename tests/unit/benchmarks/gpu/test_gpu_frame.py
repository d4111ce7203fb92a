"""The scenario of single frames on a GPU: its bare side, on the host's device, and where it does not run."""

import numpy as np
import pytest
import yaml
from support.models import build_engine, card, segmenter

from benchmarks import suite
from benchmarks.cli import main
from benchmarks.measured import Accelerator
from benchmarks.record import Record
from benchmarks.scenarios.gpu_frame_bare import BareEngines
from benchmarks.scenarios.schema import read_scenario
from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.engines.verify import verify

SHAPE = (1, 1, 16, 16)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = build_engine(tmp_path_factory.mktemp("engines"), card("segmentation", SHAPE), segmenter(SHAPE))
    return verify(folder, (), allow_unsigned=True)


@pytest.fixture
def bare(engine):
    backend, device = open_on_cpu(1)
    bare = BareEngines({"find": engine, "outline": engine}, ["find", "outline", "outline"], backend, device)
    yield bare, device
    bare.close()
    device.close()


def test_a_frame_of_the_bare_engines_is_the_same_with_a_graph_and_without(bare):
    engines, _ = bare
    engines.run(1, graph=False)
    plain = engines.outputs()
    assert len(plain) == 3 and plain[0].std() > 0
    assert engines.capture() == ""
    for one in engines._lanes[0].runs:
        one.outputs[-1].host[...] = -1
    engines.run(1, graph=True)
    assert all(np.array_equal(a, b) for a, b in zip(plain, engines.outputs(), strict=True))


def test_every_frame_has_its_times_and_takes_no_memory(bare):
    engines, device = bare
    engines.capture()
    before = device.allocations
    times = engines.run(7, graph=True)
    assert len(times.wall) == len(times.device) == len(times.host) == 7 and min(times.wall) > 0
    assert all(inner <= outer for inner, outer in zip(times.device, times.wall, strict=True))
    assert engines.saturate(0.05, graph=True) > 0
    assert device.allocations == before


def test_without_a_gpu_the_scenario_says_that_it_needs_cuda(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"kind": "gpu-frame", "work": str(tmp_path)}))
    assert main(["run", str(tmp_path / "mine.yaml"), "--json", str(tmp_path / "out.json")]) == 1
    assert "this scenario needs CUDA: " in (tmp_path / "out.json").read_text()


def test_the_suite_leaves_it_out_without_a_gpu_and_says_why(capsys, monkeypatch):
    monkeypatch.setattr(suite, "asked", lambda: "no driver is installed")
    assert not suite._possible("gpu-frame") and suite._possible("idle")
    assert "no driver is installed" in capsys.readouterr().out


def test_the_bounds_are_those_of_the_task():
    from benchmarks.scenarios import gpu_frame

    targets = (gpu_frame.END_TO_END_TARGET, gpu_frame.HOST_TARGET, gpu_frame.OVERLAPPED_TARGET, gpu_frame.TAIL_TARGET)
    assert [one.bound for one in targets] == [1.05, 150.0, 0.95, 1.3]
    assert gpu_frame.ALLOCATIONS_TARGET.bound == 0 and gpu_frame.OVERLAPPED_TARGET.at_least


@pytest.mark.parametrize("name", ["engine", "pipeline", "video"])
def test_a_scenario_names_the_device_of_its_networks(name, tmp_path):
    _, shipped = read_scenario(name)
    assert shipped.device in ("auto", "cpu")


def test_what_is_of_a_gpu_stands_beside_no_figure_of_the_processor():
    record = Record({}, reduced=False)
    record.inputs["engines"] = {"a": {"backend": "onnxruntime 1.32.0"}}
    record.on_a_gpu()
    record.add("x", 1.0, "ms", higher_is_better=False)
    assert record.figures["x"].device is Accelerator.GPU and record.inputs["engines"]["a"]["device"] == "gpu"


def test_what_was_forgotten_leaves_no_figure_and_says_why():
    record = Record({}, reduced=False)
    record.add("x", 1.0, "ms", higher_is_better=False)
    record.forget("emulated driver")
    document = record.document("complete", {})
    assert not document["figures"] and document["problems"] == ["emulated driver"]
    assert document["checks"]["figures that were not kept"] == ["x"]
