"""What came of a camera's frames: the lines that a system wrote, told by the number in each frame. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from benchmarks.live.networks import NUMBER_BITS
from benchmarks.live.waterfall import MADE, RECEIVED, WRITTEN, parts
from benchmarks.record import BenchFailed
from benchmarks.statistics import median

NUMBER_STAGE, FIND_STAGE = "number", "find"
NEAR_PIXELS = 32
"""The boxes of two systems on one picture lie at most so far apart, edge by edge."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Said:
    """What a line says: the number in the frame, and the boxes (top, left, bottom, right) of what was found.

    Of the daemon also its stages' seconds, when it says the frame was captured (Unix seconds, cut to milliseconds) and
    how old the frame was when its result was ready.
    """

    number: int
    boxes: tuple[Box, ...]
    stages: Mapping[str, float] = field(default_factory=dict)
    captured_unix: float = 0.0
    age_seconds: float = 0.0


def edge_said(line: bytes) -> Said:
    """A line of the destination `jsonlines` (docs/live-outputs.md)."""
    told: dict[str, Any] = json.loads(line)
    found = told["findings"]
    number = sum(
        1 << int(one["label"].removeprefix("bit-"))
        for one in found
        if one["stage"] == NUMBER_STAGE and one["answer"] == "positive"
    )
    boxes = tuple(_box(one["box"]) for one in found if one["stage"] == FIND_STAGE and one["box"] is not None)
    stages = {one["name"]: one["seconds"] for one in told["stages"] if one["outcome"] == "ran"}
    captured = datetime.fromisoformat(told["captured"].replace("Z", "+00:00")).timestamp()
    return Said(number, boxes, stages, captured, told["age_seconds"])


def _box(box: Mapping[str, int]) -> Box:
    return box["top"], box["left"], box["bottom"], box["right"]


def peer_said(line: bytes) -> Said:
    """A line of peers/opencv_loop.py."""
    told = json.loads(line)
    return Said(told["number"], tuple((a, b, c, d) for a, b, c, d in told["boxes"]))


@dataclass(frozen=True)
class Result:
    """A result, the moment (CLOCK_MONOTONIC seconds) at which its frame was made, and when its line was seen."""

    made: float
    seen: float
    said: Said

    @property
    def latency(self) -> float:
        """From the making of the frame until the line was seen, seconds."""
        return self.seen - self.made


@dataclass(frozen=True)
class Turn:
    """The frames that the camera made while one system's results counted, and those results, in their order."""

    frames: int
    results: tuple[Result, ...]

    @property
    def latencies(self) -> list[float]:
        """Seconds."""
        return [one.latency for one in self.results]

    def within(self, deadline_seconds: float) -> int:
        """How many frames had a result in time."""
        return sum(one.latency <= deadline_seconds for one in self.results)


def turn_of(made: Mapping[int, float], lines: Sequence[tuple[float, Said]]) -> Turn:
    """Put results to frames. `made`: moments by number; `lines`: when each was seen, and what it says.

    Raises:
        BenchFailed: there is no result, or two for one frame: then the numbers were not read.
    """
    drawn = {number % (1 << NUMBER_BITS): moment for number, moment in made.items()}
    results = [Result(drawn[said.number], seen, said) for seen, said in lines if said.number in drawn]
    if len({one.said.number for one in results}) < len(results):
        raise BenchFailed("the camera: two results name the same frame, so its number was not read rightly")
    if not results:
        raise BenchFailed(f"the camera: none of {len(made)} frames has a result; {len(lines)} lines were written")
    return Turn(len(made), tuple(results))


def compare_answers(name: str, ours: Turn, theirs: Turn, distinct: int) -> float:
    """The share of pictures on which both systems find the same on most frames: as many boxes, the first at one place.

    Raises:
        BenchFailed: it is less than 0.9, or they have no picture in common.
    """
    edge, peer = _by_picture(ours, distinct), _by_picture(theirs, distinct)
    both = edge.keys() & peer.keys()
    same = sum(_alike(edge[picture], peer[picture]) for picture in both)
    if not both or same < 0.9 * len(both):
        raise BenchFailed(f"the camera: edge and {name} agree on {same} of {len(both)} pictures: not the same work")
    return same / len(both)


def _by_picture(turn: Turn, distinct: int) -> dict[int, list[tuple[Box, ...]]]:
    found = defaultdict(list)
    for one in turn.results:
        found[one.said.number % distinct].append(one.said.boxes)
    return found


def _alike(ours: Sequence[tuple[Box, ...]], theirs: Sequence[tuple[Box, ...]]) -> bool:
    counts = [median([len(boxes) for boxes in each]) for each in (ours, theirs)]
    if counts[0] != counts[1]:
        return False
    first = [[boxes[0] for boxes in each if boxes] for each in (ours, theirs)]
    if not first[0] or not first[1]:
        return True
    edges = [[median([box[k] for box in each]) for k in range(4)] for each in first]
    return all(abs(a - b) <= NEAR_PIXELS for a, b in zip(*edges, strict=True))


def parts_of(result: Result, made_unix: float) -> dict[str, float]:
    """The parts of an edge result's latency (waterfall.Parts). `made_unix`: when its frame was made, Unix seconds."""
    said = result.said
    age = min(said.age_seconds, result.latency)
    reached = min(max(0.0, said.captured_unix - made_unix), result.latency - age)
    return parts({MADE: reached}, (RECEIVED, age), said.stages, WRITTEN, result.latency)
