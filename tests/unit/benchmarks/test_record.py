"""What a result holds, and what it refuses to mix."""

import json
import math

import pytest

from benchmarks.load.arrivals import Load, Mode
from benchmarks.load.generator import Answered, Loaded
from benchmarks.record import Accelerator, BenchFailed, Budget, Record, Span, table


def document(record):
    return json.loads(json.dumps(record.document("complete", {"cores": 2})))


def test_latencies_are_kept_raw_by_round_with_a_summary_over_all():
    record = Record({"name": "any"}, reduced=False)
    for _ in range(2):
        record.add_latencies("case/edge", Mode.SINGLE_STREAM, [0.001, 0.002, 0.003], warm_up=5)
    found = document(record)["latencies"]["case/edge"]
    assert found["rounds"] == [[1.0, 2.0, 3.0]] * 2
    assert (found["mode"], found["count"], found["warm_up"]) == ("single-stream", 6, 10)
    assert found["summary"]["p50"]["value"] == 2.0 and found["summary"]["max"]["value"] == 3.0
    assert found["summary"]["p99.9"] == {"value": None, "interval": None}


def test_serial_and_saturated_latencies_never_share_a_name():
    record = Record({}, reduced=False)
    record.add_latencies("case/edge", Mode.SINGLE_STREAM, [0.001])
    with pytest.raises(BenchFailed, match="single-stream on the cpu; server was added"):
        record.add_latencies("case/edge", Mode.SERVER, [0.001])


def test_latencies_of_processor_and_accelerator_never_share_a_name():
    record = Record({}, reduced=False)
    record.add_latencies("case/edge", Mode.SERVER, [0.001])
    with pytest.raises(BenchFailed, match="cpu"):
        record.add_latencies("case/edge", Mode.SERVER, [0.001], device=Accelerator.GPU)


def test_a_ratio_of_processor_and_accelerator_is_refused():
    record = Record({}, reduced=False)
    record.add("a", 1.0, "ms", higher_is_better=False)
    record.add("b", 1.0, "ms", higher_is_better=False, device=Accelerator.GPU)
    with pytest.raises(BenchFailed, match="a ran on the cpu, b on the gpu"):
        record.add_ratio("a : b", ("a", "b"), higher_is_better=False)


def test_figures_of_processor_and_accelerator_are_printed_in_tables_of_their_own():
    record = Record({}, reduced=False)
    record.add("slow", 1.0, "ms", higher_is_better=False)
    record.add("fast", 1.0, "ms", higher_is_better=False, device=Accelerator.GPU)
    on_cpu, on_gpu = table(document(record)).split("\n\n")
    assert on_cpu.startswith("on the CPU") and "slow" in on_cpu and "fast" not in on_cpu
    assert on_gpu.startswith("on the GPU") and "fast" in on_gpu and "slow" not in on_gpu


def test_unanswered_queries_and_a_short_load_are_problems_of_the_result():
    queries = (Answered(0, 0.0, 0.0, 0.5, 1), Answered(1, 0.1, 0.1, math.nan, 1))
    record = Record({}, reduced=False)
    record.add_loaded("case/edge", Loaded(Load(Mode.SERVER, queries=2, rate=10.0), queries, 3, 0.5))
    found = document(record)
    assert found["latencies"]["case/edge"]["unanswered"] == 1
    assert found["latencies"]["case/edge"]["rounds"] == [[500.0]]
    assert any("1 of 2 queries had no answer" in problem for problem in found["problems"])
    assert any("fewer than LoadGen's 1,024" in problem for problem in found["problems"])


def test_deadlines_add_up_and_a_missing_budget_is_null():
    record = Record({}, reduced=False)
    for missed in (1, 2):
        record.add_deadline("edge", 0.05, 100, missed, "video.tower.deadline_seconds")
    record.add_deadline("study", None, 3, 0, "pipelines.ct.deadline_seconds")
    found = document(record)["deadlines"]
    assert found["edge"] == {"budget_ms": 50.0, "of": "video.tower.deadline_seconds", "counted": 200, "missed": 3}
    assert found["study"]["budget_ms"] is None


def test_a_budget_without_a_bound_or_without_a_finding_cannot_be_passed():
    keys = {"name": "x", "of": "y", "at_least": False, "unit": "s", "interval": None, "samples": 9, "verdict": "pass"}
    for bound, found in ((None, 1.0), (1.0, None)):
        with pytest.raises(ValueError, match="cannot be passed"):
            Budget(bound=bound, found=found, **keys)


def test_a_span_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="span infer"):
        Span("lane", "infer", 2.0, 1.0)


def curve(costs):
    record = Record({}, reduced=False)
    for spread in (0.99, 1.0, 1.01):
        for size, cost in costs.items():
            record.add_point("edge", "streams", size, cost * spread, "ms a frame")
    return document(record)


def test_a_cost_of_a_unit_that_grows_with_the_size_is_superlinear_and_a_problem():
    """A quadratic whole has units that cost as much more as there are more of them."""
    found = curve({n: 2.0 * n for n in (1, 2, 4, 8)})
    assert found["curves"]["edge"]["growth"] == "superlinear"
    assert found["curves"]["edge"]["exponent"] == pytest.approx(1.0)
    assert any("edge grows superlinearly" in problem for problem in found["problems"])


def test_growth_is_seen_behind_a_fixed_cost_that_is_shared_by_more_and_more_units():
    found = curve({n: 50.0 / n + 2.0 * n for n in (1, 2, 4, 8, 16, 32)})
    assert found["curves"]["edge"]["growth"] == "superlinear"


@pytest.mark.parametrize(("exponent", "growth"), [(0.0, "linear"), (-0.5, "sublinear")])
def test_a_cost_of_a_unit_that_stays_or_falls_is_no_problem(exponent, growth):
    found = curve({n: 2.0 * n**exponent for n in (1, 2, 4, 8)})
    assert found["curves"]["edge"]["growth"] == growth and found["problems"] == []


def test_two_sizes_say_nothing_of_growth():
    assert curve({1: 1.0, 2: 9.0})["curves"]["edge"]["growth"] == "too few points"


def test_a_cost_that_is_not_positive_is_a_wrong_measurement():
    with pytest.raises(BenchFailed, match="streams 4"):
        Record({}, reduced=False).add_point("edge", "streams", 4, 0.0, "ms")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_finite_number_is_a_wrong_measurement(value):
    record = Record({}, False)
    with pytest.raises(BenchFailed, match="speed"):
        record.add("speed", value, "s", higher_is_better=False)
    assert not record.figures


def test_there_is_no_ratio_to_zero():
    record = Record({}, False)
    record.add("ours", 1.0, "s", higher_is_better=False)
    record.add("theirs", 0.0, "s", higher_is_better=False)
    with pytest.raises(BenchFailed, match="theirs was 0 s in a round"):
        record.add_ratio("ours : theirs", ("ours", "theirs"), higher_is_better=False)
