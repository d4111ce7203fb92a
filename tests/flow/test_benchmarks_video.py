"""Reduced runs of the scenarios of live video on small networks: what a result holds, never how fast anything is."""

import itertools
import json
import shutil
from contextlib import ExitStack

import pytest
import yaml
from support import slow_infer
from support.ct_head import engines_folder

from benchmarks.cli import main
from benchmarks.live import networks, site
from benchmarks.live.bench import ROLE_MODULE, LiveBench
from benchmarks.live.camera import why_no_camera
from benchmarks.live.daemon import OUTCOMES
from benchmarks.record import Record
from benchmarks.scenarios import mixed
from benchmarks.scenarios.video import in_ms
from converters.build import build
from converters.made import Request as BuildRequest
from converters.progress import Progress

PROCESSES = {"supervisor", "receive", "infer", "report", "deliver", "live", "capture-camera"}


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """The three networks at a small cost, built."""
    folder = tmp_path_factory.mktemp("discs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "DEPTH", dict.fromkeys(networks.DEPTH, 1))
        models = networks.write_networks(folder)
    for model in models:
        checkpoint = (model / "network.onnx").read_bytes()
        build(BuildRequest(model, "onnxruntime", "fp32", model / "onnxruntime-fp32", checkpoint, None),
              Progress(lambda _: None))  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def small(discs, monkeypatch):
    monkeypatch.setattr(site, "_build_discs", lambda engines, *_: shutil.copytree(discs, engines))


def run(tmp_path, kind, **keys):
    scenario, out = tmp_path / "mine.yaml", tmp_path / "result.json"
    scenario.write_text(yaml.safe_dump({"kind": kind, "work": str(tmp_path / "work"), **keys}))
    code = main(["run", str(scenario), "--reduced", "--json", str(out)])
    document = json.loads(out.read_text())
    assert (code, document["state"]) == (0, "complete"), document["problems"]
    for name, figure in document["figures"].items():
        low, high = figure["interval_95"]
        assert low <= figure["median"] <= high, name
        assert figure.get("verdict", "none: a reduced run") == "none: a reduced run"
    provenance = document["provenance"]
    assert provenance["engines"] and all(one["sha256"] for one in provenance["engines"].values())
    assert len(provenance["configuration_sha256"]) == 64
    assert not list((tmp_path / "work").iterdir()), "something was left in the work folder"
    return document


def medians(document):
    return {name: figure["median"] for name, figure in document["figures"].items()}


def parts_add_up_to_the_latency(document, name):
    """Of each frame by itself; stages that did not run are missing, so only frames with all of them are told apart."""
    stages, (latencies,) = document["stages"][name], document["latencies"][name]["rounds"]
    assert {"triage", "find", "outline"} < set(stages)
    frames = list(zip(*(one["samples"] for one in stages.values()), strict=True))
    assert [sum(parts) for parts in frames] == pytest.approx(latencies, abs=0.01)
    assert all(sum(parts[:-1]) <= latency + 0.01 for parts, latency in zip(frames, latencies, strict=True))
    (line,) = [one for one in document["timelines"] if one["name"] == name]
    spans = line["spans"]
    assert all(before["end_ms"] == after["begin_ms"] for before, after in itertools.pairwise(spans))
    assert spans[0]["begin_ms"] == 0 and min(latencies) <= spans[-1]["end_ms"] + 0.01 <= max(latencies) + 0.02


def test_video_has_the_latencies_of_both_sides_frame_by_frame(tmp_path):
    document = run(tmp_path, "video")
    found, checks, details = medians(document), document["checks"], document["details"]
    for case in ("half load", "25/s"):
        (left_out,) = details[f"{case}/frames left out"]
        for side in ("edge", "bare"):
            latencies = document["latencies"][f"{case}/{side}"]
            assert latencies["mode"] == "fixed-rate" and min(latencies["rounds"][0]) > 0
            assert latencies["unanswered"] == len(left_out[side])
        offered = document["latencies"][f"{case}/edge"]["count"] + len(left_out["edge"])
        both = offered - len(set(left_out["edge"]) | set(left_out["bare"]))
        assert details[f"{case}/frames that both analysed"] == [both] and both
        parts_add_up_to_the_latency(document, f"{case}/edge")
        assert found[f"{case}/allowed p50"] == pytest.approx(0.05 * found[f"{case}/bare p50"] + 1)
        assert found[f"{case}/added p50"] <= found[f"{case}/added p99"]
        ratio = found[f"{case}/added p50"] / found[f"{case}/allowed p50"]
        assert found[f"{case}/added : allowed"] == pytest.approx(ratio)
    assert found["saturated/edge : bare"] == pytest.approx(found["saturated/edge"] / found["saturated/bare"])
    assert checks["frames on which every stage runs"] == 4
    assert checks["results with the bare peer's answers"] > 20
    assert checks["frames of edge: late"] == checks["frames of edge: failed"] == 0
    if why_no_camera() is not None:
        assert any("camera was not measured" in problem for problem in document["problems"])
        return
    for system in ("edge", "opencv", "fifo"):
        latencies, deadline = document["latencies"][f"camera/{system}"], document["deadlines"][f"camera/{system}"]
        assert latencies["count"] + latencies["unanswered"] == deadline["counted"] > 20
        assert deadline["missed"] >= latencies["unanswered"]
        assert found[f"camera/{system}, in time"] == pytest.approx(1 - deadline["missed"] / deadline["counted"])
    parts_add_up_to_the_latency(document, "camera/edge")
    assert details["camera/opencv agrees with edge on pictures, share"] == [1.0]


def test_the_canary_two_milliseconds_more_in_a_stage_are_added_latency(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "tests")
    least: dict[str, float] = {}  # noise of the machine only adds
    with ExitStack() as stack:
        bench = LiveBench("synthetic", 4, 1, tmp_path, Record({}, reduced=True), stack)
        modules = {"quick": ROLE_MODULE, "canary": slow_infer.__name__}
        infers = {name: bench.infer(name, 2.0, module) for name, module in modules.items()}
        for _ in range(3):
            for name, infer in infers.items():
                latencies = in_ms(infer.play(bench.frames, 40.0, 40))
                least[name] = min(least.get(name, 1e9), *latencies.values())
    assert least["canary"] - least["quick"] > 0.75 * 1000 * slow_infer.SLOW_SECONDS


def test_overload_judges_the_daemon_and_its_peers_by_the_same_deadlines(tmp_path):
    document = run(tmp_path, "overload")
    found, checks = medians(document), document["checks"]
    deadlines = checks["deadlines, ms"]
    assert set(deadlines) == {"50 x service", "2000 ms"}
    for deadline in deadlines:
        for system in ("edge", "fifo", "newest"):
            assert 0 <= found[f"{deadline}/{system}, in time"] <= 1
        counts = checks[f"{deadline}/frames of edge"]
        (latencies,) = document["latencies"][f"{deadline}/edge"]["rounds"]
        assert counts["in_time"] >= len(latencies) > 0, "every result is of a frame that was in time"
        assert counts["superseded"] > 0, "there is no overload"
    assert found["fifo/latency of the last frame"] > max(document["latencies"]["newest"]["rounds"][0])


def test_mixed_counts_live_frames_with_and_without_a_study(tmp_path, monkeypatch):
    engines_folder()
    monkeypatch.setattr(mixed, "build_engines", lambda _: None)
    document = run(tmp_path, "mixed")
    found = medians(document)
    assert found["rise"] == pytest.approx(found["with a study"] - found["alone"])
    assert found["study"] > 1.0, "a series is closed after its quiet time"
    for name in ("alone", "with a study"):
        (counts,) = document["details"][f"{name}, frames by outcome"]
        assert set(counts) == set(OUTCOMES) and counts["in_time"] > 0
        assert found[name] == pytest.approx(100 * (1 - counts["in_time"] / sum(counts.values())))
    assert any("ct-head-triage" in line for line in document["checks"]["where studies run"])


def test_soak_watches_every_process_and_a_run_of_simulated_frames(tmp_path):
    document = run(tmp_path, "soak")
    names = {name.partition("/")[0] for name in document["figures"]}
    assert names == {"simulated frames", *PROCESSES}
    for name in names:
        kinds = {figure.partition("/")[2] for figure in document["figures"] if figure.startswith(f"{name}/")}
        assert kinds == {"growth of memory", "growth of threads", "growth of descriptors"}
        assert len(document["details"][f"{name}: at, MB, threads, descriptors"]) == 401
    simulated = document["checks"]["simulated frames"]
    begun = sum(count for outcome, count in simulated["counts"].items() if outcome != "superseded")
    assert begun >= 1000
    assert len(simulated["decisions"]) > 1, "the policy had nothing to decide"
    assert document["checks"]["real frames by outcome"]["in_time"] > 0
