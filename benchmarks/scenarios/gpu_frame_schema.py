"""What the YAML of the scenario about single frames on a GPU may say."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from benchmarks.live.site import PIPELINES, SYNTHETIC
from benchmarks.scenarios.checks import at_least_one, positive

BACKENDS = ("auto", "onnxruntime", "tensorrt")


@dataclass(frozen=True)
class GpuFrame:
    """From a picture in pinned memory of the host to the answers on the host, against the bare engines."""

    kind: str = field(metadata={"choices": ("gpu-frame",)})
    work: str = "bench-work"
    pipeline: str = field(default=SYNTHETIC, metadata={"choices": PIPELINES})
    backend: str = field(default="auto", metadata={"choices": BACKENDS})
    costs: tuple[int, ...] = (1, 8)  # the networks of `synthetic`, so many times as deep
    rounds: int = 5
    distinct: int = 8  # frames, shown again and again
    frames: int = 1000  # of each side and round, one after the other
    seconds: float = 4.0  # or as many as fit into this
    saturated_seconds: float = 3.0
    lanes: int = 2  # frames under way at once where it is saturated

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "distinct", "frames", "lanes")
        positive(self, "seconds", "saturated_seconds")
        if not self.costs or min(self.costs) < 1:
            raise ValueError("costs: name at least one, from 1 on")

    def reduced(self) -> GpuFrame:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(
            self, rounds=1, costs=self.costs[:1], distinct=2, frames=5, seconds=1.0, saturated_seconds=0.2
        )
