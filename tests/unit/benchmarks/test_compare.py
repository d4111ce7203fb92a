"""Comparing two results."""

import copy
import json

import pytest

from benchmarks.cli import main
from benchmarks.compare import NotComparable, changes, compare
from benchmarks.record import Record
from benchmarks.statistics import Target

MACHINE = {"cpu_model": "Tested 9000", "cores": 2, "memory_bytes": 8, "machine": "x86_64", "python": "3.11.7"}


def result(rates=(10.0, 10.1, 9.9, 10.0, 10.2), higher=True, **changed):
    record = Record({"name": "ingest", "slices": 300, "rounds": len(rates)}, reduced=False)
    for rate in rates:
        record.add("speed", rate, "instances/s", higher_is_better=higher)
    return {**record.document("complete", MACHINE), **changed}


def verdicts(a, b):
    return [difference.verdict for difference in compare(a, b)]


@pytest.mark.parametrize(
    ("higher", "scale", "expected"),
    [(True, 1.5, "B is better"), (True, 0.7, "B is worse"), (False, 1.5, "B is worse"), (False, 0.7, "B is better")],
)
def test_a_difference_larger_than_the_noise_gets_a_verdict_in_the_right_direction(higher, scale, expected):
    a = result(higher=higher)
    b = result([rate * scale for rate in a["figures"]["speed"]["samples"]], higher=higher)
    assert verdicts(a, b) == [expected]


def test_a_difference_within_the_noise_gets_none():
    assert verdicts(result(), result((10.1, 9.9, 10.0, 10.3, 9.8))) == ["no difference beyond the noise"]


def test_the_ratio_is_of_b_to_a():
    (difference,) = compare(result(), result((20.0,) * 5))
    assert difference.ratio == 2.0
    assert difference.interval.low <= 2.0 <= difference.interval.high


def test_too_few_samples_are_said_to_be_too_few():
    (text,) = verdicts(result(), result((100.0, 100.0, 100.0, 100.0)))
    assert "too few samples" in text and "5 and 4" in text


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"provenance": {**MACHINE, "cpu_model": "Other 1"}},
            "different machines (cpu_model: Tested 9000 and Other 1)",
        ),
        ({"provenance": {**MACHINE, "cores": 8}}, "different machines (cores: 2 and 8)"),
        ({"scenario": {"name": "ingest", "slices": 8}}, "scenarios differ in slices"),
        ({"state": "interrupted"}, "B is interrupted"),
        ({"reduced": True}, "B is a reduced run"),
    ],
)
def test_results_that_say_nothing_of_each_other_are_refused_with_the_reason(changed, reason, tmp_path, capsys):
    a, b = result(), result(**changed)
    with pytest.raises(NotComparable) as refused:
        compare(a, b)
    assert reason in str(refused.value)
    for name, one in (("a", a), ("b", b)):
        (tmp_path / name).write_text(json.dumps(one))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "cannot be compared" in capsys.readouterr().err


def test_another_count_of_rounds_is_still_the_same_scenario():
    assert verdicts(result(), result((10.0,) * 9))


def test_what_else_changed_between_the_runs_is_named():
    b = copy.deepcopy(result())
    b["provenance"]["python"] = "3.14.0"
    b["problems"] = ["the machine was not quiet"]
    assert changes(result(), b) == ["B: the machine was not quiet", "python differs: 3.11.7 in A, 3.14.0 in B"]


@pytest.mark.parametrize("content", ["{", "[]", '{"schema_version": 99, "figures": {}}', None])
def test_a_file_that_is_no_result_is_a_usage_error(content, tmp_path, capsys):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    assert main(["compare", str(path), str(path)]) == 2
    assert "edge-bench:" in capsys.readouterr().err


def test_a_reduced_run_and_few_rounds_give_no_verdict():
    for reduced, samples, expected in ((True, 5, "none: a reduced run"), (False, 2, "too few samples")):
        record = Record({}, reduced)
        for _ in range(samples):
            record.add("speed", 9.0, "x", higher_is_better=True, target=Target(1.0, at_least=True))
        document = record.document("complete", {})
        assert document["figures"]["speed"]["verdict"] == expected
        assert any("fewer than 3 rounds" in problem for problem in document["problems"]) != reduced
