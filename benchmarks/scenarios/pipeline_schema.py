"""What the YAML of a scenario about a configured pipeline may say."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from benchmarks.load.arrivals import Mode
from benchmarks.scenarios.checks import DEVICES, at_least_one, positive

BARE = "bare"
PIPELINE_LOADS = (Mode.OFFLINE.value, Mode.FIXED_RATE.value)


@dataclass(frozen=True)
class PipelineScenario:
    """The stages of a pipeline as configured, in one process, without DICOM and files."""

    kind: str = field(metadata={"choices": ("pipeline",)})
    config: str = "examples/ct-head-triage.yaml"
    work: str = "bench-work"
    device: str = field(default="auto", metadata={"choices": DEVICES})  # auto: as configured
    pipeline: str = ""  # its name; absent: the configuration's first
    input: str = "ct-phantom"  # or ct-phantom-negative, mr-head, disc-frames, endoscopy-frames, or a folder of a series
    distinct: int = 8  # computed frames, shown again and again
    rounds: int = 7
    images: int = 20  # of each side in a round, one after the other
    seconds: float = 5.0  # or as many as fit into this
    peers: tuple[str, ...] = field(default=(BARE,), metadata={"choices": (BARE,)})
    loads: tuple[str, ...] = field(default=PIPELINE_LOADS, metadata={"choices": PIPELINE_LOADS})  # beside single-stream
    load_seconds: float = 5.0  # of each load, side and round
    rate_share: float = 0.5  # of the capacity, of the fixed-rate load

    def __post_init__(self) -> None:
        at_least_one(self, "distinct", "rounds", "images")
        positive(self, "seconds", "load_seconds", "rate_share")

    def reduced(self) -> PipelineScenario:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(self, rounds=1, images=3, distinct=2, load_seconds=0.3)
