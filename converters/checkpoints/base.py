"""What the loaders of checkpoints take and give, and how they import the packages that they need."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.engines.card import Card
from edge_runtime.errors import BackendUnavailable, EngineRejected


@dataclass(frozen=True, eq=False)
class Source:
    """A checkpoint's bytes, the card that describes them, and the folder of that card."""

    card: Card
    data: bytes
    folder: Path

    def rejected(self, why: str) -> EngineRejected:
        """The error that this checkpoint cannot be used."""
        return EngineRejected(f"engine {self.card.name}: the checkpoint {why}")


@dataclass(frozen=True, eq=False)
class Loaded:
    """The network of a checkpoint: `onnx`, an ONNX file, or `module`, a PyTorch module in evaluation mode.

    `exporter` is how the module becomes ONNX where the card does not say: `export` or `trace`. `notes` say what was
    chosen or changed on the way, for people.
    """

    onnx: bytes | None = None
    module: Any = None
    exporter: str = "export"
    notes: tuple[str, ...] = ()


def require(package: str, extra: str) -> Any:
    """Import a package of an extra.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        with quiet():
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise BackendUnavailable(
            f"this checkpoint needs {package}; run: pip install 'edge-runtime[{extra}]'"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a library from warning, logging and printing on stdout; what it raises is what counts."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message, shortened."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {textwrap.shorten(lines[0], 160)}" if lines else type(error).__name__
