"""A built engine to look at: verified before any library sees a byte of it, with the network that it was built from."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from converters.text_table import printable, size
from edge_runtime.engines.passport import PASSPORT_FILE
from edge_runtime.engines.verify import VerifiedEngine, verify
from edge_runtime.errors import ConfigurationError, EngineRejected

NETWORK_FILE = "network.onnx"
"""Beside a plan: the network that it was built from."""


def open_engine(folder: Path) -> VerifiedEngine:
    """The verified engine of a folder; unsigned and ungated ones too, since nothing is served.

    Raises:
        ConfigurationError: the folder holds no engine, or its card is wrong.
        EngineRejected: it is not the one of its passport.
    """
    if not (folder / PASSPORT_FILE).is_file():
        raise ConfigurationError(f"{folder} holds no {PASSPORT_FILE}; name the folder of a built engine, "
                                 "ENGINES/NAME/TARGET-PRECISION")  # fmt: skip
    path = Path(os.path.abspath(folder))
    return verify(path, (), allow_unsigned=True, allow_ungated=True, any_machine=True)


def network_of(engine: VerifiedEngine) -> tuple[bytes, str | None]:
    """The engine's ONNX network, and a note where that is not the engine itself.

    Raises:
        EngineRejected: the network beside a plan is missing, or not the one that its passport names.
    """
    file = engine.passport.engine.file
    if file.endswith(".onnx"):
        return engine.data, None
    record = next((r for r in engine.passport.documents if r.file == NETWORK_FILE), None)
    if record is None:
        raise EngineRejected(f"engine {engine.card.name}: {file} can only be opened on the GPU it is for, and its "
                             f"passport names no {NETWORK_FILE} that it was built from; build it again")  # fmt: skip
    try:
        with (engine.folder / NETWORK_FILE).open("rb") as stream:
            data = stream.read(record.size_bytes + 1)
    except OSError as error:
        raise EngineRejected(f"{engine.folder / NETWORK_FILE} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != record.sha256:
        raise EngineRejected(f"{engine.folder / NETWORK_FILE} is not the one of the passport: "
                             f"expected the SHA-256 {record.sha256}, found {found}")  # fmt: skip
    return data, f"{file} can only be opened on the GPU it is for; the layers are those of {NETWORK_FILE}, its source"


def engine_document(engine: VerifiedEngine) -> dict[str, Any]:
    """What the passport says, for JSON."""
    passport = asdict(engine.passport)
    return {"folder": str(engine.folder), "signed": engine.signed, "passport": passport}


def engine_lines(engine: VerifiedEngine) -> list[str]:
    """What the passport says, in a few lines."""
    passport = engine.passport
    target, precision = passport.target, passport.precision
    calibration = f", calibrated by {precision.calibration_method}" if precision.calibration_method else ""
    raised = f", {len(precision.raised)} layers kept in FP32" if precision.raised else ""
    capabilities = f", compute capability {', '.join(target.compute_capabilities)}" * bool(target.compute_capabilities)
    here = f", {target.instruction_set}" if target.instruction_set else ""
    lines = [
        f"engine: {passport.name} {passport.version}, {passport.engine.file}, {size(passport.engine.size_bytes)}",
        f"target: {target.flavour} {target.flavour_version}{capabilities}{here}",
        f"precision: {precision.recipe}{calibration}{raised}",
        f"parity: {passport.parity.maximum_absolute_error:.3g} from {passport.parity.reference}",
    ]
    gate = passport.gate
    metrics = [f"{m.name} {m.value:.4f}" + (f" (FP32 {m.fp32:.4f})" if m.fp32 is not None else "")
               for m in passport.task_metrics]  # fmt: skip
    lines += [f"gate: passed on {gate.samples} samples"] if gate else ["gate: none"]
    lines += [f"metrics: {', '.join(metrics)}"] if metrics else []
    return [printable(line) for line in lines]
