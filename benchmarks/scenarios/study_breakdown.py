"""Where the daemon's time with one series went, from its own log and result. All times are seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.record import Span
from benchmarks.scenarios.following import moments

CLOSE, INFER, REPORT, DELIVER = "close after the quiet time", "assemble and infer", "report", "deliver"
MISSING = "missing in the log"
_MOMENTS = ("series complete", "job concluded", "report written")


@dataclass(frozen=True)
class StudyDeadline:
    """The deadline of a configuration's first pipeline, from the last slice on. `seconds` None: it names none."""

    of: str
    seconds: float | None

    @classmethod
    def read(cls, path: str) -> StudyDeadline:
        """What the YAML itself says; a default is no budget that a site has set."""
        pipeline = yaml.safe_load(Path(path).read_text())["pipelines"][0]
        return cls(f"pipelines.{pipeline['name']}.deadline_seconds", pipeline.get("deadline_seconds"))

    def missed(self, seconds: float) -> bool:
        """True where a result came later."""
        return self.seconds is not None and seconds > self.seconds


def breakdown(lines: Sequence[str], last_response_at: float, quiet: float, last: float, spool: Path) -> dict[str, Any]:
    """What was done between the end of the quiet time and the last result; `stages`: of which in each stage."""
    told = dict(moments(lines))
    if any(moment not in told for moment in _MOMENTS):
        return {MISSING: [moment for moment in _MOMENTS if moment not in told]}
    complete, concluded, written = (told[moment] for moment in _MOMENTS)
    newest = max((spool / "jobs").rglob("report/result.json"), key=lambda path: path.stat().st_mtime_ns, default=None)
    stages = {} if newest is None else {s["name"]: s["seconds"] for s in json.loads(newest.read_text())["stages"]}
    return {
        CLOSE: complete - last_response_at - quiet,
        INFER: concluded - complete,
        "stages": stages,
        REPORT: written - concluded,
        DELIVER: last - written,
    }


def stage_seconds(steps: dict[str, Any]) -> dict[str, float]:
    """The same, with no time in two stages: what is neither assembling nor in a stage of its own is `assemble`."""
    if MISSING in steps:
        return {}
    stages: dict[str, float] = steps["stages"]
    return {
        "close": max(0.0, steps[CLOSE]),
        "assemble": max(0.0, steps[INFER] - sum(stages.values())),
        **{f"stage {name}": seconds for name, seconds in stages.items()},
        REPORT: max(0.0, steps[REPORT]),
        DELIVER: max(0.0, steps[DELIVER]),
    }


def spans(steps: dict[str, Any], quiet: float) -> list[Span]:
    """The time line from the last slice's response on; stages one after the other, the last ends with `infer`."""
    if MISSING in steps:
        return []
    found = [Span("receive", "quiet time", 0.0, quiet)]
    at = quiet
    for lane, name in (("receive", CLOSE), ("infer", INFER), ("report", REPORT), ("deliver", DELIVER)):
        end = max(at, at + steps[name])
        found.append(Span(lane, name, at, end))
        if name == INFER:
            found += _stages(steps["stages"], at, end)
        at = end
    return found


def _stages(stages: dict[str, float], begin: float, end: float) -> list[Span]:
    found, at = [], end
    for name, seconds in reversed(stages.items()):
        began = max(begin, at - seconds)
        found.append(Span("stages", name, began, at))
        at = began
    return found[::-1]
