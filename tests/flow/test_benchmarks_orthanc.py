"""Orthanc as a receiver and as a runtime, beside the others in reduced runs; and runs on a machine without it."""

import json
import shutil

import numpy as np
import pytest
import yaml
from onnx import helper
from support.models import build_engine, card, network
from support.site import ball_series, save_series, write_config

from benchmarks.cli import main
from benchmarks.peers import dcmtk, orthanc
from benchmarks.slices import CtSlices

pytestmark = pytest.mark.peer

SIDE = 32
PEERS = ["sequential", "day_script", "orthanc_plugin"]


def run(tmp_path, *arguments, **keys):
    path, out = tmp_path / "mine.yaml", tmp_path / "result.json"
    path.write_text(yaml.safe_dump({"work": str(tmp_path / "work"), **keys}))
    code = main(["run", str(path), "--json", str(out), "--reduced", *arguments])
    document = json.loads(out.read_text())
    assert (code, document["state"]) == (0, "complete"), document["problems"]
    return document


def brain_like_site(tmp_path):
    """A locator and a segmenter within its box as those of the head MR, of networks that see what is bright."""
    shape, window = (1, 1, SIDE, SIDE, SIDE), {"quantiles": [0.005, 0.995]}
    nodes = [
        helper.make_node("Sub", ["image", "mean"], ["d"]),
        helper.make_node("Mul", ["d", "steep"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probability"], axis=1),
    ]
    constants = {"mean": np.float32(0.6), "steep": np.float32(40), "one": np.float32(1)}
    bright = network(nodes, {"image": shape}, {"probability": (1, 2, *shape[2:])}, constants)
    resize = {"resize": {"shape": [SIDE] * 3, "method": "nearest-exact"}}
    finish = {"standardize": {"mean": 0.449, "deviation": 0.226}}
    locate = card("detection", shape, name="locate", decode={"keep": "largest", "planes_above": 0.02})
    locate["preprocess"] = [{"orient": "RAS"}, resize, {"window": window}, finish]
    find = card("segmentation", shape, name="brain", decode={"keep": "largest", "fill_holes": True})
    whole = {"window": {**window, "over": "whole", "resized": [SIDE] * 3}}
    find["preprocess"] = [{"orient": "RAS"}, {"crop": "region"}, resize, whole, finish]
    for document in (locate, find):
        build_engine(tmp_path / "engines", document, bright)
    stages = [
        {"name": "locate", "engine": "locate"},
        {"name": "brain", "engine": "brain", "within": "locate", "margin": 0.1},
    ]
    destinations = [{"name": "disk", "type": "folder", "path": str(tmp_path / "out")}]
    keys = {"stages": stages, "complete_after_seconds": 1}
    return write_config(tmp_path / "site.yaml", tmp_path / "engines", destinations, **keys)


def test_a_study_gives_the_same_segment_with_every_peer_and_its_steps_are_at_most_the_whole(tmp_path):
    save_series(ball_series("peers", slices=16), tmp_path / "series")
    keys = {"kind": "study", "config": str(brain_like_site(tmp_path)), "series": str(tmp_path / "series")}
    document = run(tmp_path, peers=PEERS, **keys)
    figures = {name: figure["samples"][0] for name, figure in document["figures"].items()}
    assert {f"folder/{name}" for name in ("edge", *PEERS)} < set(figures)
    assert all(document["checks"][f"folder/dice of edge and {peer}"] >= 0.98 for peer in PEERS)
    (steps,) = document["details"]["folder/steps"]
    for peer in ("day_script", "orthanc_plugin"):
        assert set(steps[peer]) == {"decode", "infer", "write", "send"}
    for peer in PEERS:
        assert sum(steps[peer].values()) <= figures[f"folder/{peer}"] + 0.05
    stages = document["stages"]["folder/edge"]
    assert set(stages) == {"close", "assemble", "stage locate", "stage brain", "report", "deliver"}
    early = max(0.0, -steps["edge"]["close after the quiet time"])
    assert sum(stage["samples"][0] for stage in stages.values()) <= 1000 * (figures["folder/edge"] + early) + 10
    (timeline,) = document["timelines"]
    assert [span["name"] for span in timeline["spans"] if span["lane"] == "stages"] == ["locate", "brain"]
    deadline = document["deadlines"]["folder/edge"]
    assert deadline == {"budget_ms": None, "of": "pipelines.find-ball.deadline_seconds", "counted": 1, "missed": 0}
    assert any("pipelines.find-ball.deadline_seconds is not in" in problem for problem in document["problems"])
    assert not list((tmp_path / "work").iterdir())


def test_without_orthanc_a_run_says_what_was_not_measured_and_goes_on(tmp_path, engines, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("storescu", "storescp"):
        (programs / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(programs))
    destinations = [{"name": "disk", "type": "folder", "path": str(tmp_path / "out")}]
    config = write_config(tmp_path / "site.yaml", engines, destinations, match={"modality": "MR"})
    document = run(tmp_path, kind="ingest", config=str(config))
    for peer in ("orthanc", "orthanc-fastest"):
        sentence = f"peer {peer} was not measured: Orthanc is not on PATH; install it: apt-get install orthanc"
        assert document["problems"].count(sentence) == 1
    assert not any("orthanc" in name for name in (*document["figures"], *document["latencies"]))
    for name in ("edge", "storescp"):
        kept = document["latencies"][f"latency/{name}"]
        assert (kept["mode"], kept["warm_up"], kept["count"]) == ("single-stream", 1, 7)
    assert any("latency/edge: 7 queries" in problem for problem in document["problems"])


def test_orthanc_is_emptied_and_goes_on(tmp_path):
    slices = CtSlices(3)
    with orthanc.receiver(tmp_path / "orthanc", no_delay=True) as running:
        for number in (1, 2):
            sent = dcmtk.send(slices.write(tmp_path / f"in-{number}", 3), running.dicom_port, tuned=True, verbose=True)
            count, stored_bytes = running.stored()
            assert count == sent.acknowledged == len(sent.response_seconds) == 3
            assert stored_bytes >= 3 * (slices.bytes_each - 1024)
            assert sum(sent.response_seconds) <= sent.seconds
            running.empty()
            assert running.stored() == (0, 0)
