"""The stages of a small configuration, measured; and that a stage which takes 2 ms longer is found by comparing."""

import copy
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from support.site import ball_series, build_engine, save_series, write_config

from benchmarks.cli import main
from benchmarks.compare import compare
from benchmarks.scenarios import pipeline
from edge_runtime.engines.runner import EngineRunner

STAGES = [{"name": "find", "engine": "bright"}, {"name": "again", "engine": "also-bright"}]
CANARY = "also-bright"
ROUNDS, ATTEMPTS = 16, 3


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for name in ("bright", "also-bright"):
        build_engine(folder / "engines", name=name)
    save_series(ball_series("bench"), folder / "series")
    destinations = [{"name": "disk", "type": "folder", "path": str(folder / "out")}]
    return write_config(folder / "site.yaml", folder / "engines", destinations, stages=STAGES, deadline_seconds=30.0)


def run(folder, site, *options, **keys):
    scenario, out = folder / "mine.yaml", folder / "result.json"
    document = {"kind": "pipeline", "config": str(site), "input": str(site.parent / "series"),
                "work": str(folder / "work"), **keys}  # fmt: skip
    scenario.write_text(yaml.safe_dump(document))
    code = main(["run", str(scenario), "--json", str(out), *options])
    result = json.loads(out.read_text())
    assert (code, result["state"]) == (0, "complete"), result["problems"]
    assert not list((folder / "work").iterdir()), "something was left in the work folder"
    return result


def test_stages_and_loads_of_a_configured_pipeline_beside_the_bare_networks(tmp_path, site):
    document = run(tmp_path, site, "--reduced", "--rounds", "2")
    figures, latencies = document["figures"], document["latencies"]
    for what in ("latency p50", "offline throughput", "fixed-rate p50"):
        top, bottom = (figures[f"{what}/{side}"]["samples"] for side in ("edge", "bare"))
        assert np.allclose(figures[f"{what}, edge : bare"]["samples"], np.divide(top, bottom))
    modes = {f"{mode}/{side}": mode for mode in ("single-stream", "offline", "fixed-rate") for side in ("edge", "bare")}
    assert {name: one["mode"] for name, one in latencies.items()} == modes
    stages = {name: one["samples"] for name, one in document["stages"]["single-stream/edge"].items()}
    networks = {name: one["samples"] for name, one in document["stages"]["single-stream/edge, networks"].items()}
    totals = np.concatenate(latencies["single-stream/edge"]["rounds"])
    assert list(stages) == list(networks) == ["find", "again"] and len(totals) == 6
    assert (np.sum(list(stages.values()), axis=0) <= totals + 0.001).all(), "stages take longer than the whole"
    assert all((np.array(networks[one]) <= np.array(stages[one]) + 0.001).all() for one in stages)
    (timeline,) = document["timelines"]
    assert [span["name"] for span in timeline["spans"]] == ["find", "again"]
    assert timeline["spans"][-1]["end_ms"] <= totals.max()
    deadlines = document["deadlines"]
    assert set(deadlines) == {"single-stream/edge", "fixed-rate/edge"}
    assert {one["of"] for one in deadlines.values()} == {"pipelines.find-ball.deadline_seconds"}
    assert all(one["budget_ms"] == 30_000 and one["missed"] == 0 < one["counted"] for one in deadlines.values())
    assert document["checks"]["images in which a stage ran"] == {"find": 6, "again": 6}
    assert document["provenance"]["engines"] and len(document["provenance"]["configuration_sha256"]) == 64


def half(document, first):
    """Every second round of a result, as a result: what slows the machine for a while slows both halves."""
    found = copy.deepcopy(document)
    for figure in found["figures"].values():
        figure["samples"] = figure["samples"][first::2]
    for one in found["latencies"].values():
        one["rounds"] = one["rounds"][first::2]
        one["count"] = sum(map(len, one["rounds"]))
    return found


@pytest.fixture
def canary(monkeypatch):
    """Lets an engine of the runtime sleep in every second round; set its `seconds`."""
    sleeping = SimpleNamespace(seconds=0.0, now=False)
    run_each, run_round = EngineRunner.run_each, pipeline._Bench.round

    def slow(self, inputs):
        if sleeping.now and sleeping.seconds and self.card.name == CANARY:
            time.sleep(sleeping.seconds)
        return run_each(self, inputs)

    def marked(self, number):
        sleeping.now = number % 2 == 0
        run_round(self, number)

    monkeypatch.setattr(EngineRunner, "run_each", slow)
    monkeypatch.setattr(pipeline._Bench, "round", marked)
    return sleeping


def verdicts(tmp_path, site):
    """Of the rounds without the canary, as A, and of those with it, as B."""
    document = run(tmp_path, site, rounds=ROUNDS, images=30, peers=[], loads=[])
    return {one.name: one.verdict for one in compare(half(document, 0), half(document, 1))}


def sooner_or_later(holds):
    """Chance alone calls two equal halves different in about 1 of 20 comparisons; a busy machine hides much."""
    return any(holds() for _ in range(ATTEMPTS))


def test_two_milliseconds_more_in_one_stage_are_found_in_the_stage_and_in_the_whole(tmp_path, site, canary):
    canary.seconds = 0.002
    wanted = ("stage again p50", "latency p50/edge", "single-stream/edge, all latencies, p50")

    def found():
        said = verdicts(tmp_path, site)
        return all(said[name] == "B is worse" for name in wanted)

    assert sooner_or_later(found)


def test_without_a_change_no_stage_is_called_worse(tmp_path, site, canary):
    assert sooner_or_later(lambda: verdicts(tmp_path, site)["stage again p50"] != "B is worse")
