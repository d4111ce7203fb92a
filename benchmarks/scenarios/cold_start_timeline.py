"""The time line of a start, from the daemon's own log."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from benchmarks.record import Span
from benchmarks.scenarios.following import moments
from benchmarks.scenarios.idle import golden_runs


def time_line(log: str, began_at: float, last_response_at: float, last_result_at: float) -> list[Span]:
    """From the start of the command to the first result, by the daemon's log. All moments are Unix seconds.

    Spans of the supervisor, of infer until its engines have answered, and of the study from its last slice on.
    """
    told: dict[str, list[float]] = {}
    for what, at in moments(log.splitlines()):
        told.setdefault(what, []).append(at)
    runs = list(zip(golden_runs(log), told.get("engine answers its golden input as built", ()), strict=True))
    marks = [("supervisor", "start of the command", began_at), ("supervisor", "start of the roles", told["started"][0]),
             ("supervisor", "", told["ready"][0])]  # fmt: skip
    if runs:
        (_, seconds), answered = runs[0]
        marks.append(("infer", "imports, engines verified and loaded", told["started"][0]))
        begins = [answered - seconds, *(at for _, at in runs)]
        marks += [("infer", f"golden run of {engine}", at) for ((engine, _), _), at in zip(runs, begins, strict=False)]
        marks.append(("infer", "", begins[-1]))
    steps = ("quiet time", last_response_at), ("assemble and infer", told["series complete"][0]), (
        "report", told["job concluded"][0]), ("deliver", told["report written"][0]), ("", last_result_at)  # fmt: skip
    marks += [("first study", name, at) for name, at in steps]
    return spans_between([(lane, name, at - began_at) for lane, name, at in marks])


def spans_between(marks: Sequence[tuple[str, str, float]]) -> list[Span]:
    """Spans from marks (lane, what begins, seconds), each to the next of its lane; a last mark has an empty name.

    A mark that is earlier than the one before it, as clocks of several processes may tell, counts as that one.
    """
    spans: list[Span] = []
    reached: dict[str, float] = {}
    for (lane, name, at), (next_lane, _, next_at) in itertools.pairwise(marks):
        begin = max(at, reached.get(lane, at))
        reached[lane] = begin
        if lane == next_lane:
            spans.append(Span(lane, name, begin, max(begin, next_at)))
    return spans
