"""The parts of a frame's latency, one after the other: for the waterfall of stages and the time line of one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.live.infer import Arrived
from benchmarks.record import Record, Span
from edge_runtime.domain import StageOutcome

MADE = "from making to capture"
RECEIVED = "received, decoded, and between the stages"
BETWEEN = "waiting, and between the stages"
HANDED_OVER, WRITTEN = "handed over", "written"
_LANES = {MADE: "camera", RECEIVED: "capture and infer", HANDED_OVER: "result", WRITTEN: "result"}
_LANE = "infer"

Parts = Mapping[str, float]
"""Seconds of each part by its name, in order. They add up to the latency."""

PARTS_NOTE = (
    "stages: what a frame waited before and between its stages is one part, shown before them. At the camera, the "
    "moment of capture is the daemon's estimate, from which its deadlines count, cut to milliseconds: receiving and "
    "decoding come after it."
)


def parts_of(arrived: Arrived) -> dict[str, float]:
    """The parts of a frame that was published at its moment."""
    result = arrived.result
    stages = {one.stage: one.seconds for one in result.analysis.stages if one.outcome is StageOutcome.RAN}
    return parts({}, (BETWEEN, result.age_seconds), stages, HANDED_OVER, arrived.latency)


def parts(before: Parts, age: tuple[str, float], stages: Parts, after: str, latency: float) -> dict[str, float]:
    """What was before the capture; the age of the frame when its result was ready, in stages and a rest; `after`."""
    between, age_seconds = age
    found = {**before, between: max(0.0, age_seconds - sum(stages.values())), **stages}
    return {**found, after: max(0.0, latency - sum(found.values()))}


def add_parts(record: Record, name: str, frames: Sequence[Parts]) -> None:
    """Add the frames of a round; of the first round also the time line of the frame with the median latency."""
    if name not in record.stages and frames:
        record.add_timeline(name, spans_of(sorted(frames, key=lambda one: sum(one.values()))[len(frames) // 2]))
    names = dict.fromkeys(part for one in frames for part in one)
    record.add_stages(name, {part: [one[part] for one in frames if part in one] for part in names})


def spans_of(parts: Parts) -> list[Span]:
    """The parts one after the other, from the moment of the frame on."""
    spans, at = [], 0.0
    for name, seconds in parts.items():
        spans.append(Span(_LANES.get(name, _LANE), name, at, at + seconds))
        at += seconds
    return spans
