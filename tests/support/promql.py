"""What a PromQL expression uses, compared with the catalogue. Whether it parses is promtool's to say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.metrics import METRICS
from edge_runtime.telemetry.metrics import Metric

MONITORING = Path(__file__).parents[2] / "monitoring"
RULES = MONITORING / "edge-runtime.rules.yaml"
RULE_TESTS = tuple(MONITORING / f"edge-runtime.{name}.test.yaml" for name in ("rules", "days", "video", "gpu"))
DASHBOARD = MONITORING / "grafana-edge-runtime.json"

TARGET = frozenset({"job", "instance"})
RECORDED = TARGET | {"pipeline", "stage", "source"}
OF_PROMETHEUS = {"up": TARGET, "ALERTS": TARGET | {"alertname", "alertstate"}}

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r'(?<![\w:"$])([a-zA-Z_:][\w:]*)(?![\w:])\s*(\()?(?:\{([^}]*)\})?')
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_KEYWORDS = frozenset({"by", "without", "on", "ignoring", "and", "or", "unless", "offset", "bool", "inf", "nan"})


@dataclass(frozen=True)
class Selector:
    """A series name in an expression with its matchers: (label, text)."""

    name: str
    matchers: tuple[tuple[str, str], ...]


def selectors(expression: str) -> Iterator[Selector]:
    """Every series that the expression reads."""
    for name, call, matchers in _NAME.findall(_GROUPING.sub(" ", expression)):
        if not call and name not in _KEYWORDS:
            yield Selector(name, tuple(_MATCHER.findall(matchers)))


def groupings(expression: str) -> set[str]:
    """Every label in `by (...)`, `without (...)` and the like."""
    return {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",") if label.strip()}


def problems(expression: str, recorded: Collection[str] = (), metrics: Mapping[str, Metric] = METRICS) -> list[str]:
    """What of the expression neither the catalogue nor the recording rules know."""
    found = []
    labels = set(TARGET)
    for selector in selectors(expression):
        family = _family(selector.name, metrics)
        known = _labels(selector.name, family, recorded, metrics)
        if known is None:
            found.append(f"no series {selector.name}")
            continue
        labels |= known
        for label, text in selector.matchers:
            values = metrics[family].labels.get(label) if family is not None else None
            if label not in known:
                found.append(f"{selector.name} has no label {label}")
            elif values is not None and "$" not in text:
                found += [f"{selector.name}: {label} is never {one}" for one in text.split("|") if one not in values]
    return found + [f"nothing has the label {label}" for label in sorted(groupings(expression) - labels)]


def _family(series: str, metrics: Mapping[str, Metric]) -> str | None:
    """The metric of the catalogue that a series belongs to; a histogram has three series and none of its own name."""
    base = re.sub(r"_(bucket|sum|count)$", "", series)
    if base in metrics and base != series and metrics[base].kind == "histogram":
        return base
    return series if series in metrics and metrics[series].kind != "histogram" else None


def _labels(
    series: str, family: str | None, recorded: Collection[str], metrics: Mapping[str, Metric]
) -> frozenset[str] | None:
    if family is not None:
        return TARGET | set(metrics[family].labels) | ({"le"} if series.endswith("_bucket") else set())
    return RECORDED if series in recorded else OF_PROMETHEUS.get(series)
