"""The headline of a page: what came of the run, in one line. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from benchmarks.html.acceptance import Verdict, failing, fewest_studies
from benchmarks.html.model import Result
from benchmarks.measured import Budget

SITE = "site"
"""The kind of a result of `edge-bench site`."""
_VERDICTS = ("met", "not met", "within noise", "too few samples")
_INTERRUPTED = "INTERRUPTED: what came later is missing"


@dataclass(frozen=True)
class Headline:
    """What stands at the top. `short` is for the title of the page; `reasons` are listed below."""

    text: str
    short: str
    tone: Literal["good", "bad", "open"]
    reasons: tuple[str, ...] = ()


def headline(result: Result, verdict: Verdict, budgets: Sequence[Budget]) -> Headline:
    """A run that did not go to its end says so first; then the budgets, and without any the targets."""
    reasons = verdict.sentences if budgets else ()
    if result.state == "complete":
        return _judged(verdict, budgets) if budgets else _of_targets(result)
    text = _INTERRUPTED if result.state == "interrupted" else f"THE RUN FAILED: {_cause(result)}"
    if verdict.word != "fail":
        return Headline(text, result.state, "bad" if result.state == "failed" else "open", reasons)
    return Headline(f"FAIL. {text}", f"fail, {result.state}", "bad", reasons)


def title(result: Result) -> str:
    """What the page is about."""
    if result.scenario.get("kind") == SITE:
        return f"Acceptance of {PurePath(str(result.scenario.get('config', 'a site'))).name}"
    name, kind = (str(result.scenario.get(key, "not named")) for key in ("name", "kind"))
    return f"Benchmark report: {name if kind in (name, 'not named') else f'{name} ({kind})'}"


def load(result: Result) -> str:
    """How long a site was run, and what it was sent, in one line."""
    minutes, traffic = result.scenario.get("minutes"), result.scenario.get("traffic")
    took = "for a time that was not recorded" if minutes is None else f"for {_of(minutes, 'minute')}"
    sent = [_sent(one) for one in traffic if isinstance(one, Mapping)] if isinstance(traffic, list) else []
    return f"Run {took}. Traffic: {'; '.join(sent) or 'no series'}."


def targets(result: Result) -> str:
    """How the scenario's own targets came out; "": it has none."""
    found = [figure.verdict or "no verdict" for figure in result.figures if figure.target is not None]
    words = sorted(set(found), key=lambda one: (_VERDICTS.index(one) if one in _VERDICTS else len(_VERDICTS), one))
    counts = [(found.count(word), word.replace("too few", "with too few")) for word in words]
    if not counts:
        return ""
    (count, word), *others = counts
    return ", ".join([f"{_of(count, 'target')} {word}", *(f"{count} {word}" for count, word in others)])


def _judged(verdict: Verdict, budgets: Sequence[Budget]) -> Headline:
    kept = f"{verdict.passed} of {verdict.judged} budgets kept"
    if verdict.word == "fail":
        first = next(one for one in budgets if one.verdict == "fail")
        return Headline(f"FAIL: {failing(first)}", "fail", "bad", (kept, *verdict.sentences[1:]))
    if verdict.word == "not judged":
        return Headline("NOT JUDGED", verdict.word, "open", verdict.sentences)
    studies = fewest_studies(budgets)
    by = "" if studies is None else f", by {_of(studies, 'study', 'studies')}"
    return Headline(f"PASS: {kept}{by}", "pass", "good", verdict.sentences)


def _of_targets(result: Result) -> Headline:
    if result.reduced:
        return Headline("REDUCED RUN: no target is judged", "reduced", "open")
    text = targets(result) or "no targets"
    verdicts = {figure.verdict for figure in result.figures if figure.target is not None}
    return Headline(text, text, "bad" if "not met" in verdicts else "good" if verdicts == {"met"} else "open")


def _cause(result: Result) -> str:
    return result.stopped or next(iter(result.problems), "no reason was recorded")


def _sent(of: Mapping[str, Any]) -> str:
    text = f"{of.get('pipeline', 'a pipeline')} got {of.get('series', 'series')}"
    return text + (f", {_number(of['per_hour'])} an hour" if "per_hour" in of else "")


def _of(count: Any, one: str, many: str = "") -> str:
    return f"{_number(count)} {one if count == 1 else many or one + 's'}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
