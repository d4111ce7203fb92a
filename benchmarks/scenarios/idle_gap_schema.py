"""What the YAML of the scenario about pauses may say."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from benchmarks.live.site import PIPELINES, SYNTHETIC
from benchmarks.scenarios.checks import at_least_one


@dataclass(frozen=True)
class IdleGap:
    """The first run after a pause, against a run without one; and live frames that come seldom."""

    kind: str = field(metadata={"choices": ("idle-gap",)})
    work: str = "bench-work"
    rounds: int = 7
    engine: str = "engines/endoscopy-informative/onnxruntime-fp32"
    threads: int = 0  # of ONNX Runtime; 0: as many as cores
    pauses_seconds: tuple[float, ...] = (0.0, 0.01, 0.1, 1.0, 5.0)  # begin with none
    runs: int = 5  # after each pause, or frames, in a round
    pipeline: str = field(default=SYNTHETIC, metadata={"choices": PIPELINES})
    frames_every_seconds: tuple[float, ...] = (0.04, 0.1, 1.0, 5.0)  # none: frames are not measured

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "runs")
        if self.threads < 0:
            raise ValueError("threads: must not be negative; 0 is as many as cores")
        if self.pauses_seconds[:1] != (0.0,) or len(self.pauses_seconds) < 2:
            raise ValueError("pauses_seconds: must begin with 0, and have one more")
        for name in ("pauses_seconds", "frames_every_seconds"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name}: must rise")
        if self.frames_every_seconds and self.frames_every_seconds[0] <= 0:
            raise ValueError("frames_every_seconds: must be positive")

    def reduced(self) -> IdleGap:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(
            self, rounds=1, runs=2, pauses_seconds=self.pauses_seconds[:3],
            frames_every_seconds=self.frames_every_seconds[:2],
        )  # fmt: skip
