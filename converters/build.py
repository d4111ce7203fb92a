"""Build an engine: export, compare with the checkpoint's framework, and write engine, golden pair and passport."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from converters.export import Exported, export
from edge_runtime import __version__
from edge_runtime.backends.registry import load_backend, load_device
from edge_runtime.domain import Array
from edge_runtime.engines.card import CARD_FILE, Card, read_card
from edge_runtime.engines.golden import Golden, golden_image, make_golden, make_seed, write_golden
from edge_runtime.engines.passport import (
    PASSPORT_FILE,
    SCHEMA_VERSION,
    Builder,
    FileRecord,
    GoldenRecord,
    Onnx,
    Parity,
    Passport,
    Precision,
    Target,
    TensorRecord,
    write_passport,
)
from edge_runtime.engines.runner import EngineRunner
from edge_runtime.errors import ConfigurationError, EngineRejected
from edge_runtime.preprocess import compile_recipe

SUPPORTED = {"onnxruntime": ("fp32",)}
_ENGINE_FILE, _GOLDEN_FILE = "engine.onnx", "golden.npz"
_TIMED_RUNS = 3

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class _Measured:
    golden: Golden
    error: float
    longest_seconds: float


def build(
    card_path: Path,
    target: str,
    precision: str,
    output: Path,
    checkpoint: bytes,
    key: Ed25519PrivateKey | None,
    progress: Progress,
) -> Path:
    """Build the engine into the folder `output`, which appears whole or not at all; returns it.

    Raises:
        ConfigurationError: the card is wrong, or `output` holds something that is no engine.
        EngineRejected: the network is not valid, not the card's, or differs too much from its checkpoint.
        BackendUnavailable: a package is missing.
    """
    card, card_sha256 = read_card(card_path)
    _check_output(output)
    progress(f"exporting {card.name} from {card.checkpoint.format}")
    exported = export(card, checkpoint)
    for rewrite in exported.rewrites:
        progress(f"rewrote the graph: {rewrite}")
    progress(f"comparing with {exported.reference_name} on the golden input")
    backend, device = load_backend(target), load_device(target, 0)
    try:
        session = backend.load(exported.data, device)
        tensors = [TensorRecord(t.name, t.shape, t.dtype) for t in (*session.inputs, *session.outputs)]
        inputs, outputs = tuple(tensors[: len(session.inputs)]), tuple(tensors[len(session.inputs) :])
        _check_tensors(card, inputs, outputs)
        measured = _measure(card, EngineRunner(card, session, device), exported)
    finally:
        device.close()
    progress(f"largest absolute difference {measured.error:.3g}, {card.tolerance:g} is allowed")
    golden = write_golden(measured.golden)
    passport = Passport(
        schema_version=SCHEMA_VERSION,
        name=card.name,
        version=card.version,
        card_sha256=card_sha256,
        engine=_record(_ENGINE_FILE, exported.data),
        target=Target(flavour=backend.name, flavour_version=backend.version),
        onnx=Onnx(hashlib.sha256(exported.data).hexdigest(), exported.opset),
        precision=Precision(precision),
        inputs=inputs,
        outputs=outputs,
        golden=GoldenRecord(_record(_GOLDEN_FILE, golden), card.tolerance),
        parity=Parity(exported.reference_name, measured.error),
        longest_run_seconds=round(measured.longest_seconds, 4),
        builder=Builder("edge-convert", __version__, exported.rewrites),
    )
    files = {_ENGINE_FILE: exported.data, _GOLDEN_FILE: golden, PASSPORT_FILE: write_passport(passport, key)}
    with _whole_folder(output) as folder:
        for name, data in files.items():
            _write(folder / name, data)
    _place_card(card, card_path, output, progress)
    return output


def _measure(card: Card, runner: EngineRunner, exported: Exported) -> _Measured:
    """Golden pair, its difference from the reference, and the longest of a few runs."""
    seed = make_seed(card)
    prepared = next(iter(compile_recipe(card)(golden_image(seed), None, 0.0))).inputs[0].array
    expected = exported.reference(prepared)
    seconds = []
    for _ in range(_TIMED_RUNS):
        found = runner.run(prepared)
        seconds.append(runner.engine_seconds)
    error = _difference(card, found, expected)
    golden = make_golden(seed, prepared, found)
    runner.close()
    return _Measured(golden, error, max(seconds))


def _difference(card: Card, found: Array, expected: Array) -> float:
    if found.shape != expected.shape:
        raise EngineRejected(f"engine {card.name}: its output is {found.shape}, the checkpoint's is {expected.shape}")
    error = float(np.abs(found - expected).max())
    if not error <= card.tolerance:  # NaN too
        raise EngineRejected(
            f"engine {card.name}: its output differs by {error:.3g} from the checkpoint's, its card allows "
            f"{card.tolerance:g}; nothing was written"
        )
    return error


def _check_tensors(card: Card, inputs: tuple[TensorRecord, ...], outputs: tuple[TensorRecord, ...]) -> None:
    expected = (TensorRecord(card.input.name, card.input.shape, card.input.dtype),)
    if inputs != expected:
        raise EngineRejected(f"engine {card.name}: the network's inputs are {inputs}, the card expects {expected}")
    wanted = TensorRecord(card.output.name, card.output.shape, card.output.dtype)
    if wanted not in outputs:
        raise EngineRejected(f"engine {card.name}: the network's outputs are {outputs}, the card expects {wanted}")


def _record(name: str, data: bytes) -> FileRecord:
    return FileRecord(name, hashlib.sha256(data).hexdigest(), len(data))


def _check_output(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise ConfigurationError(f"--output {output} is a file; name a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / PASSPORT_FILE).is_file():
        raise ConfigurationError(f"--output {output} holds something that is no engine; name another folder")


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """A temporary folder beside `output` that takes its place at the end; an exception leaves everything as it was."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    old = partial.with_suffix(".old")
    try:
        partial.chmod(0o755)
        yield partial
        _sync(partial)
        if output.exists():
            output.rename(old)
        partial.rename(output)
        _sync(output.parent)
    finally:
        if old.exists() and not output.exists():
            old.rename(output)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write(file: Path, data: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _place_card(card: Card, card_path: Path, output: Path, progress: Progress) -> None:
    """Copy the card beside an engine that is built into another engines folder."""
    file = card_path / CARD_FILE if card_path.is_dir() else card_path
    beside = output.parent / CARD_FILE
    if beside.exists() and beside.samefile(file):
        return
    if output.parent.name != card.name:
        progress(f"note: a daemon finds this engine in ENGINES/{card.name}/, with {CARD_FILE} beside it")
        return
    with tempfile.NamedTemporaryFile(dir=output.parent, delete=False) as stream:
        stream.write(file.read_bytes())
    Path(stream.name).chmod(0o644)
    Path(stream.name).replace(beside)
