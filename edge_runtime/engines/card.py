"""The card of a model, `model.yaml`: what it is for, what goes in, what comes out, and what that means."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.domain import Code
from edge_runtime.engines.recipe import Crop, Letterbox, Operation, Orient, Resample, Resize, Step, Tile
from edge_runtime.errors import ConfigurationError
from edge_runtime.yaml_schema import read_schema

CARD_FILE = "model.yaml"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._!+-]*")  # of a package and its version: no option, no address
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _require(condition: bool, key: str, message: str) -> None:
    if not condition:
        raise ValueError(f"{key}: {message}")


CHECKPOINT_FORMATS = ("onnx", "torchscript", "pt2", "state_dict", "monai_bundle", "ultralytics")


@dataclass(frozen=True)
class Architecture:
    """The network that a state dictionary belongs to: `callable` (module:name) is called with `arguments`."""

    callable: str
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _require(_CALLABLE.fullmatch(self.callable) is not None, "callable",
                 f"is module:name, got {self.callable!r}")  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """Where the weights are: `path` beside the card, or `member` of a version of a package on PyPI.

    `entry` names the state dictionary within a file that holds more; absent, it is found. `exporter` says how a
    PyTorch module becomes ONNX: by `torch.export` or by tracing.
    """

    sha256: str
    license: str
    format: str = field(metadata={"choices": CHECKPOINT_FORMATS})
    path: str | None = None
    package: str | None = None
    version: str | None = None
    member: str | None = None
    architecture: Architecture | None = None
    entry: str | None = None
    exporter: str | None = field(default=None, metadata={"choices": ("export", "trace")})

    def __post_init__(self) -> None:
        _require(_SHA256.fullmatch(self.sha256) is not None, "sha256", "is 64 hexadecimal digits")
        dictionary = self.format == "state_dict"
        _require(dictionary == (self.architecture is not None), "architecture",
                 "goes with format: state_dict, and is needed there")  # fmt: skip
        _require(self.entry is None or dictionary, "entry", "goes with format: state_dict")
        from_package = (self.package, self.version, self.member)
        whole = all(v is not None for v in from_package) if self.path is None else not any(from_package)
        _require(whole, "path", "give either path, or package, version and member")
        for key, text in (("package", self.package), ("version", self.version)):
            plain = text is None or _PLAIN.fullmatch(text) is not None
            _require(plain, key, f"is a plain name or number, got {text!r}")


@dataclass(frozen=True)
class Tensor:
    """A network's input or output: name, fixed shape with the batch first, element type."""

    name: str
    shape: tuple[int, ...]
    dtype: str = field(default="float32", metadata={"choices": ("float32",)})

    def __post_init__(self) -> None:
        _require(len(self.shape) >= 2 and min(self.shape) >= 1, "shape", f"is fixed and positive, got {self.shape}")
        _require(self.shape[0] == 1, "shape", f"the batch, its first number, is 1, got {self.shape[0]}")


@dataclass(frozen=True)
class Input(Tensor):
    """The input. `volume`: (1, 1, D, H, W). `frame`: (1, channels, H, W), run for each frame or slice."""

    kind: str = field(default="volume", metadata={"choices": ("volume", "frame")})

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(len(self.shape) == 2 + self.spatial, "shape", f"of a {self.kind} has {2 + self.spatial} numbers")
        _require(
            self.shape[1] in ((1,) if self.kind == "volume" else (1, 3)), "shape", "channels are 1, or 3 of a frame"
        )

    @property
    def spatial(self) -> int:
        """How many axes are space: 3 of a volume, 2 of a frame."""
        return 3 if self.kind == "volume" else 2


@dataclass(frozen=True)
class Concept:
    """A coded concept (PS3.3 section 8.1)."""

    value: str
    scheme: str
    meaning: str

    @property
    def code(self) -> Code:
        """The concept as the domain's type."""
        return Code(self.value, self.scheme, self.meaning)


