"""The page about deadlines names every decision, reason and metric, with the figures of the code."""

import inspect
import re
from pathlib import Path

from edge_runtime.metrics import DECISION_REASONS, DECISIONS, METRICS
from edge_runtime.schedule.estimates import Estimates

PAGE = (Path(__file__).parents[3] / "docs" / "deadlines.md").read_text()


def test_every_decision_and_reason_is_on_the_page():
    rows = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))
    assert rows == set(DECISIONS) | set(DECISION_REASONS)


def test_every_metric_of_the_schedule_is_on_the_page_and_no_unknown_one():
    named = set(re.findall(r"edge_\w+", PAGE))
    assert named <= set(METRICS)
    assert {name for name in METRICS if name.startswith("edge_schedule_")} <= named


def test_the_figures_are_those_of_the_code():
    defaults = {name: each.default for name, each in inspect.signature(Estimates).parameters.items()}
    assert f"{100 * defaults['quantile']:g} % of its runs of the last {defaults['window_seconds']:g} s" in PAGE
    assert f"at most {defaults['remembered']} of them" in PAGE
    assert f"after {defaults['probe_seconds']:g} s, then 2, 4, 8 and every 16 s" in PAGE
