"""Engines, and the pipelines whose stages run them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from edge_runtime.config.rules import NAME, condition, engine_name, once, require

RESULT_KINDS = ("sr", "seg", "overlay", "json")
_PUBLIC_KEY = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Cuda:
    ordinal: int = 0  # of the GPU, as CUDA counts
    binding: str = field(default="auto", metadata={"choices": ("auto", "cuda-python", "pycuda")})
    wait: str = field(default="blocking", metadata={"choices": ("blocking", "spin")})
    graphs: bool = True
    hang_seconds: float = 30.0  # a wait for the GPU that takes longer ends the process: its supervisor starts another
    cache: str | None = None  # of compiled kernels; absent: systemd's, else .cache in `path` if it can be written
    memory_limit_bytes: int = 0  # of ONNX Runtime's arena of each engine; 0: what it needs

    def __post_init__(self) -> None:
        require(self.ordinal >= 0, "ordinal", "must not be negative")
        require(self.hang_seconds > 0, "hang_seconds", "must be positive")
        require(self.cache != "", "cache", "name a folder")
        require(self.memory_limit_bytes >= 0, "memory_limit_bytes", "must not be negative")


BACKENDS = ("auto", "onnxruntime", "tensorrt", "tensorrt_rtx")


@dataclass(frozen=True)
class Engines:
    path: str = "/var/lib/edge-runtime/engines"
    backend: str = field(default="auto", metadata={"choices": BACKENDS})  # tensorrt: whichever of the two is there
    device: str = field(default="auto", metadata={"choices": ("auto", "cpu", "cuda")})
    cuda: Cuda = Cuda()
    trusted_keys: tuple[str, ...] = ()
    allow_unsigned: bool = False
    allow_ungated: bool = False  # fp16 and int8 whose task metrics nobody measured
    threads: int = 0  # of ONNX Runtime; 0: as many as cores

    def __post_init__(self) -> None:
        require(bool(self.path), "path", "name a folder")
        for index, key in enumerate(self.trusted_keys):
            require(_PUBLIC_KEY.fullmatch(key.strip()) is not None, f"trusted_keys[{index}]",
                    "is the 64 hexadecimal digits that edge-convert keygen prints")  # fmt: skip
        require(self.threads >= 0, "threads", "must not be negative")
        require(self.device != "cpu" or not self.backend.startswith("tensorrt"), "device",
                f"{self.backend} runs on a GPU; set cuda or auto, or backend: onnxruntime")  # fmt: skip


@dataclass(frozen=True)
class Match:
    """Which series a pipeline takes. Absent keys match all; lists match any of their values, without regard to case."""

    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    called_ae_title: tuple[str, ...] = ()
    calling_ae_title: tuple[str, ...] = ()
    description: str | None = None  # regular expression, searched in Series Description
    image_type: tuple[str, ...] = ()  # values that must all be in Image Type
    minimum_slices: int = 1

    def __post_init__(self) -> None:
        require(self.minimum_slices >= 1, "minimum_slices", "must be at least 1")
        if self.description is not None:
            try:
                re.compile(self.description)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"description: not a regular expression: {error}") from error


@dataclass(frozen=True)
class Cheaper:
    """A variant of a stage that needs less time: another engine, or another precision of one."""

    engine: str
    precision: str | None = field(default=None, metadata={"choices": ("fp32", "fp16", "int8")})

    def __post_init__(self) -> None:
        engine_name(self.engine)


@dataclass(frozen=True)
class Stage:
    name: str
    engine: str
    precision: str | None = field(default=None, metadata={"choices": ("fp32", "fp16", "int8")})
    when: str | None = None  # STAGE.LABEL.positive or STAGE.LABEL.negative
    within: str | None = None  # a stage before this one: run once in each of its regions
    margin: float = 0.1  # of a region's extent, added on each side
    optional: bool = False
    threshold: float | None = None  # overrides the card's validated threshold; recorded in every result
    cheaper: tuple[Cheaper, ...] = field(default=(), metadata={"shorthand": "engine"})  # the dearest first

    def __post_init__(self) -> None:
        require(NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        engine_name(self.engine)
        if self.when is not None:
            condition("when", self.when)
        require(0 <= self.margin <= 10, "margin", "is 0 to 10 times the region's extent")
        if self.threshold is not None:
            require(0 < self.threshold < 1, "threshold", "is between 0 and 1")

    @property
    def variants(self) -> tuple[Stage, ...]:
        """This stage, and in its place each of `cheaper`, as stages of the same name."""
        cheaper = (replace(self, engine=c.engine, precision=c.precision, cheaper=()) for c in self.cheaper)
        return (self, *cheaper)

    @property
    def asked(self) -> str:
        """The engine that the stage asks for, with the precision where it names one."""
        return self.engine if self.precision is None else f"{self.engine} {self.precision}"


@dataclass(frozen=True)
class SendTo:
    name: str
    results: tuple[str, ...] | None = field(default=None, metadata={"choices": RESULT_KINDS})


@dataclass(frozen=True)
class Pipeline:
    name: str
    stages: tuple[Stage, ...]
    match: Match | None = None  # absent: every series; of a pipeline for video, none
    complete_after_seconds: float = 5.0
    deadline_seconds: float = 60.0
    maximum_seconds: float = 600.0  # a job that runs longer has hung: its worker is replaced
    results: tuple[str, ...] = field(default=("sr", "seg", "overlay", "json"), metadata={"choices": RESULT_KINDS})
    send_to: tuple[SendTo, ...] = field(default=(), metadata={"shorthand": "name"})

    def __post_init__(self) -> None:
        require(NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        require(bool(self.stages), "stages", "name at least one stage")
        require(self.complete_after_seconds > 0, "complete_after_seconds", "must be positive")
        require(self.deadline_seconds > 0, "deadline_seconds", "must be positive")
        require(self.maximum_seconds > 0, "maximum_seconds", "must be positive")
        once("results", self.results)
        once("send_to", [send.name for send in self.send_to])
        earlier: set[str] = set()
        for index, stage in enumerate(self.stages):
            require(stage.name not in earlier, f"stages[{index}].name", f"{stage.name!r} stands twice")
            for key, text in (("when", stage.when), ("within", stage.within)):
                if text is not None:
                    needed = text if key == "within" else text.split(".")[0]
                    require(needed in earlier, f"stages[{index}].{key}", f"no stage {needed!r} before this one")
            earlier.add(stage.name)

    @property
    def variants(self) -> tuple[Stage, ...]:
        """Every stage, each followed by its cheaper variants."""
        return tuple(variant for stage in self.stages for variant in stage.variants)

    @property
    def wanted(self) -> Match:
        """What a series must be for this pipeline."""
        return self.match or Match()
