"""What the YAML of the scenario about growth may say."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from benchmarks.scenarios.checks import at_least_one, positive

STREAMS, SLICES, ASSOCIATIONS, ENGINES = "streams", "slices", "associations", "engines"
PARTS = (STREAMS, SLICES, ASSOCIATIONS, ENGINES)


@dataclass(frozen=True)
class Scaling:
    """What a unit of work costs, by how much of it there is at once."""

    kind: str = field(metadata={"choices": ("scaling",)})
    work: str = "bench-work"
    rounds: int = 5
    parts: tuple[str, ...] = field(default=PARTS, metadata={"choices": PARTS})
    streams: tuple[int, ...] = (1, 2, 4, 8, 16)
    frames_per_second: float = 48.0  # of all streams together
    stream_seconds: float = 5.0  # of each number of streams and round
    slices: tuple[int, ...] = (30, 100, 300, 1200)
    matrix: int = 256
    quiet_seconds: float = 2.0  # that end a series
    associations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    instances: int = 256  # of all associations together
    engines: tuple[int, ...] = (1, 2, 4, 8)
    engine_megabytes: float = 8.0  # of weights
    engine_runs: int = 200
    give_up_seconds: float = 300.0  # of one series

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "matrix", "instances", "engine_runs")
        positive(self, "frames_per_second", "stream_seconds", "quiet_seconds", "engine_megabytes", "give_up_seconds")
        if not self.parts:
            raise ValueError("parts: name at least one")
        for part in PARTS:
            sizes: tuple[int, ...] = getattr(self, part)
            if not sizes or min(sizes) < 1 or len(set(sizes)) != len(sizes):
                raise ValueError(f"{part}: name one size or more, each once and at least 1")
        if min(self.slices) < 3:
            raise ValueError("slices: must be at least 3, or there is no volume")
        if self.instances < max(self.associations):
            raise ValueError("instances: must be at least as many as associations")

    def reduced(self) -> Scaling:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(
            self, rounds=1, streams=(1, 3), stream_seconds=0.5, slices=(8, 16), matrix=64, quiet_seconds=1.0,
            associations=(1, 2), instances=8, engines=(1, 2), engine_megabytes=1.0, engine_runs=5,
        )  # fmt: skip
