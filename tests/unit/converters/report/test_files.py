"""The report's files: they say the same again, and nothing of the machine they were made on."""

import dataclasses
import importlib.util
import json
import os
import platform
import re
from pathlib import Path

import pytest
from support.reports import build_report, latency

from converters.report import BuildReport, read_report, render, write_report
from converters.report.model import Histogram, LayerRow, NamedLatency
from edge_runtime.errors import ConfigurationError

pytestmark = pytest.mark.slow

PLOTS = {f"report-{name}.svg" for name in ("metrics", "layers", "calibration", "size", "latency")}


def test_a_report_is_read_back_as_it_was_written_and_gives_the_same_bytes_again(tmp_path):
    report = build_report()
    written = write_report(report, tmp_path)
    assert set(written) == {p.name for p in tmp_path.iterdir()} == {"report.json", "report.md", *PLOTS}
    assert read_report(tmp_path) == report
    assert render(read_report(tmp_path)) == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(extra=1), "report must have exactly the keys"),
        (lambda d: d.pop("metrics"), "report must have exactly the keys"),
        (lambda d: d["sizes"][0].update(size_bytes="1"), r"report.sizes\[0\].size_bytes must be int, got str"),
        (lambda d: d.update(schema_version=2), "schema_version: is 2, this program reads 1"),
        (lambda d: d["histograms"][0].update(counts=[]), r"report.histograms\[0\]: a histogram has bins"),
        (lambda d: d["parity"].update(maximum_absolute_error=float("nan")), "maximum_absolute_error: must be finite"),
    ],
)
def test_a_report_that_was_altered_is_refused_with_the_key(tmp_path, change, message):
    document = dataclasses.asdict(build_report())
    document = json.loads(json.dumps(document))
    change(document)
    (tmp_path / "report.json").write_text(json.dumps(document))
    with pytest.raises(ConfigurationError, match=message):
        read_report(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path, data):
    (tmp_path / "report.json").write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"report\.json is no JSON"):
        read_report(tmp_path)


def test_a_folder_without_a_report_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"has no report\.json; name the folder of an engine"):
        read_report(tmp_path)
    (tmp_path / "report.json").mkdir()
    with pytest.raises(ConfigurationError, match=r"report\.json cannot be read"):
        read_report(tmp_path)


def test_a_plan_that_has_not_run_has_no_latency_at_all():
    measured = (NamedLatency("network on the CPU", latency(0.01)),)
    with pytest.raises(ValueError, match="has not run has none"):
        build_report(target="tensorrt-rtx", runs_here=False, latency=measured)
    files = render(build_report(target="tensorrt-rtx", engine_file="engine.plan", runs_here=False, latency=()))
    assert "report-latency.svg" not in files
    assert b"Not measured: the plan has not run on a GPU." in files["report.md"]


def test_no_figure_may_be_infinite_or_nan():
    with pytest.raises(ValueError, match=r"report.layers\[0\].sqnr_db: must be finite"):
        build_report(layers=(LayerRow("a", "Conv", float("inf"), 0.0),))


@pytest.mark.parametrize(
    "values", [{"counts": ()}, {"high": 0.0}, {"range_low": 2.0}], ids=["no bins", "no width", "range turned around"]
)
def test_a_histogram_without_bins_or_range_is_none(values):
    with pytest.raises(ValueError, match="a histogram has bins"):
        Histogram(**{**dataclasses.asdict(build_report().histograms[0]), "range_high": 1.0, "low": 0.0, **values})


def test_a_report_names_files_and_no_folder_and_no_host(tmp_path):
    secret = tmp_path / "patient-doe 1"
    secret.mkdir()
    report = build_report(
        command=("edge-convert", "build", str(secret / "card"), f"--key={secret}/key.pem", "--output", "~/x/y"),
        options=(f"timing cache {tmp_path}/cache.bin",),
        warnings=(f"{tmp_path}/a.dcm was left out", "layer /model/conv1/Conv stays in FP32"),
    )
    whole = b"".join(render(report).values()).decode()
    assert report.command == ("edge-convert", "build", "card", "--key=key.pem", "--output", "y")
    assert report.warnings == ("a.dcm was left out", "layer /model/conv1/Conv stays in FP32")
    for word in ("patient-doe", str(tmp_path), str(Path.home()), os.getcwd()):
        assert word not in whole
    assert not re.search(rf"\b{re.escape(platform.node())}\b", whole)


def test_without_matplotlib_the_report_says_how_to_get_its_plots(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert write_report(build_report(), tmp_path) == ("report.json", "report.md")
    text = (tmp_path / "report.md").read_text()
    assert "pip install 'edge-runtime[convert]'" in text and ".svg" not in text


def test_the_smallest_report_has_only_what_it_knows():
    everything = dataclasses.asdict(build_report())
    known = {f.name for f in dataclasses.fields(BuildReport) if f.default is dataclasses.MISSING}
    report = BuildReport(**{**{k: v for k, v in everything.items() if k in known}, "sizes": ()})
    assert set(render(report)) == {"report.json", "report.md"}
