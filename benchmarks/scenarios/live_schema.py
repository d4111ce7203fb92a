"""What the YAML of a scenario of live video may say."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from benchmarks.live.site import PIPELINES, SYNTHETIC
from benchmarks.scenarios.checks import at_least_one, positive


@dataclass(frozen=True)
class _Live:
    """What all of them have: three stages, and frames on which all three run."""

    kind: str
    work: str = "bench-work"
    pipeline: str = field(default=SYNTHETIC, metadata={"choices": PIPELINES})
    rounds: int = 7
    distinct: int = 16  # frames, shown again and again

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "distinct")


@dataclass(frozen=True)
class Video(_Live):
    """What the runtime adds to each frame at half load, and to the throughput when it is saturated."""

    kind: str = field(metadata={"choices": ("video",)})
    threads: int = 0  # of ONNX Runtime; 0: as many as cores
    device: str = field(default="cpu", metadata={"choices": ("cpu", "cuda")})
    frames_per_second: float = 25.0  # measured beside half of the capacity, where it is not more than `highest_load`
    highest_load: float = 0.7
    seconds: float = 6.0  # of each side, rate and round
    saturated_seconds: float = 4.0
    deadline_seconds: float = 1.0  # so long that no frame is given up
    camera: bool = True  # the whole daemon and the peers at an RTSP camera, `frames_per_second` and `seconds`
    camera_deadline_seconds: float = 0.1  # from the making of a frame until its result is written
    camera_warm_seconds: float = 2.0  # from the first result of each system on; not counted

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "frames_per_second", "highest_load", "seconds", "saturated_seconds", "deadline_seconds")
        positive(self, "camera_deadline_seconds", "camera_warm_seconds")

    def reduced(self) -> Video:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(
            self, rounds=1, distinct=4, seconds=1.0, saturated_seconds=1.0, highest_load=100.0,
            camera_deadline_seconds=1.0, camera_warm_seconds=0.5,
        )  # fmt: skip


@dataclass(frozen=True)
class Overload(_Live):
    """Twice as many frames as there is capacity for: what is in time, against a queue and against the newest frame."""

    kind: str = field(metadata={"choices": ("overload",)})
    threads: int = 0
    load: float = 2.0  # times the capacity, measured in each round
    deadline_runs: float = 2.5  # a deadline of so many times what the bare peer needs for a frame
    deadline_seconds: float = 0.05  # another, where a frame that is taken at once fits well into it
    seconds: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "deadline_runs", "deadline_seconds", "seconds")
        if self.load <= 1:
            raise ValueError("load: must be more than 1")

    def reduced(self) -> Overload:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(self, rounds=1, distinct=4, seconds=1.0, deadline_seconds=2.0, deadline_runs=50.0)


@dataclass(frozen=True)
class Mixed(_Live):
    """Live frames with and without a head CT study beside them, through the whole daemon."""

    kind: str = field(metadata={"choices": ("mixed",)})
    rounds: int = 5
    frames_per_second: int = 25
    deadline_seconds: float = 0.05  # of live frames
    study_deadline_seconds: float = 60.0
    seconds: float = 25.0  # of each time, with and without
    quiet_seconds: float = 5.0  # that end a series
    give_up_seconds: float = 300.0  # of one study

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "frames_per_second")
        positive(self, "deadline_seconds", "study_deadline_seconds", "seconds", "quiet_seconds")
        positive(self, "give_up_seconds")

    def reduced(self) -> Mixed:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(self, rounds=1, distinct=4, seconds=2.0, deadline_seconds=2.0, quiet_seconds=1.0)


@dataclass(frozen=True)
class Soak(_Live):
    """A long run, in which nothing may grow."""

    kind: str = field(metadata={"choices": ("soak",)})
    rounds: int = 1
    simulated_frames: int = 1_000_000
    minutes: float = 60.0  # of real frames
    frames_per_second: int = 25
    deadline_seconds: float = 0.05
    warm_share: float = 0.2  # of a run, at its beginning: it does not count
    parts: int = 9  # of the rest
    most_megabytes: float = 8.0  # that a process may hold more in the last part than in the first

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "simulated_frames", "frames_per_second")
        positive(self, "minutes", "deadline_seconds", "most_megabytes")
        if self.rounds != 1:
            raise ValueError("rounds: must be 1; a longer run says more than another one")
        if not 0 <= self.warm_share < 1 or self.parts < 2:
            raise ValueError("warm_share: is 0 to 1; parts: at least 2")

    def reduced(self) -> Soak:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(
            self, distinct=4, simulated_frames=1000, minutes=0.08, deadline_seconds=2.0, parts=4, most_megabytes=1000.0
        )
