"""What the YAML of a scenario about bare engines may say."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from benchmarks.load.arrivals import Mode
from benchmarks.scenarios.checks import DEVICES, at_least_one, positive

PRECISIONS = ("fp32", "fp16", "int8")
ONNXRUNTIME, ONNXRUNTIME_DEFAULTS, TRTEXEC = "onnxruntime", "onnxruntime-defaults", "trtexec"
ENGINE_PEERS = (ONNXRUNTIME, ONNXRUNTIME_DEFAULTS, TRTEXEC)
ENGINE_LOADS = (Mode.SERVER.value, Mode.MULTI_STREAM.value, Mode.OFFLINE.value)


@dataclass(frozen=True)
class Engine:
    """The bare engines, in turn: ResNet-18 in several precisions, and built engines by folder."""

    kind: str = field(metadata={"choices": ("engine",)})
    work: str = "bench-work"
    device: str = field(default="auto", metadata={"choices": DEVICES})  # auto: the processor, or an engine's card
    rounds: int = 15
    runs: int = 50
    seconds: float = 2.0
    precisions: tuple[str, ...] = field(default=PRECISIONS, metadata={"choices": PRECISIONS})
    engines: tuple[str, ...] = ()
    threads: int = 0  # of ONNX Runtime; 0: as many as cores
    peers: tuple[str, ...] = field(default=ENGINE_PEERS, metadata={"choices": ENGINE_PEERS})
    loads: tuple[str, ...] = field(default=(), metadata={"choices": ENGINE_LOADS})  # beside single-stream
    load_seconds: float = 2.0  # of each server and multi-stream load in a round
    server_share: float = 0.5  # of the capacity, one run after the other
    server_rate: float = 0.0  # runs a second instead, so that two engines are asked alike; 0: the share
    samples_per_query: int = 8  # of multi-stream
    offline_samples: int = 50  # or as many as fit into load_seconds
    layers: int = 0  # runs of which the time of each layer is told, after all rounds; 0: not told

    def __post_init__(self) -> None:
        at_least_one(self, "rounds", "runs", "samples_per_query", "offline_samples")
        positive(self, "seconds", "load_seconds", "server_share")
        if self.layers < 0:
            raise ValueError("layers: must not be negative; 0 is none")
        if self.server_rate < 0:
            raise ValueError("server_rate: must not be negative; 0 is server_share of the capacity")
        if self.threads < 0:
            raise ValueError("threads: must not be negative; 0 is as many as cores")
        if not self.precisions and not self.engines:
            raise ValueError("engines: name at least one, or a precision")

    def reduced(self) -> Engine:
        """A version of seconds, that measures nothing worth comparing."""
        two = tuple(one for one in self.precisions if one != "fp16")
        return dataclasses.replace(
            self, rounds=1, runs=4, precisions=two, engines=self.engines[:1], load_seconds=0.2, offline_samples=4
        )
