"""Reduced runs of the scenarios on a small site: what a result holds, never how fast anything is."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from support.dicom_objects import ct_series
from support.models import build_engine, card, network, segmenter
from support.pacs import wait_until
from support.site import ball_series, save_series, write_config

from benchmarks.cli import main
from benchmarks.peers import dcmtk
from benchmarks.peers.day_script import command
from benchmarks.places import FolderPlace, segments
from benchmarks.scenarios.ingest import cases, targets
from benchmarks.scenarios.schema import Ingest

pytestmark = pytest.mark.peer

STEPS = ["decode", "preprocess", "inference", "postprocess", "write", "send"]


def site(tmp_path, engines, modality):
    destinations = [{"name": "disk", "type": "folder", "path": str(tmp_path / "out")}]
    return write_config(tmp_path / "site.yaml", engines, destinations, match={"modality": modality})


def scenario(tmp_path, **keys):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"work": str(tmp_path / "work"), **keys}))
    return str(path)


def run(tmp_path, *arguments):
    out = tmp_path / "result.json"
    code = main(["run", *arguments, "--json", str(out)])
    return code, json.loads(out.read_text())


def assert_sound(document, rounds):
    """What every complete result has."""
    assert document["state"] == "complete", document["problems"]
    assert document["reduced"]
    for name, figure in document["figures"].items():
        assert len(figure["samples"]) == rounds, name
        assert all(sample > 0 for sample in figure["samples"]), name
        low, high = figure["interval_95"]
        assert low <= figure["median"] <= high
        if "of" in figure:
            top, bottom = (document["figures"][one]["samples"] for one in figure["of"])
            assert np.allclose(figure["samples"], np.divide(top, bottom))
        if "target" in figure:
            assert figure["verdict"] == "none: a reduced run"
    provenance = document["provenance"]
    assert provenance["engines"] and all(one["sha256"] for one in provenance["engines"].values())
    assert len(provenance["configuration_sha256"]) == 64
    assert provenance["file_system"]["type"]


def test_ingest_measures_every_case_and_finds_every_acknowledged_instance(tmp_path, engines):
    config = site(tmp_path, engines, "MR")
    code, document = run(tmp_path, scenario(tmp_path, kind="ingest", config=str(config)), "--reduced", "--rounds", "2")
    assert code == 0
    assert_sound(document, rounds=2)
    for case in cases(Ingest(kind="ingest")):
        assert {f"{case.name}/{who}" for who in ("edge", *case.peers)} <= set(document["figures"])
    with_target = {name for name, figure in document["figures"].items() if "target" in figure}
    assert with_target == {f"{case}/edge : {peer}" for case, peer in targets(Ingest(kind="ingest"))}
    checks = document["checks"]
    assert checks["acknowledged_by_edge"] == checks["instances_in_its_spool"] == 2 * (8 + 8 + 4 + 8)
    assert checks["instances_that_match_no_pipeline"] == checks["acknowledged_by_edge"]
    assert not list((tmp_path / "work").iterdir())


def test_idle_names_the_memory_of_every_role_and_what_the_golden_runs_took(tmp_path, engines):
    config = site(tmp_path, engines, "CT")
    targets = {"ready_seconds": 3, "infer_megabytes": 400}
    path = scenario(tmp_path, kind="idle", config=str(config), targets=targets)
    code, document = run(tmp_path, path, "--reduced")
    assert code == 0
    assert_sound(document, rounds=1)
    bounds = {name: figure["target"]["bound"] for name, figure in document["figures"].items() if "target" in figure}
    assert bounds == {"ready": 3, "rss/infer": 400}
    figures = {name: figure["median"] for name, figure in document["figures"].items()}
    assert {f"rss/{role}" for role in ("supervisor", "receive", "infer", "report", "deliver")} <= set(figures)
    assert figures["ready less golden"] == pytest.approx(figures["ready"] - figures["golden"])


@pytest.mark.parametrize("destination", ["folder", "dicom"])
def test_study_follows_a_series_to_its_destination_and_times_the_bare_steps(tmp_path, engines, destination):
    config = site(tmp_path, engines, "CT")
    save_series(ball_series("bench"), tmp_path / "series")
    keys = {"series": str(tmp_path / "series"), "peers": ["sequential"], "destinations": [destination], "rounds": 1}
    path = scenario(tmp_path, kind="study", config=str(config), **keys)
    if destination == "folder":
        code, document = run(tmp_path, path, "--reduced")
        assert_sound(document, rounds=1)
    else:
        code, document = run(tmp_path, path)
        assert any("fewer than 3 rounds" in problem for problem in document["problems"])
    assert code == 0
    assert set(document["figures"]) == {
        f"{destination}/edge", f"{destination}/sequential", f"{destination}/edge : sequential"
    }  # fmt: skip
    (steps,) = document["details"][f"{destination}/steps"]
    assert set(steps["sequential"]) == set(STEPS)
    assert set(steps["edge"]["stages"]) == {"find"}
    parts = [value for key, value in steps["edge"].items() if key != "stages"]
    assert sum(parts) == pytest.approx(document["figures"][f"{destination}/edge"]["samples"][0], abs=0.01)
    assert document["checks"] == {f"{destination}/segments of edge": 1, f"{destination}/dice of edge and sequential": 1}


BRIGHT = {"value": "4147007", "scheme": "SCT", "meaning": "Mass"}
KIND = {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"}


def triage_site(tmp_path):
    """Three stages as those of the head CT pipeline, of networks that see what is brighter than 500 HU, in windows."""
    engines, shape = tmp_path / "engines", (1, 1, 8, 32, 32)
    steps = [{"orient": "SPL"}, {"crop": "region"}, {"resample": {"spacing_mm": [4.0, 3.0, 3.0]}},
             {"window": {"range": [0.0, 1000.0]}}, {"tile": {"shape": [8, 32, 32], "overlap": 0.25}}]  # fmt: skip
    brightest = network(
        [
            helper.make_node("ReduceMax", ["image"], ["most"], axes=[1, 2, 3, 4], keepdims=0),
            helper.make_node("Reshape", ["most", "shape"], ["probability"]),
        ],
        {"image": shape}, {"probability": (1, 1)}, {"shape": np.array([1, 1], dtype=np.int64)},
    )  # fmt: skip
    decode = {"detection": {"keep": "largest"}, "segmentation": {"keep": "each", "minimum_ml": 1.0}}
    for name, task in (("triage", "classification"), ("lesions", "detection"), ("volume", "segmentation")):
        label = {"name": "bright", "channel": 0 if name == "triage" else 1, "threshold": 0.5, "concept": BRIGHT}
        extra = {"category": KIND} if name == "volume" else {}
        document = card(task, shape, name=name, labels=[label | extra], decode=decode.get(task, {}))
        document["preprocess"] = steps if name == "volume" else [step for step in steps if "crop" not in step]
        build_engine(engines, document, brightest if name == "triage" else segmenter(shape))
    stages = [
        {"name": "triage", "engine": "triage"},
        {"name": "lesions", "engine": "lesions", "when": "triage.bright.positive"},
        {"name": "volume", "engine": "volume", "within": "lesions", "margin": 1.0, "optional": True},
    ]
    destinations = [{"name": "disk", "type": "folder", "path": str(tmp_path / "out")}]
    return write_config(tmp_path / "site.yaml", engines, destinations, stages=stages)


def test_a_study_of_several_stages_windows_and_lesions_is_followed_and_compared(tmp_path):
    z, y, x = np.mgrid[0:12, 0:64, 0:64]
    balls = [((z - 6) * 4) ** 2 + (y - row) ** 2 + (x - 32) ** 2 < 100 for row in (20, 44)]
    save_series(ct_series(np.where(np.logical_or(*balls), 900, -1000), spacing_mm=(4.0, 1.0, 1.0)), tmp_path / "series")
    keys = {"series": str(tmp_path / "series"), "peers": ["sequential"]}
    path = scenario(tmp_path, kind="study", config=str(triage_site(tmp_path)), **keys)
    code, document = run(tmp_path, path, "--reduced")
    assert code == 0, document["problems"]
    assert_sound(document, rounds=1)
    assert document["checks"] == {"folder/segments of edge": 2, "folder/dice of edge and sequential": 1.0}
    (steps,) = document["details"]["folder/steps"]
    assert set(steps["edge"]["stages"]) == {"triage", "lesions", "volume"}


def test_a_queue_is_delivered_whole_and_measured_beside_the_bare_engines(tmp_path):
    path = scenario(tmp_path, kind="queue", config=str(triage_site(tmp_path)))
    code, document = run(tmp_path, path, "--reduced")
    assert code == 0, document["problems"]
    figures = document["figures"]
    assert document["checks"] == {"series delivered": 4, "with the same answers as sequential": 4, "positive": 4}
    for peer in ("engines", "sequential"):
        top, bottom = figures["edge"]["samples"], figures[peer]["samples"]
        assert figures[f"edge : {peer}"]["samples"] == [top[0] / bottom[0]]
    bare = [figures[f"sequential/{step}"]["median"] for step in STEPS]
    assert 60 * 4 / sum(bare) == pytest.approx(figures["sequential"]["median"])
    assert 60 * 4 / bare[STEPS.index("inference")] == pytest.approx(figures["engines"]["median"])
    roles = {"supervisor", "receive", "infer", "decode workers", "report", "deliver"}
    assert {name.removeprefix("cpu/") for name in figures if name.startswith("cpu/")} == roles
    assert figures["cpu/infer"]["median"] > 0 and figures["rss/infer/most"]["median"] > 50
    assert {name for name, figure in figures.items() if "target" in figure} == {"edge : engines", "infer growth"}
    assert not list((tmp_path / "work").iterdir())


def test_a_study_that_fails_says_why_and_ends_with_1(tmp_path, engines):
    config = site(tmp_path, engines, "CT")
    series = ball_series("gap")
    save_series(series[:3] + series[4:], tmp_path / "series")
    keys = {"series": str(tmp_path / "series"), "peers": [], "give_up_seconds": 20}
    code, document = run(tmp_path, scenario(tmp_path, kind="study", config=str(config), **keys), "--reduced")
    assert (code, document["state"]) == (1, "failed")
    assert "missing_slices" in document["problems"][0]


def test_a_missing_peer_is_named_with_what_installs_it(tmp_path, engines, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    config = site(tmp_path, engines, "MR")
    code, document = run(tmp_path, scenario(tmp_path, kind="ingest", config=str(config)), "--reduced")
    assert (code, document["state"]) == (1, "failed")
    assert "apt-get install dcmtk" in document["problems"][0]
    assert document["provenance"]["dcmtk"] == "absent"


def test_an_interrupted_run_keeps_what_it_measured_and_leaves_no_process(tmp_path, engines):
    config = site(tmp_path, engines, "MR")
    path = scenario(tmp_path, kind="ingest", config=str(config), slices=8, stock_slices=4, rounds=1000)
    out, log = tmp_path / "result.json", tmp_path / "bench.log"
    with log.open("wb") as said:
        bench = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cli", "run", path, "--json", str(out)],
            stdout=said, stderr=said, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    wait_until(lambda: b"round 1 of" in log.read_bytes(), 60)
    bench.send_signal(signal.SIGTERM)
    assert bench.wait(30) == 1
    document = json.loads(out.read_text())
    assert document["state"] == "interrupted"
    assert any("interrupted" in problem for problem in document["problems"])
    assert document["figures"]["one-association/edge"]["samples"]
    assert not list((tmp_path / "work").iterdir())


def small_network(folder):
    """Two channels of probability: what is brighter than the mean."""
    constants = [("steep", 40.0), ("mean", 0.449), ("one", 1.0)]
    nodes = [
        helper.make_node("Sub", ["image", "mean"], ["d"]),
        helper.make_node("Mul", ["d", "steep"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probability"], axis=1),
    ]
    shapes = [("image", [1, 1, 32, 32, 32]), ("probability", [1, 2, 32, 32, 32])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes]
    initializers = [numpy_helper.from_array(np.float32(value).reshape(()), name) for name, value in constants]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    built = folder / "onnxruntime-fp32"
    built.mkdir(parents=True)
    onnx.save(model, built / "engine.onnx")
    return folder


def test_the_day_script_answers_a_series_with_seg_sr_captures_and_json(tmp_path):
    network = small_network(tmp_path / "network")
    place = FolderPlace(tmp_path / "at")
    (tmp_path / "in").mkdir()
    save_series(ball_series("script"), tmp_path / "in")
    engine = network / "onnxruntime-fp32" / "engine.onnx"
    with dcmtk.listening(command([engine, engine], 0.3, place.argument), tmp_path / "script") as port:
        began = time.time()
        dcmtk.send([tmp_path / "in"], port, tuned=True, verbose=True)
        wait_until(lambda: "delivered" in (tmp_path / "script.log").read_text(), 20)
    files = place.files()
    assert [path.suffix for path in files].count(".dcm") == 6 and [path.suffix for path in files].count(".json") == 1
    assert place.last_arrival() > began
    (mask,) = segments(files)
    assert sum(int(frame.sum()) for frame in mask.values()) == pytest.approx(718, rel=0.2)