@dataclass(frozen=True)
class Label:
    """One thing that the model answers: its output channel, its codes and its validated threshold.

    A segmented volume that is not empty and outside `plausible_ml` is no answer: the stage fails.
    """

    name: str
    concept: Concept
    channel: int
    threshold: float
    category: Concept | None = None  # Segmented Property Category; a segmentation needs it
    plausible_ml: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _require(_LABEL.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-' and '_', got {self.name!r}")
        _require(self.channel >= 0, "channel", "counts from 0")
        _require(0 < self.threshold < 1, "threshold", "is between 0 and 1")
        pair = self.plausible_ml
        _require(pair is None or (len(pair) == 2 and 0 <= pair[0] < pair[1]), "plausible_ml",
                 "is two numbers, the lower first")  # fmt: skip


@dataclass(frozen=True)
class Expect:
    """What an image must be like before it is worth asking the network.

    The largest connected part of a volume whose values lie within `range` must fill `volume_ml`; `what` names it for
    people. With `enclosed_by` only that counts which values above it surround in its axial plane, as the skull does the
    brain. Another image makes the stage fail: it has no answer, and so no negative one.
    """

    what: str
    range: tuple[float, ...]
    volume_ml: tuple[float, ...]
    enclosed_by: float | None = None

    def __post_init__(self) -> None:
        _require(bool(self.what), "what", "say what is expected")
        for key, pair in (("range", self.range), ("volume_ml", self.volume_ml)):
            _require(len(pair) == 2 and pair[0] < pair[1], key, "is two numbers, the lower first")


@dataclass(frozen=True)
class Decode:
    """How the output becomes answers.

    `activation` turns the output into probabilities; `none` where it is one already.

    `layout: mask` gives a probability for every voxel. A mask is what lies above the label's threshold; `keep` its
    largest 26-connected component or all of it; `fill_holes` those that no 6-connected way leads out of. With `keep:
    each` every component of at least `minimum_ml` is a lesion of its own. A detection's box holds, on each axis, the
    planes of which more than `planes_above` is mask: one box around all that is kept, or (`keep: each`) one a
    component.

    `layout: yolov8` gives boxes, (1, 2 x axes + channels, boxes): centre and size on each axis of space in voxels of
    the input, then a score for each channel. A frame's axes are x, y (column, row), as published; a volume's are those
    of the input. `layout: yolov5` gives boxes of frames, (1, boxes, 5 + channels): centre and size (x, y), objectness,
    and a score for each channel, which counts times the objectness. Of boxes that share more than `overlap` of their
    union the best is kept.
    """

    activation: str = field(default="none", metadata={"choices": ("none", "sigmoid", "softmax")})
    layout: str = field(default="mask", metadata={"choices": ("mask", "yolov5", "yolov8")})
    keep: str = field(default="all", metadata={"choices": ("all", "largest", "each")})
    fill_holes: bool = False
    planes_above: float = 0.0
    minimum_ml: float = 0.0
    overlap: float = 0.3
    maximum_regions: int = 32  # more is no plausible answer: the stage fails

    def __post_init__(self) -> None:
        _require(0 <= self.planes_above < 1, "planes_above", "is a share, 0 up to 1")
        _require(self.minimum_ml >= 0, "minimum_ml", "must not be negative")
        _require(self.minimum_ml == 0 or self.keep == "each", "minimum_ml", "goes with keep: each")
        _require(0 < self.overlap < 1, "overlap", "is a share, between 0 and 1")
        _require(self.maximum_regions >= 1, "maximum_regions", "must be at least 1")

    @property
    def gives_boxes(self) -> bool:
        """Whether the output is a list of boxes."""
        return self.layout != "mask"


@dataclass(frozen=True)
class Metric:
    """A figure of the evaluation, its 95 % interval, and what the plain method reaches on the same data."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    baseline: float | None = None

    def __post_init__(self) -> None:
        _require(_LABEL.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-' and '_', got {self.name!r}")
        given = [v for v in (self.low, self.value, self.high) if v is not None]
        _require(given == sorted(given), "value", "lies within low..high")


@dataclass(frozen=True)
class Evaluation:
    """How good the model is, on which data, and the command that measured it."""

    data: str
    command: str
    metrics: tuple[Metric, ...]

    def __post_init__(self) -> None:
        _require(bool(self.data), "data", "say on what it was measured")
        _require(bool(self.metrics), "metrics", "name at least one")


@dataclass(frozen=True)
class Samples:
    """Images: a folder beside the card (see converters/README.md), or a generator, `module:callable`.

    `count`: at most so many of them.
    """

    path: str | None = None
    generator: str | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        _require((self.path is None) != (self.generator is None), "path", "give either path or generator")
        _require(self.generator is None or _CALLABLE.fullmatch(self.generator) is not None, "generator",
                 f"is module:name, got {self.generator!r}")  # fmt: skip
        _require(self.count is None or self.count >= 1, "count", "must be at least 1")


CALIBRATION_METHODS = ("minmax", "percentile", "entropy")


@dataclass(frozen=True)
class Calibration(Samples):
    """What INT8 takes its ranges from. `percentile`: the share, in percent, of values that a range covers."""

    method: str = field(default="percentile", metadata={"choices": CALIBRATION_METHODS})
    percentile: float = 99.99

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(50 < self.percentile <= 100, "percentile", "is above 50, at most 100")


_METRICS = {
    "classification": ("auc", "sensitivity", "specificity"),
    "detection": ("map_50",),
    "segmentation": ("dice_mean", "dice_worst"),
}


@dataclass(frozen=True)
class Tolerance:
    """How much lower than FP32's a figure on the hold-out set may be, and what it may not fall below.

    `sensitivity` and `specificity` are those at the labels' thresholds, as the daemon uses them. With `at_specificity`,
    sensitivity is that at the threshold where FP32 and the engine each reach so much.
    """

    metric: str = field(metadata={"choices": tuple(m for ms in _METRICS.values() for m in ms)})
    tolerance: float
    at_least: float = 0.0
    at_specificity: float | None = None

    def __post_init__(self) -> None:
        _require(0 <= self.tolerance < 1, "tolerance", "is a share, 0 up to 1")
        _require(0 <= self.at_least <= 1, "at_least", "is a share, 0 to 1")
        given = self.at_specificity
        _require(given is None or self.metric == "sensitivity", "at_specificity", "goes with sensitivity")
        _require(given is None or 0 < given <= 1, "at_specificity", "is a share")

    @property
    def name(self) -> str:
        """What the figure is called."""
        if self.at_specificity is not None:
            return f"sensitivity at a specificity of {self.at_specificity:g}"
        return self.metric


@dataclass(frozen=True)
class Card:
    """The card. `tolerance` is the largest absolute difference of outputs that still counts as the same network."""

    name: str
    version: str
    task: str = field(metadata={"choices": ("classification", "detection", "segmentation")})
    intended_use: str
    checkpoint: Checkpoint
    input: Input
    output: Tensor
    preprocess: tuple[Step, ...]
    labels: tuple[Label, ...]
    tolerance: float
    decode: Decode = Decode()
    expect: Expect | None = None
    evaluation: Evaluation | None = None
    calibration: Calibration | None = None
    holdout: Samples | None = None
    gate: tuple[Tolerance, ...] = ()

    def __post_init__(self) -> None:
        _require(_NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        _require(bool(self.version), "version", "must not be empty")
        _require(bool(self.intended_use.strip()), "intended_use", "must say what the model is for, and what not")
        _require(math.isfinite(self.tolerance) and self.tolerance > 0, "tolerance", "must be positive")
        self._check_recipe()
        self._check_labels()
        for index, tolerance in enumerate(self.gate):
            known = _METRICS[self.task]
            _require(tolerance.metric in known, f"gate[{index}].metric", f"of a {self.task} is {' or '.join(known)}")

    def _check_recipe(self) -> None:
        spatial = self.input.shape[2:]
        shape: tuple[int, ...] | None = None
        last = len(self.preprocess) - 1
        for index, step in enumerate(self.preprocess):
            operation, key = step.operation, f"preprocess[{index}]"
            if isinstance(operation, Orient):
                _require(index == 0 and self.input.kind == "volume", key, "orient is the first step, of a volume")
            if isinstance(operation, Crop):
                before = [s for s in self.preprocess[:index] if isinstance(s.operation, (Resize, Letterbox, Resample))]
                _require(not before, key, "crop comes before resize, letterbox and resample")
            if isinstance(operation, Resample):
                _require(len(operation.spacing_mm) == len(spatial), key, f"name {len(spatial)} spacings")
                _require(shape is None, key, "resample comes before resize: afterwards a voxel has no size in mm")
            if isinstance(operation, Tile):
                _require(index == last, key, "tile is the last step")
            if isinstance(operation, Letterbox):
                sampling = [s for s in self.preprocess if isinstance(s.operation, (Resize, Letterbox, Resample, Tile))]
                _require(self.input.kind == "frame" and len(sampling) == 1, key,
                         "letterbox is of frames, and the only step that samples")  # fmt: skip
            if isinstance(operation, (Resize, Letterbox, Tile)):
                shape = operation.shape
        _require(shape == spatial, "preprocess",
                 f"the last resize, letterbox or tile must give the input's {spatial}, gives {shape}")  # fmt: skip
        _require(self.expect is None or self.input.kind == "volume", "expect", "is of volumes")

    def _check_labels(self) -> None:
        _require(bool(self.labels), "labels", "name at least one")
        layout, gives_boxes = self.decode.layout, self.decode.gives_boxes
        _require(not gives_boxes or self.task == "detection", "decode.layout", f"{layout} is for detections")
        _require(layout != "yolov5" or self.input.kind == "frame", "decode.layout", "yolov5 is for frames")
        channels = self.output.shape[1]
        if gives_boxes:
            channels = self.output.shape[-1] - 5 if layout == "yolov5" else channels - 2 * self.input.spatial
        for index, label in enumerate(self.labels):
            key = f"labels[{index}]"
            _require(label.channel < channels, f"{key}.channel", f"the output has {channels} channels")
            _require(label.name not in [other.name for other in self.labels[:index]], f"{key}.name", "stands twice")
            _require(label.category is not None or self.task != "segmentation", f"{key}.category",
                     "a segmentation's label needs its Segmented Property Category")  # fmt: skip
        self._check_output()

    def _check_output(self) -> None:
        shape, axes = self.output.shape, self.input.spatial
        if self.task == "classification":
            _require(len(shape) == 2, "output.shape", "of a classification is (1, channels)")
            _require(self.decode.activation != "softmax" or shape[1] > 1, "decode.activation",
                     "softmax over one channel is always 1; use sigmoid")  # fmt: skip
        elif self.decode.gives_boxes:
            rows = "boxes, 5 + channels" if self.decode.layout == "yolov5" else f"{2 * axes} + channels, boxes"
            _require(len(shape) == 3, "output.shape", f"of this layout is (1, {rows})")
            _require(self.decode.activation != "softmax", "decode.activation", "of this layout is none or sigmoid")
        else:
            _require(len(shape) == 2 + axes, "output.shape",
                     f"of a {self.task} is (1, channels) and the {axes} axes of space")  # fmt: skip
            _require(self.operation(Tile) is None or shape[2:] == self.input.shape[2:], "output.shape",
                     "of windows has the extent of the input")  # fmt: skip
        _require(self.decode.keep != "each" or self.task == "detection" or self._segments_volumes, "decode.keep",
                 "each is for detections, and for segmentations of volumes")  # fmt: skip

    @property
    def _segments_volumes(self) -> bool:
        return self.task == "segmentation" and self.input.kind == "volume"

    def operation(self, kind: type[Operation]) -> Operation | None:
        """The first step of the recipe that is of this kind, or None."""
        return next((s.operation for s in self.preprocess if isinstance(s.operation, kind)), None)

    def label(self, name: str) -> Label | None:
        """The label of that name, or None."""
        return next((label for label in self.labels if label.name == name), None)


def read_card(path: Path) -> tuple[Card, str]:
    """Read a card from `model.yaml` or the folder that holds it; returns it with the SHA-256 of the file.

    Raises:
        ConfigurationError: the file is missing or does not fit the schema; names file, line and key.
    """
    file = path / CARD_FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigurationError(f"{file}: there is no such card; an engine's folder holds its {CARD_FILE}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    card = read_schema(Card, file)
    return card, digest
