"""Metrics: closed label sets, sums over restarts, the text that Prometheus reads."""

import itertools
import json
import math
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.spools import make_config

from edge_runtime.metrics import METRICS, label_values
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.metrics import LATENCY_BUCKETS_SECONDS, RATIO_BUCKETS, Metric, NullMetrics, RoleMetrics

FEW = {
    "edge_seen_total": Metric("counter", "Seen.", {"place": None, "end": ("good", "bad")}),
    "edge_level": Metric("gauge", "Level."),
    "edge_wait_seconds": Metric("histogram", "Wait.", {"place": None}),
}
PLACES = {"place": ("here", "there")}


def samples(exposition: Exposition) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition.render().decode())
        for sample in family.samples
    }


def seen(exposition: Exposition, place: str = "here", end: str = "good") -> float:
    return samples(exposition)["edge_seen_total", (("end", end), ("place", place))]


@pytest.fixture
def role() -> RoleMetrics:
    return RoleMetrics(FEW, PLACES)


@pytest.fixture
def exposition() -> Exposition:
    return Exposition(FEW, PLACES)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("edge_unknown_total", {}),
        ("edge_level", {}),
        ("edge_seen_total", {"place": "here"}),
        ("edge_seen_total", {"place": "here", "end": "good", "patient": "x"}),
        ("edge_seen_total", {"place": "1.2.840.1", "end": "good"}),
        ("edge_seen_total", {"place": "here", "end": "neither"}),
    ],
)
def test_a_label_outside_its_closed_set_is_refused(role: RoleMetrics, name: str, labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"METRICS|closed set"):
        role.count(name, **labels)
    assert role.snapshot() == []


def test_a_kind_is_not_used_as_another_and_a_counter_never_goes_down(role: RoleMetrics) -> None:
    with pytest.raises(ValueError, match="no gauge edge_wait_seconds"):
        role.set("edge_wait_seconds", 1.0, place="here")
    with pytest.raises(ValueError, match="no histogram edge_level"):
        role.observe("edge_level", 1.0)
    for amount in (-1.0, math.nan):
        with pytest.raises(ValueError, match="only goes up"):
            role.count("edge_seen_total", amount, place="here", end="good")


def test_what_can_be_counted_is_there_from_the_start(exposition: Exposition) -> None:
    found = samples(exposition)
    counters = {key: value for key, value in found.items() if key[0] == "edge_seen_total"}
    assert len(counters) == 4
    assert set(counters.values()) == {0.0}
    assert found["edge_wait_seconds_count", (("place", "there"),)] == 0.0
    assert not any(name == "edge_level" for name, _ in found)


def test_a_role_that_starts_again_goes_on_counting_and_its_gauges_end(exposition: Exposition) -> None:
    for life in range(3):
        role = RoleMetrics(FEW, PLACES)
        role.set("edge_level", 7.0)
        for _ in range(5):
            role.count("edge_seen_total", place="here", end="good")
            role.observe("edge_wait_seconds", 0.3, place="here")
            exposition.update("infer", role.snapshot())
        assert seen(exposition) == 5 * (life + 1)
        assert samples(exposition)["edge_level", ()] == 7.0
        exposition.ended("infer")
        exposition.ended("infer")
        assert seen(exposition) == 5 * (life + 1)
        assert ("edge_level", ()) not in samples(exposition)
    assert samples(exposition)["edge_wait_seconds_count", (("place", "here"),)] == 15
    assert samples(exposition)["edge_wait_seconds_sum", (("place", "here"),)] == pytest.approx(4.5)


def test_roles_that_count_the_same_are_added_up(exposition: Exposition, role: RoleMetrics) -> None:
    role.count("edge_seen_total", 2, place="here", end="good")
    exposition.update("infer", role.snapshot())
    exposition.update("report", role.snapshot())
    assert seen(exposition) == 4


def test_a_snapshot_travels_as_json(exposition: Exposition, role: RoleMetrics) -> None:
    role.count("edge_seen_total", place="here", end="good")
    role.observe("edge_wait_seconds", 1.0, place="there")
    exposition.update("infer", json.loads(json.dumps(role.snapshot())))
    assert seen(exposition) == 1
    exposition.update("infer", [("edge_of_another_version_total", (), 1.0)])
    assert seen(exposition) == 1


