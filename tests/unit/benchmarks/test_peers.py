"""What is known of peers without running one: what is missing, how they are configured, what their logs say."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.arrivals import Mode
from benchmarks.peers import dcmtk, orthanc
from benchmarks.record import Record
from benchmarks.scenarios import ingest_receivers, study_systems
from benchmarks.scenarios.ingest import cases, state_shortfall
from benchmarks.scenarios.schema import Ingest
from benchmarks.scenarios.study_breakdown import (
    CLOSE,
    DELIVER,
    INFER,
    MISSING,
    REPORT,
    StudyDeadline,
    breakdown,
    spans,
    stage_seconds,
)


def test_a_missing_orthanc_is_told_with_what_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert orthanc.missing() == "Orthanc is not on PATH; install it: apt-get install orthanc"
    assert orthanc.missing(plugin=True).endswith("apt-get install orthanc orthanc-python")
    (one_association, *_) = cases(Ingest(kind="ingest"))
    assert set(ingest_receivers.missing(one_association.peers)) == {"orthanc", "orthanc-fastest"}
    assert set(study_systems.missing(["sequential", "day_script", "orthanc_plugin"])) == {"orthanc_plugin"}
    assert study_systems.missing(["sequential"]) == {}


def test_the_plugin_must_hold_this_python_for_it_loads_this_environments_packages(tmp_path):
    plugin = tmp_path / "libOrthancPython.so"
    assert "apt-get install orthanc orthanc-python" in orthanc.plugin_missing(plugin, (3, 11))
    plugin.write_bytes(b"\0libpython3.11.so.1.0\0")
    assert orthanc.plugin_missing(plugin, (3, 11)) is None
    for other in ((3, 1), (3, 12)):
        assert f"another Python than this environment's {other[0]}.{other[1]}" in orthanc.plugin_missing(plugin, other)


def test_orthanc_is_local_and_as_installed_but_for_what_is_named():
    told = orthanc.settings(Path("/work"), 1, 2, {"MaximumPduLength": 3})
    assert told["RemoteAccessAllowed"] is False and told["StorageCompression"] is False
    assert (told["DicomPort"], told["HttpPort"], told["MaximumPduLength"]) == (1, 2, 3)
    assert "SyncStorageArea" not in told, "its default, true, is what is measured"


@pytest.mark.parametrize(("quiet", "age"), [(0.2, 1), (1.0, 1), (1.5, 2), (5.0, 5)])
def test_orthancs_quiet_time_is_in_whole_seconds(quiet, age):
    assert study_systems.stable_age(quiet) == age


def test_a_line_that_is_not_written_to_its_end_tells_of_no_delivery(tmp_path):
    log = tmp_path / "log"
    log.write_text('W1 x.cpp:1] delivered {"send": 1.0}\nnothing\ndelivered {"send"')
    assert study_systems.delivered(log) == [{"send": 1.0}]


STEPS = {CLOSE: 0.1, INFER: 2.0, "stages": {"locate": 0.5, "brain": 1.25}, REPORT: 0.4, DELIVER: 0.2}
times = st.floats(0, 100)


def test_the_breakdown_of_a_log_adds_up_to_the_whole(tmp_path):
    result = tmp_path / "jobs" / "one" / "report" / "result.json"
    result.parent.mkdir(parents=True)
    result.write_text(json.dumps({"stages": [{"name": "find", "seconds": 0.5}]}))
    lines = [
        "1970-01-01T00:01:45.125Z INFO infer: series complete job=00",
        "1970-01-01T00:01:47.000Z INFO infer: job concluded job=00",
        "1970-01-01T00:01:48.000Z INFO report: report written job=00",
    ]
    steps = breakdown(lines, 100.0, 5.0, 108.5, tmp_path)
    assert steps == {CLOSE: 0.125, INFER: 1.875, "stages": {"find": 0.5}, REPORT: 1.0, DELIVER: 0.5}
    lacking = breakdown(lines[:1], 100.0, 5.0, 108.5, tmp_path)
    assert lacking == {MISSING: ["job concluded", "report written"]}
    assert stage_seconds(lacking) == {} and spans(lacking, 5.0) == []


def test_no_time_is_in_two_stages():
    assert list(stage_seconds(STEPS)) == ["close", "assemble", "stage locate", "stage brain", "report", "deliver"]
    assert stage_seconds(STEPS)["assemble"] == 0.25


@given(st.floats(-0.1, 1), times, st.dictionaries(st.sampled_from("abc"), times), times, times, times)
def test_spans_follow_each_other_and_stages_lie_within_their_role(close, infer, stages, report, deliver, quiet):
    found = spans({CLOSE: close, INFER: infer, "stages": stages, REPORT: report, DELIVER: deliver}, quiet)
    outer = [span for span in found if span.lane != "stages"]
    assert outer[0].begin_seconds == 0
    assert all(a.end_seconds == b.begin_seconds for a, b in pairwise(outer))
    (role,) = (span for span in found if span.name == INFER)
    inner = [span for span in found if span.lane == "stages"]
    assert [span.name for span in inner] == list(stages)
    for span in inner:
        assert role.begin_seconds <= span.begin_seconds <= span.end_seconds <= role.end_seconds


@pytest.mark.parametrize(
    ("text", "seconds", "late"), [("deadline_seconds: 8", 8, True), ("results: [sr]", None, False)]
)
def test_a_deadline_is_what_the_configuration_itself_says(tmp_path, text, seconds, late):
    (tmp_path / "site.yaml").write_text(f"pipelines:\n  - name: head\n    {text}\n")
    found = StudyDeadline.read(str(tmp_path / "site.yaml"))
    assert found == StudyDeadline("pipelines.head.deadline_seconds", seconds)
    assert found.missed(8.5) is late and not found.missed(7.5)


def test_fewer_queries_than_loadgen_asks_for_are_stated_once():
    record = Record({}, reduced=False)
    record.add_latencies("few", Mode.SINGLE_STREAM, [0.5] * 200)
    record.add_latencies("short", Mode.SINGLE_STREAM, [0.001] * 2000)
    record.add_latencies("enough", Mode.SINGLE_STREAM, [0.06] * 2000)
    for _ in range(2):
        state_shortfall(record)
    assert [problem.partition(":")[0] for problem in record.problems] == ["few", "short"]


def test_storescu_is_dcmtks_also_where_the_virtual_environment_comes_first_on_the_path(monkeypatch, tmp_path):
    """pynetdicom installs programs of the same names."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert dcmtk.environment(no_delay=False)["PATH"] == "/usr/bin:/bin"
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    assert dcmtk.environment(no_delay=False)["PATH"].startswith(f"{tmp_path}/bin"), (
        "a system's Python is no environment"
    )
