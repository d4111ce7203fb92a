"""Reduced runs of the scenarios about growth and cold starts: what a result holds, never how fast anything is."""

import json

import pytest
import yaml
from support.site import ball_series, save_series, write_config

from benchmarks.cli import main
from benchmarks.scenarios import page_cache
from benchmarks.scenarios.scaling_schema import PARTS, Scaling

pytestmark = pytest.mark.peer

CURVES = {
    "streams": {"streams/processor", "streams/latency"},
    "slices": {"slices/receive", "slices/result"},
    "associations": {"associations/edge", "associations/edge processor", "associations/storescp --fork"},
    "engines": {"engines/memory", "engines/load", "engines/run"},
}


def run(tmp_path, **keys):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"work": str(tmp_path / "work"), **keys}))
    out = tmp_path / "result.json"
    code = main(["run", str(tmp_path / "mine.yaml"), "--reduced", "--json", str(out)])
    document = json.loads(out.read_text())
    assert (code, document["state"]) == (0, "complete"), document["problems"]
    assert not list((tmp_path / "work").iterdir()), "something was left in the work folder"
    return document


def test_scaling_has_a_cost_at_every_size_of_every_part(tmp_path):
    document = run(tmp_path, kind="scaling")
    scenario = Scaling("scaling").reduced()
    assert set(document["curves"]) == set().union(*CURVES.values())
    for part in PARTS:
        for name in CURVES[part]:
            curve = document["curves"][name]
            assert (curve["axis"], curve["growth"]) == (part, "too few points"), name
            assert [point["size"] for point in curve["points"]] == list(getattr(scenario, part)), name
            for point in curve["points"]:
                (cost,), (whole,) = point["samples"], document["details"]["totals"][name][str(point["size"])]
                assert cost > 0 and cost * whole["units"] == pytest.approx(whole["total"]), name
    for size in scenario.associations:
        edge, peer, ratio = (
            document["figures"][f"{size} associations/{name}"]["samples"][0]
            for name in ("edge", "storescp --fork", "edge : storescp --fork")
        )
        assert ratio == pytest.approx(edge / peer)
    weights = scenario.engine_megabytes
    memory = [point["median"] for point in document["curves"]["engines/memory"]["points"]]
    assert all(weights <= one <= 20 * weights for one in memory), "each engine has weights of its own in memory"
    provenance = document["provenance"]
    assert all(one["sha256"] for one in provenance["engines"].values())
    assert {len(one) for one in provenance["configurations_sha256"].values()} == {64}


def test_cold_start_tells_ready_first_and_later_results_beside_the_script(tmp_path, engines, monkeypatch):
    own = [path for path in engines.rglob("*") if path.is_file()]
    monkeypatch.setattr(page_cache, "environment_files", lambda: own)  # the rest of this machine stays as it is
    destinations = [{"name": "disk", "type": "folder", "path": str(tmp_path / "out")}]
    config = write_config(tmp_path / "site.yaml", engines, destinations, match={"modality": "CT"})
    save_series(ball_series("cold"), tmp_path / "series")
    document = run(tmp_path, kind="cold-start", config=str(config), series=str(tmp_path / "series"))
    figures = {name: figure["samples"][0] for name, figure in document["figures"].items()}
    assert all(value > 0 for value in figures.values())
    for cache in ("warm", "cold"):
        for system in ("edge", "script"):
            parts = figures[f"{cache}/{system} ready"] + figures[f"{cache}/{system} first result"]
            assert figures[f"{cache}/{system} ready + first result"] == pytest.approx(parts)
        ratio = figures[f"{cache}/edge ready + first result"] / figures[f"{cache}/script ready + first result"]
        assert figures[f"{cache}/edge : script"] == pytest.approx(ratio)
    steady = figures["warm/edge first result"] / figures["warm/edge steady result"]
    assert figures["warm/edge first : steady"] == pytest.approx(steady)
    assert "cold/edge steady result" not in figures
    if not any("came before the kill" in problem for problem in document["problems"]):  # on a machine that is too slow
        assert figures["restart/first result"] > 0 and document["checks"]["results of an interrupted study"] == 1
    left = document["details"]["cold: megabytes still in the page cache"]
    assert len(left) == 2, "before the daemon and before the script"
    assert [one["name"] for one in document["timelines"]] == ["warm start", "cold start"]
    for one in document["timelines"]:
        assert {span["lane"] for span in one["spans"]} == {"supervisor", "infer", "first study"}
        assert all(0 <= span["begin_ms"] <= span["end_ms"] for span in one["spans"])
    assert document["provenance"]["engines"]
