"""What a scenario's YAML may say. Unknown keys are refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.scenarios.checks import at_least_one
from benchmarks.scenarios.cold_start_schema import ColdStart
from benchmarks.scenarios.engine_schema import Engine
from benchmarks.scenarios.gpu_frame_schema import GpuFrame
from benchmarks.scenarios.idle_gap_schema import IdleGap
from benchmarks.scenarios.live_schema import Mixed, Overload, Soak, Video
from benchmarks.scenarios.pipeline_schema import PipelineScenario
from benchmarks.scenarios.scaling_schema import Scaling
from edge_runtime.errors import ConfigurationError
from edge_runtime.yaml_schema import read_schema

SHIPPED = Path(__file__).parent
PEERS = ("sequential", "day_script", "orthanc_plugin")
DESTINATIONS = ("folder", "dicom")
CONVERT_TARGETS = ("onnxruntime", "tensorrt-rtx")


@dataclass(frozen=True)
class Ingest:
    """Receiving: instances a second, durable, against receivers that are not."""

    kind: str = field(metadata={"choices": ("ingest",)})
    config: str = "examples/mr-brain.yaml"
    work: str = "bench-work"  # where spool and peers write; a real disk
    rounds: int = 7
    slices: int = 300
    associations: int = 4
    stock_slices: int = 100

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "slices", "associations", "stock_slices")
        if self.slices < self.associations:
            raise ValueError("slices: must be at least as many as associations")

    def reduced(self) -> Ingest:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(self, rounds=1, slices=8, stock_slices=4)


@dataclass(frozen=True)
class _Bounds:
    """Upper bounds of figures; None: no target."""

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if value is not None and value <= 0:
                raise ValueError(f"{one.name}: must be positive")


@dataclass(frozen=True)
class IdleTargets(_Bounds):
    """Upper bounds; None: no target. Megabytes are of 1e6 bytes, of the process alone."""

    ready_seconds: float | None = None
    ready_less_golden_seconds: float | None = None
    receive_megabytes: float | None = None
    infer_megabytes: float | None = None


@dataclass(frozen=True)
class Idle:
    """Starting: memory of each role, and time to readiness, with and without the golden runs."""

    kind: str = field(metadata={"choices": ("idle",)})
    config: str = "examples/mr-brain.yaml"
    work: str = "bench-work"
    rounds: int = 7
    settle_seconds: float = 3.0
    targets: IdleTargets = IdleTargets()

    def __post_init__(self) -> None:
        at_least_one(self, "rounds")
        if self.settle_seconds < 0:
            raise ValueError("settle_seconds: must not be negative")

    def reduced(self) -> Idle:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(self, rounds=1, settle_seconds=1.0)


@dataclass(frozen=True)
class Study:
    """One series: from the last slice's response to the last result at its destination."""

    kind: str = field(metadata={"choices": ("study",)})
    config: str = "examples/mr-brain.yaml"
    work: str = "bench-work"
    series: str = "mr-head"  # or ct-phantom, ct-phantom-negative, or a folder of Part 10 files of one series
    rounds: int = 7
    destinations: tuple[str, ...] = field(default=DESTINATIONS, metadata={"choices": DESTINATIONS})
    peers: tuple[str, ...] = field(default=PEERS, metadata={"choices": PEERS})
    give_up_seconds: float = 120.0

    def __post_init__(self) -> None:
        at_least_one(self, "rounds")
        if not self.destinations:
            raise ValueError("destinations: name at least one")
        if self.give_up_seconds <= 0:
            raise ValueError("give_up_seconds: must be positive")

    def reduced(self) -> Study:
        """One round to a folder."""
        return dataclasses.replace(self, rounds=1, destinations=("folder",))


@dataclass(frozen=True)
class Queue:
    """Many CT series received before the first is due: throughput and memory until all are delivered."""

    kind: str = field(metadata={"choices": ("queue",)})
    config: str = "examples/ct-head-triage.yaml"
    work: str = "bench-work"
    rounds: int = 5
    series: int = 100
    distinct: int = 10  # phantoms, every second one negative, that are sent again under new UIDs
    slices: int = 40
    matrix: int = 256
    associations: int = 4
    quiet_seconds: float = 60.0  # instead of the configuration's, so that all are received before the first is due
    settled_after: int = 20  # series, from which on memory must not grow
    give_up_seconds: float = 900.0

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "series", "distinct", "slices", "matrix", "associations", "settled_after")
        if self.series < max(self.distinct, self.associations, self.settled_after + 1):
            raise ValueError("series: must be more than settled_after, and as many as distinct and associations")
        if min(self.quiet_seconds, self.give_up_seconds) <= 0:
            raise ValueError("quiet_seconds, give_up_seconds: must be positive")

    def reduced(self) -> Queue:
        """A version of seconds, that measures nothing worth comparing."""
        return dataclasses.replace(
            self, rounds=1, series=4, distinct=2, associations=2, settled_after=1, slices=24, matrix=128,
            quiet_seconds=4.0,
        )  # fmt: skip


@dataclass(frozen=True)
class ConvertTargets(_Bounds):
    """Upper bounds of all builds together; megabytes (of 1e6 bytes) are of the process and its children at once."""

    seconds: float | None = None
    megabytes: float | None = None


@dataclass(frozen=True)
class Convert:
    """ResNet-18 from a checkpoint to INT8 engines: seconds, memory, and the share of each step."""

    kind: str = field(metadata={"choices": ("convert",)})
    work: str = "bench-work"
    rounds: int = 5
    calibration: int = 32
    holdout: int = 64
    compute_capabilities: tuple[str, ...] = ("8.6", "8.9", "12.0")
    engines: tuple[str, ...] = field(default=CONVERT_TARGETS, metadata={"choices": CONVERT_TARGETS})
    targets: ConvertTargets = ConvertTargets()

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "calibration", "holdout")
        if not self.engines or not self.compute_capabilities:
            raise ValueError("engines, compute_capabilities: name at least one")

    def reduced(self) -> Convert:
        """One round of the engine for this processor, with few pictures."""
        return dataclasses.replace(
            self, rounds=1, calibration=4, holdout=16, engines=self.engines[:1], targets=ConvertTargets()
        )


Scenario = (
    Ingest
    | Idle
    | Study
    | Queue
    | Engine
    | GpuFrame
    | Convert
    | Video
    | Overload
    | Mixed
    | Soak
    | Scaling
    | ColdStart
    | IdleGap
    | PipelineScenario
)
KINDS: dict[str, type[Scenario]] = {
    "ingest": Ingest, "idle": Idle, "study": Study, "queue": Queue, "engine": Engine, "convert": Convert,
    "pipeline": PipelineScenario,
    "gpu-frame": GpuFrame, "scaling": Scaling, "cold-start": ColdStart, "idle-gap": IdleGap,
    "video": Video, "overload": Overload, "mixed": Mixed, "soak": Soak,
}  # fmt: skip


def shipped() -> list[str]:
    """The names of the scenarios that come with the command."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_scenario(name: str) -> tuple[str, Scenario]:
    """Read a shipped scenario by name, or a YAML file by path; its name and what it says.

    Raises:
        ConfigurationError: there is none, or it does not fit.
    """
    path = SHIPPED / f"{name}.yaml" if name in shipped() else Path(name)
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        known = ", ".join(shipped())
        raise ConfigurationError(f"scenario {name}: {error.strerror}; there are {known}, or give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"scenario {name} is no YAML: {error}") from None
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind not in KINDS:
        raise ConfigurationError(f"scenario {name}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return path.stem, read_schema(KINDS[kind], path)
