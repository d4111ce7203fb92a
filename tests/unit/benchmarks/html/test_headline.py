"""The headline of a result's page."""

import dataclasses

import pytest
from support.bench_results import OF, budget, document, record

from benchmarks.acceptance import budgets as rules
from benchmarks.html.acceptance import overall, rows
from benchmarks.html.headline import headline, load, targets, title
from benchmarks.html.model import parse
from benchmarks.html.page import page
from benchmarks.statistics import Target

TRAFFIC = {"pipeline": "ct-head", "series": "ct-phantom", "per_hour": 240.0, "arrival": "poisson", "associations": 2}
SITE = {"name": "site", "kind": "site", "config": "/etc/edge-runtime/ct.yaml", "minutes": 30.0, "traffic": [TRAFFIC]}
STUDIES = {"unit": "s", "of": "pipelines.ct-head.deadline_seconds"}


def result(*budgets, verdicts=(), **changed):
    """A result with these budgets, and a figure with a target for each of the verdicts."""
    made = record(count=12)
    made.figures.clear()
    for order, _ in enumerate(verdicts):
        made.add(f"f{order}", 1.0, "ms", higher_is_better=False, target=Target(2.0, at_least=False))
    found = made.document("complete", {})
    for order, verdict in enumerate(verdicts):
        found["figures"][f"f{order}"]["verdict"] = verdict
    none = {"deadlines": {}, "latencies": {}, "stages": {}, "timelines": [], "curves": {}}
    return {**found, **none, "budgets": [dataclasses.asdict(one) for one in budgets], **changed}


def said(made):
    parsed = parse(made)
    budgets = rows(parsed)
    return headline(parsed, overall(parsed.state, parsed.reduced, budgets), budgets)


def test_a_failed_run_says_why_and_an_interrupted_one_that_it_is():
    failed = said(result(budget(), state="failed", problems=["no engine", "not quiet"]))
    assert (failed.text, failed.short, failed.tone) == ("THE RUN FAILED: no engine", "failed", "bad")
    assert said(result(state="failed", problems=[])).text == "THE RUN FAILED: no reason was recorded"
    interrupted = said(result(budget(), state="interrupted"))
    assert interrupted.text.startswith("INTERRUPTED") and interrupted.tone == "open"


def test_the_reason_that_a_site_names_is_told_before_other_problems():
    _, why = rules.overall([budget("fail")], "no such folder")
    made = result(budget(), state="failed", problems=["a destination was left out"], acceptance={"why": why})
    assert said(made).text == "THE RUN FAILED: no such folder"


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_a_run_that_ended_early_and_failed_a_budget_says_both(state):
    found = said(result(budget("fail", why="2 of 2 were late"), state=state))
    assert found.text.startswith("FAIL. ") and state in found.text.lower() and found.tone == "bad"
    assert "fail: p99: 2 of 2 were late" in found.reasons


@pytest.mark.parametrize(
    ("verdicts", "text", "tone"),
    [
        (["met"] * 7 + ["within noise"] * 2 + ["not met"], "7 targets met, 1 not met, 2 within noise", "bad"),
        (["met"], "1 target met", "good"),
        (["within noise", "met"], "1 target met, 1 within noise", "open"),
        (["too few samples"], "1 target with too few samples", "open"),
        ([], "no targets", "open"),
    ],
)
def test_without_budgets_the_targets_are_the_headline(verdicts, text, tone):
    found = said(result(verdicts=verdicts))
    assert (found.text, found.tone, found.reasons) == (text, tone, ())
    assert targets(parse(result(verdicts=verdicts))) == ("" if text == "no targets" else text)


def test_a_reduced_run_without_budgets_meets_no_target():
    assert said(result(verdicts=["met"], reduced=True)).text == "REDUCED RUN: no target is judged"


def test_a_pass_tells_the_fewest_studies_of_a_budget():
    some = [budget(samples=count, **STUDIES) for count in (20, 4)]
    assert said(result(*some, budget(samples=3))).text == "PASS: 3 of 3 budgets kept, by 4 studies"
    assert said(result(budget(samples=1, **STUDIES))).text == "PASS: 1 of 1 budgets kept, by 1 study"
    assert said(result(budget(of=OF))).text == "PASS: 1 of 1 budgets kept"


def test_a_fail_quotes_why_and_lists_the_others():
    first, second = (budget("fail", name, why=f"{name} was late") for name in ("a", "b"))
    found = said(result(budget(), first, second))
    assert found.text == "FAIL: a: a was late"
    assert found.reasons == ("1 of 3 budgets kept", "fail: b: b was late")


def test_what_is_not_judged_is_called_so_as_in_the_terminal():
    found = said(result(budget("too few samples")))
    assert (found.text, found.short) == ("NOT JUDGED", "not judged")
    assert found.reasons == ("too few samples for a verdict: p99",)


def test_the_page_of_a_site_names_its_configuration_and_what_it_was_sent():
    made = result(budget(**STUDIES), scenario=SITE)
    assert title(parse(made)) == "Acceptance of ct.yaml"
    assert load(parse(made)) == "Run for 30 minutes. Traffic: ct-head got ct-phantom, 240 an hour."
    text = page(made, "acceptance.json")
    assert "<title>Acceptance of ct.yaml: pass</title>" in text and "<h1>Acceptance of ct.yaml</h1>" in text
    assert text.index("Run for 30 minutes") < text.index("PASS: 1 of 1")
    assert "Figures" not in text and "targets" not in text


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"traffic": [], "minutes": 1.0}, "Run for 1 minute. Traffic: no series."),
        ({"traffic": None, "minutes": None}, "Run for a time that was not recorded. Traffic: no series."),
        ({"traffic": [{}, 3]}, "Run for 30 minutes. Traffic: a pipeline got series."),
    ],
)
def test_a_site_that_recorded_less_has_a_line_too(changed, line):
    assert load(parse(result(scenario={**SITE, **changed}))) == line


def test_other_pages_are_reports_without_that_line():
    text = page(document(count=12), "result.json")
    assert "<h1>Benchmark report: synthetic (video)</h1>" in text and "Run for" not in text
