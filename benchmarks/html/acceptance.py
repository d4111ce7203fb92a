"""The acceptance verdict of a page: the rules of `edge-bench site`, and what a page must doubt besides. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.acceptance import budgets as rules
from benchmarks.html.model import Deadline, Result
from benchmarks.measured import Budget

OURS = "edge"
_IN_CONFIGURATION = ("video.", "pipelines.")


@dataclass(frozen=True)
class Verdict:
    """What is said of the whole, and why. `judged`: budgets that were passed or failed, or have too few samples."""

    word: rules.Overall
    sentences: tuple[str, ...]
    passed: int
    judged: int


def rows(result: Result) -> list[Budget]:
    """Every budget as it is judged here: those of the result, and deadlines of ours that none of them speaks of.

    Other systems (the name is "case/system") miss deadlines too, and a scenario has deadlines of its own: neither says
    anything of what is to be accepted.
    """
    spoken_of = {budget.of for budget in result.budgets}
    ours = [one for one in result.deadlines if "/" not in one.name or one.name.endswith(f"/{OURS}")]
    left = [one for one in ours if one.of.startswith(_IN_CONFIGURATION) and one.of not in spoken_of]
    return [*map(checked, result.budgets), *map(of_deadline, left)]


def checked(budget: Budget) -> Budget:
    """The budget; one that is said to be passed, and is not kept by what was found, has failed."""
    if budget.verdict != "pass" or budget.bound is None or budget.found is None:
        return budget
    kept = budget.found >= budget.bound if budget.at_least else budget.found <= budget.bound
    if kept:
        return budget
    return dataclasses.replace(budget, verdict="fail", why="the result says pass, but what was found is beyond it")


def of_deadline(deadline: Deadline) -> Budget:
    """A deadline of which the result has only counts, judged by share as the frames of a source are."""
    seconds = None if deadline.budget is None else deadline.budget / 1000
    in_time = deadline.counted - deadline.missed
    bound = rules.Bound(deadline.of, seconds, seconds or 0.0)
    judged = rules.judge_frames(f"{deadline.name}: in time", bound, in_time, deadline.counted)
    if deadline.budget is None:
        return dataclasses.replace(judged, unit="of results", why=f"the configuration has no {deadline.of}")
    why = f"{in_time:,} of {deadline.counted:,} results in time; a share of {rules.REQUIRED_SHARE:g} is required"
    if judged.verdict == "too few samples":
        why += f", and {rules.MINIMUM_FRAMES:,} results to know it"
    return dataclasses.replace(judged, unit=f"of results within {deadline.budget:g} ms", why=why)


def missed_share(deadline: Deadline) -> tuple[float, float]:
    """The 95 % interval of the share that misses its deadline (Wilson 1927); something was counted."""
    from scipy.stats import binomtest

    found = binomtest(deadline.missed, deadline.counted).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def overall(state: str, reduced: bool, budgets: Sequence[Budget]) -> Verdict:
    """The verdict: pass only where the run is whole, there is a budget, and every one was passed."""
    judged = [one for one in budgets if one.verdict != "no budget"]
    passed = sum(one.verdict == "pass" for one in judged)
    if not budgets:
        return Verdict("not judged", ("no budget in the configuration was judged by this run",), 0, 0)
    word, sentences = rules.overall(budgets, "" if state == "complete" else state)
    why = {f"fail: {one.name}": f"fail: {failing(one)}" for one in budgets if one.verdict == "fail"}
    sentences = [why.get(one, one) for one in sentences]
    if reduced:
        told = "it is a reduced run, which proves only that the parts work"
        word, sentences = ("not judged", [told]) if word == "pass" else (word, [*sentences, told])
    return Verdict(word, tuple(sentences), passed, len(judged))


def failing(budget: Budget) -> str:
    """A budget that was not kept, and why."""
    return f"{budget.name}: {budget.why}" if budget.why else budget.name


def fewest_studies(budgets: Sequence[Budget]) -> int | None:
    """By how many studies the budget with the fewest was judged; None: none is of studies."""
    of_studies = [one for one in budgets if one.verdict != "no budget" and _is_of_studies(one)]
    return min((one.samples for one in of_studies), default=None)


def _is_of_studies(budget: Budget) -> bool:
    return budget.of.startswith("pipelines.") and budget.of.endswith(".deadline_seconds") and budget.unit == "s"
