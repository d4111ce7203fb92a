"""The head of the page, the acceptance verdict, the figures with targets, and where all of it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any
from xml.etree.ElementTree import Element

from benchmarks.html.acceptance import Verdict
from benchmarks.html.elements import (
    NO_SYMBOL,
    SYMBOLS,
    Content,
    between,
    device_name,
    element,
    folded,
    listed,
    mark,
    number,
    section,
    table,
)
from benchmarks.html.headline import SITE, Headline, load, targets, title
from benchmarks.html.model import Figure, Result
from benchmarks.measured import Budget

_SYMBOLS = {"good": SYMBOLS["pass"], "bad": SYMBOLS["fail"], "open": NO_SYMBOL}
_STATES = {
    "complete": "complete",
    "interrupted": "interrupted: what was measured until then is shown, the rest is missing",
    "failed": "failed: what was measured until then is shown, the rest is missing",
}
LONGEST_LIST = 12


def head(result: Result, said: Headline, name: str) -> Element:
    """Who, when, where, the verdict at a glance, and every problem."""
    facts = {
        "State": _STATES[result.state],
        "Device": result.provenance.get("device", "not recorded"),
        "Date": result.provenance.get("date", "not recorded"),
        "Commit": result.provenance.get("git_commit") or "not recorded",
        "Result file": f"{name}, with every raw sample",
    }
    made = element("header", element("h1", title(result)))
    if result.scenario.get("kind") == SITE:
        made.append(element("p", load(result), id="load"))
    made.append(_at_a_glance(result, said))
    if result.reduced:
        text = "A reduced run: it proves only that the parts work. Its figures say nothing of how fast anything is."
        made.append(element("p", element("strong", text), class_="warning", id="reduced"))
    if result.problems:
        count = f"{len(result.problems)} problem{'s' if len(result.problems) > 1 else ''} with this run"
        made.append(element("div", element("h3", count), listed(result.problems), class_="problems", id="problems"))
    made.append(_pairs(facts))
    if not result.problems:
        made.append(element("p", "No problem with this run was recorded.", id="problems"))
    return made


def _at_a_glance(result: Result, said: Headline) -> Element:
    made = element("div", element("strong", f"{_SYMBOLS[said.tone]} {said.text}"), id="verdict")
    made.set("class", f"verdict {said.tone}")
    if said.reasons:
        made.append(listed(said.reasons))
    if said.tone == "good" and result.problems:
        made.append(element("p", "Read the problems below first: they make the figures weaker."))
    own = targets(result)
    if own and own != said.text:
        made.append(element("p", f"The scenario's own targets, which are no budgets: {own}."))
    return made


def acceptance(budgets: list[Budget], verdict: Verdict) -> list[Element]:
    """Every budget, where it stands, what was found, and what that means; nothing where there is none."""
    if not budgets:
        return []
    header = ["budget", "bound", "found", "95 % interval", "samples", "verdict"]
    rows = [_budget(one) for one in budgets]
    caption = "What was found against the budgets of the site's configuration."
    parts = element("p", "Overall: ", mark(verdict.word)), table(header, rows, caption)
    return [section("Acceptance", "acceptance", *parts)]


def _budget(one: Budget) -> list[Content]:
    name = element("span", one.name, element("span", one.of, class_="detail"))
    bound = (
        "none" if one.bound is None else f"{'at least' if one.at_least else 'at most'} {number(one.bound)} {one.unit}"
    )
    found = "nothing" if one.found is None else f"{number(one.found)} {one.unit}"
    verdict = element("span", mark(one.verdict), element("span", one.why, class_="detail"))
    return [name, bound, found, between(one.interval, one.samples), f"{one.samples:,}", verdict]


def figures(result: Result) -> list[Element]:
    """A part for each device: what ran on one is never beside what ran on another."""
    made = []
    for device, same in groupby(sorted(result.figures, key=lambda one: one.device), lambda one: one.device):
        header = ["figure", "median", "95 % interval", "unit", "rounds", "target", "verdict"]
        name = device_name(device)
        caption = f"Medians of the rounds, measured on the {name}."
        made.append(section(f"Figures on the {name}", f"figures-{device.lower()}",
                            table(header, [_figure(one) for one in same], caption)))  # fmt: skip
    return made


def _figure(one: Figure) -> list[Content]:
    if one.median is None:
        return [one.name, "no sample", "none", one.unit, "0", _target(one), mark("no verdict") if one.target else ""]
    verdict: Content = mark(one.verdict or "no verdict") if one.target else ""
    return [
        one.name,
        number(one.median),
        between(one.interval, one.samples),
        one.unit,
        str(one.samples),
        _target(one),
        verdict,
    ]


def _target(one: Figure) -> str:
    return (
        "" if one.target is None else f"{'at least' if one.target.at_least else 'at most'} {number(one.target.bound)}"
    )


def sources(result: Result, name: str) -> Element:
    """Notes, checks, scenario, machine: all that a reader needs to judge or repeat the run."""
    parts: list[Content] = []
    if result.notes:
        title = element("summary", "Notes: what the figures mean")
        parts.append(element("details", title, listed(result.notes), open=""))
    folds = {"Checks": result.checks, "Scenario": result.scenario, "Details": result.details,
             "Machine and versions": result.provenance}  # fmt: skip
    parts += [folded(title, _tree(found)) for title, found in folds.items() if found]
    parts.append(element("p", f"Raw samples are in {name}.", class_="dim"))
    return section("Provenance", "provenance", *parts)


def _pairs(found: Mapping[str, Any]) -> Element:
    made = element("dl")
    for key, value in found.items():
        made.append(element("dt", key))
        made.append(element("dd", _tree(value)))
    return made


def _tree(value: Any) -> Content:
    """Any value of the result."""
    if isinstance(value, Mapping):
        return _pairs(value) if value else "none"
    if isinstance(value, list):
        if len(value) > LONGEST_LIST:
            return f"{len(value)} values, in the result's JSON file"
        if any(isinstance(one, Mapping | list) for one in value):
            return element("ul", *(element("li", _tree(one)) for one in value))
        return ", ".join(str(_tree(one)) for one in value) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    return number(value) if isinstance(value, float) else str(value)
