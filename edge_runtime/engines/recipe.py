"""The preprocessing recipe of a card, as data. `edge_runtime.preprocess` carries it out.

A recipe is a list of steps; a step is a mapping with one key, the operation's name:

    preprocess:
      - orient: RAS
      - crop: region
      - resize: {shape: [256, 256, 256], method: nearest-exact}
      - window: {quantiles: [0.005, 0.995], over: whole, resized: [128, 128, 128]}
      - standardize: {mean: 0.449, deviation: 0.226}

or, where the voxels' size in mm counts and the network sees one window of the image at a time:

    preprocess:
      - orient: SPL
      - resample: {spacing_mm: [5.0, 2.5, 2.5]}
      - window: {range: [0.0, 100.0]}
      - tile: {shape: [32, 96, 96], overlap: 0.25}
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

RESIZE_METHODS = ("nearest-exact", "linear")


def _require(condition: bool, key: str, message: str) -> None:
    if not condition:
        raise ValueError(f"{key}: {message}")


@dataclass(frozen=True)
class Orient:
    """Permute and flip a volume to the closest axes named: `RAS` is index 0 to Right, 1 to Anterior, 2 to Superior."""

    axes: str


@dataclass(frozen=True)
class Crop:
    """Cut to the region of the stage named by `within`; the whole image where the stage has none."""

    to: str = "region"


@dataclass(frozen=True)
class Resize:
    """Sample to a fixed shape over the same extent, voxel edges aligned."""

    shape: tuple[int, ...]
    method: str = field(default="nearest-exact", metadata={"choices": RESIZE_METHODS})

    def __post_init__(self) -> None:
        _require(len(self.shape) in (2, 3) and min(self.shape) >= 1, "shape",
                 f"is two or three positive numbers, got {self.shape}")  # fmt: skip


@dataclass(frozen=True)
class Letterbox:
    """Sample a frame to a fixed shape with its proportions kept: the whole of it, centred, with `fill` around it.

    What the network sees is a box of the frame's pixels, and as many beyond its edges as the proportions of `shape`
    need. No other step samples.
    """

    shape: tuple[int, ...]
    fill: float = 114.0
    method: str = field(default="linear", metadata={"choices": RESIZE_METHODS})

    def __post_init__(self) -> None:
        _require(len(self.shape) == 2 and min(self.shape) >= 1, "shape",
                 f"is two positive numbers, got {self.shape}")  # fmt: skip


@dataclass(frozen=True)
class Resample:
    """Sample to a spacing in mm over the same extent, voxel edges aligned; linear, and antialiased where it shrinks."""

    spacing_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        _require(len(self.spacing_mm) in (2, 3) and min(self.spacing_mm) > 0, "spacing_mm",
                 f"is two or three positive numbers, got {self.spacing_mm}")  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """Cut into sliding windows of `shape`, the network's input, which share at least `overlap` of their extent.

    An image that is smaller than a window is centred in it; `fill` is put around it. Always the last step.
    """

    shape: tuple[int, ...]
    overlap: float = 0.25
    fill: float = 0.0

    def __post_init__(self) -> None:
        _require(len(self.shape) in (2, 3) and min(self.shape) >= 1, "shape",
                 f"is two or three positive numbers, got {self.shape}")  # fmt: skip
        _require(0 <= self.overlap <= 0.9, "overlap", "is a share, 0 to 0.9")


@dataclass(frozen=True)
class Window:
    """Map low..high to 0..1 and clip.

    `range` gives low and high in image units, or `quantiles` takes them from the image: `over: here` from the array
    as it stands at this step, `over: whole` from the oriented image before any crop, resized (nearest-exact) to
    `resized`.
    """

    range: tuple[float, ...] | None = None
    quantiles: tuple[float, ...] | None = None
    over: str = field(default="here", metadata={"choices": ("here", "whole")})
    resized: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _require((self.range is None) != (self.quantiles is None), "range", "give either range or quantiles")
        _require(self.resized is None or self.over == "whole", "resized", "goes with over: whole")
        for key, pair in (("range", self.range), ("quantiles", self.quantiles)):
            _require(pair is None or (len(pair) == 2 and pair[0] < pair[1]), key, "is two numbers, the lower first")
        _require(self.quantiles is None or (self.quantiles[0] >= 0 and self.quantiles[1] <= 1),
                 "quantiles", "are within 0..1")  # fmt: skip


@dataclass(frozen=True)
class Standardize:
    """Shift and scale the whole array to `mean` and `deviation` (sample standard deviation, n - 1)."""

    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        _require(self.deviation > 0, "deviation", "must be positive")


@dataclass(frozen=True)
class Scale:
    """value * factor + offset."""

    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Normalize:
    """(value - mean) / deviation, by colour channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __post_init__(self) -> None:
        _require(len(self.mean) == len(self.deviation), "deviation", "has one number for each of mean")
        _require(min(self.deviation, default=1.0) > 0, "deviation", "must be positive")


@dataclass(frozen=True)
class Colour:
    """Make frames grey (ITU-R BT.601 luma) or, from grey, three equal channels."""

    to: str


Operation = Orient | Crop | Resize | Letterbox | Resample | Window | Standardize | Scale | Normalize | Colour | Tile


@dataclass(frozen=True)
class Step:
    """One step of a recipe: exactly one of the keys."""

    orient: str | None = None
    crop: str | None = field(default=None, metadata={"choices": ("region",)})
    resize: Resize | None = None
    letterbox: Letterbox | None = None
    resample: Resample | None = None
    window: Window | None = None
    standardize: Standardize | None = None
    scale: Scale | None = None
    normalize: Normalize | None = None
    colour: str | None = field(default=None, metadata={"choices": ("grey", "rgb")})
    tile: Tile | None = None

    def __post_init__(self) -> None:
        given = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) is not None]
        if len(given) != 1:
            names = ", ".join(f.name for f in dataclasses.fields(self))
            raise ValueError(f"a step has exactly one of {names}; got {', '.join(given) or 'none'}")
        if self.orient is not None:
            pairs = ("RL", "AP", "SI")
            once = all(sum(letter in pair for letter in self.orient) == 1 for pair in pairs)
            _require(once and len(self.orient) == 3, "orient",
                     f"name one of R/L, A/P and S/I each, such as RAS, got {self.orient!r}")  # fmt: skip

    @property
    def operation(self) -> Operation:
        """The operation that this step names."""
        if self.orient is not None:
            return Orient(self.orient)
        if self.crop is not None:
            return Crop(self.crop)
        if self.colour is not None:
            return Colour(self.colour)
        sampled = self.resize or self.letterbox or self.resample or self.tile
        found = sampled or self.window or self.standardize or self.scale or self.normalize
        assert found is not None
        return found
