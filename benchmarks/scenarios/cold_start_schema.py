"""What the YAML of the scenario about cold starts may say."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from benchmarks.scenarios.checks import at_least_one, positive

WARM, COLD = "warm", "cold"
CACHES = (WARM, COLD)
SCRIPT = "script"


@dataclass(frozen=True)
class ColdStart:
    """From the start of the command to the first result, and how that compares with later ones."""

    kind: str = field(metadata={"choices": ("cold-start",)})
    config: str = "examples/ct-head-triage.yaml"
    work: str = "bench-work"
    series: str = "ct-phantom"  # as of the kind study
    rounds: int = 5
    caches: tuple[str, ...] = field(default=CACHES, metadata={"choices": CACHES})  # the page cache at the start
    peers: tuple[str, ...] = field(default=(SCRIPT,), metadata={"choices": (SCRIPT,)})
    studies: int = 10  # one after the other; the last ones are the steady state
    quiet_seconds: float = 1.0  # instead of the configuration's
    interrupted: bool = True  # also: every process is killed while a study is analysed, and started again
    give_up_seconds: float = 120.0  # of one study

    def __post_init__(self) -> None:
        at_least_one(self, "rounds")
        positive(self, "quiet_seconds", "give_up_seconds")
        if not self.caches:
            raise ValueError("caches: name at least one")
        if self.studies < 2:
            raise ValueError("studies: must be at least 2, a first and a later one")

    def reduced(self) -> ColdStart:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(self, rounds=1, studies=2)
