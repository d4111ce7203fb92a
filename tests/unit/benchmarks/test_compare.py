"""Comparing two results."""

import copy
import json
import math

import pytest

from benchmarks.cli import main
from benchmarks.compare import NotComparable, by_chance, changes, compare
from benchmarks.load.arrivals import Mode
from benchmarks.record import Accelerator, Record
from benchmarks.result_file import NotAResult, read_result
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


def with_latencies(scale=1.0, mode=Mode.SINGLE_STREAM, rounds=6, device=Accelerator.CPU):
    record = Record({"name": "pipeline", "rounds": rounds}, reduced=False)
    for number in range(rounds):
        spread = [1 + 0.1 * math.sin(7 * (60 * number + k)) for k in range(60)]
        record.add_latencies("edge", mode, [0.01 * scale * one for one in spread], device=device)
    return record.document("complete", MACHINE)


def test_raw_latencies_are_compared_by_median_and_p99():
    found = compare(with_latencies(), with_latencies(1.3))
    assert [one.name for one in found] == ["edge, all latencies, p50", "edge, all latencies, p99"]
    assert [one.verdict for one in found] == ["B is worse"] * 2
    assert found[0].ratio == pytest.approx(1.3, rel=1e-4)
    assert [one.verdict for one in compare(with_latencies(), with_latencies())] == [
        "no difference beyond the noise"
    ] * 2


def test_too_few_blocks_of_latencies_give_no_verdict():
    short = Record({"name": "pipeline", "rounds": 1}, reduced=False)
    short.add_latencies("edge", Mode.SINGLE_STREAM, [0.01] * 30)
    (first, _) = compare(short.document("complete", MACHINE), with_latencies(3.0))
    assert first.verdict.startswith("too few blocks of latencies")


def test_latencies_of_another_load_or_another_device_are_never_compared():
    with pytest.raises(NotComparable, match="single-stream on the cpu in ms in A and of server on the cpu in ms in B"):
        compare(with_latencies(), with_latencies(mode=Mode.SERVER))
    with pytest.raises(NotComparable, match="on the gpu in ms in B"):
        compare(with_latencies(), with_latencies(device=Accelerator.GPU))


def test_two_engines_under_one_scenario_are_compared_and_it_is_said_what_differs():
    a, b = (result(scenario={"name": "engine", "engines": [one]}) for one in ("a-fp32", "a-int8"))
    assert compare(a, b)
    assert "what is compared differs in engines: ['a-fp32'] in A, ['a-int8'] in B" in changes(a, b)


def test_figures_without_a_ratio_say_so():
    a, b = result([0.0] * 5), result([1.0] * 5)
    assert verdicts(a, b) == ["no ratio: a value is 0 or negative"]


def test_how_many_verdicts_chance_would_give_grows_with_the_comparisons():
    found = compare(result(), result())
    assert by_chance(found * 40) == pytest.approx(2.0)


def test_a_result_of_the_first_schema_version_is_still_read(tmp_path):
    old = result(schema_version=1)
    for key in ("latencies", "stages", "timelines", "deadlines", "budgets", "curves"):
        del old[key]
    for figure in old["figures"].values():
        del figure["device"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert verdicts(read_result(tmp_path / "old.json"), result()) == ["no difference beyond the noise"]


@pytest.mark.parametrize("sample", [math.nan, math.inf, -math.inf, True, "1", None, 10**400])
def test_a_sample_that_is_no_finite_number_is_refused_and_never_judged(sample):
    broken = result()
    broken["figures"]["speed"]["samples"][2] = sample
    with pytest.raises(NotAResult, match=r"speed: a sample is .*, and no finite number"):
        compare(result(), broken)
    slow = with_latencies()
    slow["latencies"]["edge"]["rounds"][0][0] = sample
    with pytest.raises(NotAResult, match="edge: a sample is"):
        compare(with_latencies(), slow)


@pytest.mark.parametrize(
    "changed", [{"figures": [1]}, {"figures": {"speed": "fast"}}, {"provenance": None}, {"reduced": "false"}]
)
def test_what_no_run_wrote_is_refused_in_a_sentence(changed, tmp_path, capsys):
    for name, one in (("a", result()), ("b", result(**changed))):
        (tmp_path / name).write_text(json.dumps(one))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "result of edge-bench run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema_version": 2, "figures": {}, "figures": {}}', "'figures' stands there twice"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_says_two_things_or_nothing_is_refused(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(NotAResult, match=said):
        read_result(tmp_path / "a.json")


@pytest.mark.parametrize("changed", [{"unit": "slices/s"}, {"better": "lower"}])
def test_figures_of_other_units_or_the_other_direction_are_not_compared(changed):
    other = result()
    other["figures"]["speed"].update(changed)
    with pytest.raises(NotComparable, match="speed is of"):
        compare(result(), other)


def test_latencies_of_zero_have_no_ratio():
    zero = with_latencies()
    zero["latencies"]["edge"]["rounds"] = [[0.0] * 50] * 5
    assert set(verdicts(zero, with_latencies())) == {"no ratio: a value is 0 or negative"}


def test_a_system_that_leaves_queries_unanswered_is_not_better_for_it():
    """What has no answer is slower than all that has one."""
    fast = with_latencies(scale=0.5)
    assert set(verdicts(with_latencies(), fast)) == {"B is better"}
    fast["latencies"]["edge"]["unanswered"] = fast["latencies"]["edge"]["count"] // 20
    p50, p99 = compare(with_latencies(), fast)
    assert p50.verdict == "B is better", "a twentieth lost does not move the median much"
    assert p99.verdict.startswith("no ratio: so many queries had no answer") and p99.median_b == math.inf


def test_a_system_that_answered_nothing_is_not_left_out():
    dead = with_latencies()
    dead["latencies"]["edge"].update(rounds=[[], []], count=0, unanswered=40)
    for one in compare(with_latencies(), dead):
        assert one.verdict.startswith("no ratio: so many queries had no answer")


def asked(rate, scale=1.0):
    record = Record({"name": "engine", "rounds": 6}, reduced=False)
    for number in range(6):
        spread = [1 + 0.1 * math.sin(7 * (60 * number + k)) for k in range(60)]
        record.add_latencies("server/edge", Mode.SERVER, [0.01 * scale * one for one in spread], rate=rate)
        record.add("server p50", 10 * scale * (1 + 0.01 * number), "ms", higher_is_better=False, rate=rate)
    return record.document("complete", MACHINE)


def test_open_loops_that_were_asked_for_more_get_no_verdict():
    assert {one.verdict[:10] for one in compare(asked(600.0), asked(1400.0, 3.0))} == {"no verdict"}
    assert "A was asked 600 a second, B 1400" in compare(asked(600.0), asked(1400.0, 3.0))[0].verdict
    assert {one.verdict for one in compare(asked(600.0), asked(620.0, 3.0))} == {"B is worse"}


def test_engines_that_differ_are_told_in_a_few_words():
    engines = [{"one": {"precision": p, "backend": "onnxruntime 1.32", "sha256": p * 16}} for p in ("fp32", "int8")]
    a, b = (result(provenance={**MACHINE, "engines": one}) for one in engines)
    assert (
        "engines differs: one fp32 onnxruntime 1.32 fp32fp32 in A, one int8 onnxruntime 1.32 int8int8 in B"
        in changes(a, b)
    )
