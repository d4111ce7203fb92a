"""Loads on a real engine and on `infer` in its process: what must hold whatever the machine, never how fast it is."""

import json
import shutil
import threading
import time

import pytest
import yaml
from support.models import build_engine, card, segmenter

from benchmarks.cli import main
from benchmarks.live import networks, site
from benchmarks.load.arrivals import Load, Mode
from benchmarks.load.generator import Called, run_load
from benchmarks.statistics import median
from converters.build import build
from converters.made import Request
from converters.progress import Progress
from edge_runtime.backends.registry import open_on_cpu
from edge_runtime.engines.golden import golden_image
from edge_runtime.engines.runner import load_runner
from edge_runtime.engines.verify import verify
from edge_runtime.preprocess import compile_recipe

SHAPE = (1, 1, 64, 64)
SLOW_SECONDS = 0.002
LOADS = [
    Load(Mode.SINGLE_STREAM, queries=20, seconds=0.1, warm_up_queries=2),
    Load(Mode.MULTI_STREAM, queries=10, samples_per_query=4, warm_up_queries=2),
    Load(Mode.SERVER, queries=20, seconds=0.2, rate=100, warm_up_queries=2),
    Load(Mode.OFFLINE, samples_per_query=40, warm_up_queries=1),
    Load(Mode.FIXED_RATE, queries=20, seconds=0.2, rate=25, streams=4, warm_up_queries=2),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build_engine(tmp_path_factory.mktemp("engines"), card("segmentation", SHAPE), segmenter(SHAPE))


@pytest.fixture(scope="module")
def once(tiny):
    """One run of a real engine; a call for each sample."""
    engine = verify(tiny, (), allow_unsigned=True)
    backend, device = open_on_cpu(1)
    runner = load_runner(engine, backend, device)
    prepared = next(iter(compile_recipe(engine.card)(golden_image(engine.golden.seed), None, 0.0))).inputs[0].array

    def call(samples):
        for _ in samples:
            runner.run(prepared)

    yield call
    runner.close()
    device.close()


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.mode.value)
def test_every_mode_on_a_real_engine_answers_all_and_its_throughput_is_what_was_answered(load, once):
    with Called(once, workers=1 if load.mode.open_loop else 0) as system:
        loaded = run_load(load, system)
    counted = len(loaded.queries)
    assert counted >= load.queries and loaded.seconds >= load.seconds and loaded.unanswered == 0
    assert (loaded.warm_up, loaded.queries[0].number) == (load.warm_up_queries, load.warm_up_queries)
    assert all(0 <= one.scheduled <= one.issued <= one.completed <= loaded.seconds for one in loaded.queries)
    assert loaded.throughput * loaded.seconds == pytest.approx(counted * load.samples_per_query)
    assert len(loaded.latencies) == (0 if load.mode is Mode.OFFLINE else counted)
    assert all("LoadGen" in said or "late" in said for said in loaded.shortfalls())


def test_one_query_after_the_other_is_never_more_than_one_at_once(once):
    loaded = run_load(LOADS[0], Called(once))
    assert all(b.issued >= a.completed for a, b in zip(loaded.queries, loaded.queries[1:], strict=False))
    assert sum(loaded.latencies) <= loaded.seconds


@pytest.mark.parametrize("load", [one for one in LOADS if one.mode is not Mode.OFFLINE], ids=lambda one: one.mode.value)
def test_the_canary_two_milliseconds_more_in_a_sample_are_in_every_latency(load, once):
    def slow(samples):
        once(samples)
        time.sleep(SLOW_SECONDS)

    with Called(slow, workers=1 if load.mode.open_loop else 0) as system:
        assert min(run_load(load, system).latencies) >= SLOW_SECONDS


def test_a_system_that_stalls_once_shows_it_in_every_query_that_was_scheduled_meanwhile():
    stall, stalled = 0.3, threading.Event()

    def call(samples):
        if samples == (10,):
            stalled.set()
            time.sleep(stall)

    with Called(call, workers=1) as system:
        loaded = run_load(Load(Mode.FIXED_RATE, queries=60, rate=100.0), system)
    assert stalled.is_set()
    for one in loaded.queries[10:36]:
        assert one.completed - one.scheduled >= loaded.queries[10].issued + stall - one.scheduled
    assert median(loaded.latencies[10:36]) > stall / 3, "not in the one that met it alone"


@pytest.fixture
def small_discs(tmp_path, monkeypatch):
    """Networks of live video at a small cost."""
    monkeypatch.setattr(networks, "DEPTH", dict.fromkeys(networks.DEPTH, 1))
    folder = tmp_path / "discs"
    for model in networks.write_networks(folder):
        asked = Request(
            model, "onnxruntime", "fp32", model / "onnxruntime-fp32", (model / "network.onnx").read_bytes(), None
        )
        build(asked, Progress(lambda _: None))
    monkeypatch.setattr(site, "_build_discs", lambda engines, *_: shutil.copytree(folder, engines))


def test_idle_gap_has_what_each_pause_and_gap_does_to_both_systems(tmp_path, tiny, small_discs):
    scenario, out = tmp_path / "mine.yaml", tmp_path / "result.json"
    keys = {"work": str(tmp_path / "work"), "engine": str(tiny)}
    scenario.write_text(yaml.safe_dump({"kind": "idle-gap", **keys}))
    code = main(["run", str(scenario), "--reduced", "--json", str(out)])
    document = json.loads(out.read_text())
    assert (code, document["state"]) == (0, "complete"), document["problems"]
    pauses = ["no pause", "after 0.01 s", "after 0.1 s"]
    gaps = ["a frame every 0.04 s", "a frame every 0.1 s"]
    modes = {name: one["mode"] for name, one in document["latencies"].items()}
    assert modes == {
        f"{case}/{system}": "fixed-rate" if case in gaps else "single-stream"
        for case in pauses + gaps
        for system in ("edge", "bare")
    }
    figures = document["figures"]
    for name, kept in document["latencies"].items():
        assert kept["count"] + kept["unanswered"] == 2 and min(kept["rounds"][0]) > 0
        assert figures[name]["median"] == pytest.approx(median(kept["rounds"][0]), abs=1e-3)
    for first, *rest in (pauses, gaps):
        for case in rest:
            ratio = figures[f"{case}/edge"]["median"] / figures[f"{first}/edge"]["median"]
            assert figures[f"{case} : {first}/edge"]["median"] == pytest.approx(ratio)
    assert len(document["provenance"]["engines"]) == 4, "the engine, and the three of the pipeline"
    assert document["checks"]["results with the bare peer's answers"] >= 10
    assert not list((tmp_path / "work").iterdir()), "something was left in the work folder"
