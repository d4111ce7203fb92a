"""What a build is asked for, and what has been made of it so far."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from converters.export import Exported
from converters.golden_run import GoldenRun
from converters.targets import Built, Options
from edge_runtime.engines.card import Card

if TYPE_CHECKING:
    from converters.lower import Lowered

PRECISIONS = ("fp32", "fp16", "int8")
GOLDEN_FILE, NETWORK_FILE, CALIBRATION_FILE = "golden.npz", "network.onnx", "calibration.json"


@dataclass(frozen=True)
class Request:
    """What is to be built. `checkpoint`: its verified bytes. Folders of samples take the place of the card's.

    `command`: the command line, for the report. `ungated`: in lower precision without a gate.
    """

    card: Path
    target: str
    precision: str
    output: Path
    checkpoint: bytes = field(repr=False)
    key: Ed25519PrivateKey | None = None
    options: Options = field(default_factory=Options)
    calibration: Path | None = None
    holdout: Path | None = None
    ungated: bool = False
    command: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The card's folder."""
        return self.card if self.card.is_dir() else self.card.parent


@dataclass(frozen=True, eq=False)
class Made:
    """An engine with all that is known of it. `network`: the ONNX network that the engine was built from.

    `run`: that network on the golden input; `error`: its largest absolute difference from the checkpoint's output.
    """

    card: Card
    card_sha256: str
    request: Request
    exported: Exported
    network: bytes
    opset: int
    lowered: Lowered | None
    built: Built
    run: GoldenRun
    error: float
    golden_tolerance: float

    @property
    def measured(self) -> str:
        """The file that the golden output and the task metrics are those of: the engine, if it could run here."""
        return self.built.file if self.built.runs_here else NETWORK_FILE

    @property
    def packages(self) -> tuple[str, ...]:
        """The versions of what built it."""
        own = [f"{name} {importlib.metadata.version(name)}" for name in self._used]
        return (*self.built.packages, *own)

    @property
    def _used(self) -> tuple[str, ...]:
        from_torch = self.exported.reference_name.startswith("torch")
        return ("onnx", "torch") if from_torch else ("onnx",)

    @property
    def documents(self) -> Mapping[str, bytes]:
        """Files that another build, or a reader, may want."""
        calibrated = None if self.lowered is None else self.lowered.calibrated
        return {} if calibrated is None else {CALIBRATION_FILE: calibrated.to_json().encode()}