@given(st.lists(st.floats(-1.0, 1000.0), max_size=30))
def test_buckets_are_cumulative_and_a_value_on_a_bound_is_within_it(values: list[float]) -> None:
    role, exposition = RoleMetrics(FEW, PLACES), Exposition(FEW, PLACES)
    for value in (*values, *LATENCY_BUCKETS_SECONDS):
        role.observe("edge_wait_seconds", value, place="here")
    exposition.update("infer", role.snapshot())
    found = samples(exposition)
    everything = [max(value, 0.0) for value in (*values, *LATENCY_BUCKETS_SECONDS)]
    for bound in (*LATENCY_BUCKETS_SECONDS, math.inf):
        text = "+Inf" if bound == math.inf else str(bound)
        key = ("edge_wait_seconds_bucket", (("le", text), ("place", "here")))
        assert found[key] == sum(value <= bound for value in everything)
    assert found["edge_wait_seconds_count", (("place", "here"),)] == len(everything)
    assert found["edge_wait_seconds_sum", (("place", "here"),)] == pytest.approx(sum(everything))


def test_a_histogram_may_have_buckets_of_its_own() -> None:
    own = {"edge_share_ratio": Metric("histogram", "Share.", {"place": None}, RATIO_BUCKETS)}
    role, exposition = RoleMetrics(own, PLACES), Exposition(own, PLACES)
    for value in (0.0, 0.05, 0.5, 0.51, 0.96, 1.0):
        role.observe("edge_share_ratio", value, place="here")
    exposition.update("infer", role.snapshot())
    found = samples(exposition)
    counts = {le: found["edge_share_ratio_bucket", (("le", le), ("place", "here"))] for le in ("0.05", "0.5", "0.95")}
    assert counts == {"0.05": 2, "0.5": 3, "0.95": 4}
    assert found["edge_share_ratio_count", (("place", "here"),)] == 6
    assert found["edge_share_ratio_bucket", (("le", "0.95"), ("place", "there"))] == 0
    assert len([key for key in found if key[0] == "edge_share_ratio_bucket"]) == 2 * (len(RATIO_BUCKETS) + 1)


def test_no_number_that_is_none_spoils_a_histogram(role: RoleMetrics) -> None:
    role.observe("edge_wait_seconds", math.nan, place="here")
    ((_, _, numbers),) = role.snapshot()
    assert isinstance(numbers, list)
    assert numbers[-1] == 0.0


def test_null_metrics_take_anything() -> None:
    NullMetrics().count("x", place="y")
    NullMetrics().observe("x", 1.0)
    NullMetrics().set("x", 1.0)


# -- the catalogue -----------------------------------------------------------------------------------------------------


def test_the_catalogue_keeps_the_naming_rules() -> None:
    assert len(METRICS) > 10
    for name, metric in METRICS.items():
        assert re.fullmatch(r"edge_[a-z0-9_]+", name)
        assert metric.kind in ("counter", "gauge", "histogram")
        assert (metric.kind == "counter") == name.endswith("_total"), name
        assert metric.help.endswith("."), name
        assert not {"uid", "patient", "path", "job"} & set(metric.labels), name
        assert metric.kind != "histogram" or name.endswith(("_seconds", "_ratio")), name


def test_labels_without_values_get_them_from_the_configuration(tmp_path: Path) -> None:
    values = label_values(make_config(tmp_path))
    assert {label for m in METRICS.values() for label, known in m.labels.items() if known is None} <= {*values, "gpu"}
    assert values["pipeline"] == ("head",)
    assert values["destination"] == ("disk", "pacs")


@pytest.mark.peer
def test_promtool_finds_nothing_to_say_about_a_daemon_with_everything_set(tmp_path: Path) -> None:
    values = {**label_values(make_config(tmp_path)), "gpu": ("0",)}
    role, exposition = RoleMetrics(METRICS, values), Exposition(METRICS, values)
    for name, metric in METRICS.items():
        sets = [known if known is not None else values[label] for label, known in metric.labels.items()]
        for labels in itertools.product(*sets):
            named = dict(zip(metric.labels, labels, strict=True))
            {"counter": role.count, "gauge": role.set, "histogram": role.observe}[metric.kind](name, 1.5, **named)
    exposition.update("infer", role.snapshot())
    for text in (Exposition(METRICS, values).render(), exposition.render()):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert all(name.removesuffix("_total") in exposition.render().decode() for name in METRICS)
