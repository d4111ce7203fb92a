"""Cold starts: the time line of a start, the page cache, the script beside it."""

import itertools
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models import double

from benchmarks.cli import main
from benchmarks.peers import cold_ort
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import cold_start, page_cache
from benchmarks.scenarios.cold_start import Started
from benchmarks.scenarios.cold_start_schema import ColdStart
from benchmarks.scenarios.cold_start_timeline import spans_between, time_line
from benchmarks.scenarios.idle import golden_runs
from edge_runtime import config

pytestmark = pytest.mark.slow

LOG = """2026-01-01T00:00:01.000Z INFO supervisor: started http_port=1 pid=2
2026-01-01T00:00:03.500Z INFO infer: engine answers its golden input as built pipeline=p engine=a seconds=0.5
2026-01-01T00:00:04.000Z INFO infer: engine answers its golden input as built pipeline=p engine=b seconds=0.25
2026-01-01T00:00:04.100Z INFO supervisor: ready
2026-01-01T00:00:08.000Z INFO infer: series complete job=00 pipeline=p
2026-01-01T00:00:09.000Z INFO infer: job concluded job=00 outcome=complete
2026-01-01T00:00:09.500Z INFO report: report written job=00 files=3
2026-01-01T00:00:20.000Z INFO infer: series complete job=01 pipeline=p
"""
MIDNIGHT = 1767225600.0


def test_a_time_line_tells_a_start_and_the_first_study_from_the_log():
    spans = time_line(LOG, MIDNIGHT, MIDNIGHT + 6, MIDNIGHT + 10)
    assert [(s.lane, s.name, s.begin_seconds, s.end_seconds) for s in spans] == [
        ("supervisor", "start of the command", 0, 1),
        ("supervisor", "start of the roles", 1, pytest.approx(4.1)),
        ("infer", "imports, engines verified and loaded", 1, 3),
        ("infer", "golden run of a", 3, 3.5),
        ("infer", "golden run of b", 3.5, 4),
        ("first study", "quiet time", 6, 8),
        ("first study", "assemble and infer", 8, 9),
        ("first study", "report", 9, 9.5),
        ("first study", "deliver", 9.5, 10),
    ]


def test_golden_runs_are_named_with_their_seconds():
    assert golden_runs(LOG) == [("a", 0.5), ("b", 0.25)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(-5, 5)), max_size=8))
def test_spans_of_a_lane_follow_one_another_whatever_the_clocks_say(some):
    marks = [(lane, "x", at) for lane, at in sorted(some, key=lambda one: one[0])]
    spans = spans_between(marks)
    assert len(spans) == sum(max(0, sum(lane == one for lane, _ in some) - 1) for one in "ab")
    for lane in "ab":
        own = [span for span in spans if span.lane == lane]
        assert all(a.end_seconds == b.begin_seconds for a, b in itertools.pairwise(own))


def test_until_the_first_result_is_ready_and_then_the_study():
    assert Started(2.0, (0.5, 0.25)).until_first == 2.5


def test_what_is_put_out_of_the_page_cache_is_read_again(tmp_path):
    file, empty = tmp_path / "engine", tmp_path / "empty"
    file.write_bytes(bytes(1_000_000))
    empty.touch()
    file.read_bytes()
    assert page_cache.cached_bytes([file, empty]) >= 1_000_000
    page_cache.put_out([file, empty])
    left = page_cache.cached_bytes([file, empty])
    if left:  # a file system in memory has nowhere else to keep it
        pytest.skip("this file system keeps its files in the page cache")
    assert file.read_bytes() == bytes(1_000_000)


def test_the_files_of_a_start_are_the_runtime_its_packages_and_python():
    files = [str(path) for path in page_cache.environment_files()]
    for part in ("edge_runtime/cli.py", "onnxruntime/__init__.py", "pydicom/__init__.py", "json/__init__.py"):
        assert any(path.endswith(part) for path in files), part
    assert not any("site-packages/torch/" in path or "site-packages/matplotlib/" in path for path in files)


def test_where_the_runtime_is_not_installed_its_packages_are_not_guessed(monkeypatch):
    monkeypatch.setattr(page_cache, "_PRODUCT", "no-such-package")
    with pytest.raises(BenchFailed, match="pip install"):
        page_cache.environment_files()


def test_the_script_says_when_its_networks_have_answered(tmp_path):
    networks = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for network in networks:
        network.write_bytes(double())
    done = subprocess.run(cold_ort.command(networks), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ready", "answered"]


def test_a_script_without_its_networks_is_a_problem_and_the_rest_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(cold_start, "series_named", lambda name, work: [])
    stages = (config.Stage("find", "nothing-built"),)
    site = config.Config(config.Spool("s"), (config.Pipeline("p", stages),), engines=config.Engines(str(tmp_path)))
    record = Record({}, reduced=True)
    bench = cold_start._Bench(ColdStart("cold-start", caches=("warm",)), record, site, tmp_path)
    assert bench._peers == ()
    assert "peer script was not measured" in record.problems[0] and "edge-convert build" in record.problems[0]


def test_a_reduced_version_has_a_first_and_a_later_study():
    reduced = ColdStart("cold-start").reduced()
    assert (reduced.rounds, reduced.studies, reduced.caches) == (1, 2, ("warm", "cold"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("studies: 1\n", "studies: must be at least 2"),
        ("caches: []\n", "caches: name at least one"),
        ("caches: [hot]\n", "hot"),
        ("peers: [nobody]\n", "nobody"),
        ("quiet_seconds: 0\n", "quiet_seconds: must be positive"),
        ("cache: [warm]\n", "did you mean 'caches'"),
    ],
)
def test_a_scenario_that_does_not_fit_is_one_usage_error(text, said, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(f"kind: cold-start\n{text}")
    assert main(["run", str(tmp_path / "mine.yaml"), "--json", str(tmp_path / "out.json")]) == 2
    assert said in capsys.readouterr().err
