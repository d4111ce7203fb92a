"""Reduced runs of the scenarios about engines, with the real network and the real command."""

import json

import pytest
import yaml

from benchmarks.cli import main

pytestmark = pytest.mark.real
pytest.importorskip("monai")


def run(tmp_path, **scenario):
    """What a reduced run of a scenario writes."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"work": str(tmp_path / "work"), **scenario}))
    out = tmp_path / "out.json"
    code = main(["run", str(tmp_path / "mine.yaml"), "--reduced", "--json", str(out)])
    document = json.loads(out.read_text())
    assert (code, document["state"]) == (0, "complete"), document["problems"]
    assert not list((tmp_path / "work").iterdir())
    return document


def test_a_conversion_is_timed_with_its_steps_and_passes_its_gate(tmp_path):
    document = run(tmp_path, kind="convert")
    figures, checks = document["figures"], document["checks"]
    assert set(figures) == {"all", "peak", "onnxruntime-int8", "onnxruntime-int8/peak"}
    assert figures["all"]["samples"] == figures["onnxruntime-int8"]["samples"]
    (shares,) = document["details"]["onnxruntime-int8/share of each step"]
    assert sum(shares.values()) == pytest.approx(1, abs=0.01) and "building for onnxruntime" in shares
    fp32, int8 = checks["onnxruntime-int8/metrics"]["auc"]
    assert fp32 > 0.8 and int8 >= fp32 - 0.01
    assert len(document["provenance"]["engines"]["onnxruntime-int8"]["sha256"]) == 64


@pytest.mark.full
def test_resnet18_is_measured_in_both_precisions_beside_each_other(tmp_path):
    figures = run(tmp_path, kind="engine")["figures"]
    compute = {name: figures[f"resnet18-{name}/compute"]["samples"][0] for name in ("fp32", "int8")}
    assert figures["resnet18-fp32 : int8"]["samples"] == [pytest.approx(compute["fp32"] / compute["int8"])]
