"""The engines of a folder, each verified: what `edge-runtime engines` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.engines.card import CARD_FILE, read_card
from edge_runtime.engines.passport import PASSPORT_FILE
from edge_runtime.engines.verify import is_ungated, rebuild_command, verify
from edge_runtime.errors import ConfigurationError, EngineError


@dataclass(frozen=True)
class EngineStatus:
    """A line of `engines list`: a card and one of its built folders, or what is wrong with it."""

    name: str
    version: str
    task: str
    folder: Path | None  # None: a card without a built engine
    problem: str | None
    signed: bool = False  # by one of the trusted keys
    signer: str | None = None
    ungated: bool = False  # an engine in lower precision whose task metrics nobody measured


def engine_status(
    folder: Path, trusted_keys: Sequence[str] = (), allow_unsigned: bool = True, allow_ungated: bool = False
) -> EngineStatus:
    """A built engine, verified; a problem is told, not raised."""
    name = folder.parent.name
    try:
        card, _ = read_card(folder.parent)
    except ConfigurationError as error:
        return EngineStatus(name, "", "", None, str(error))
    try:
        engine = verify(folder, trusted_keys, allow_unsigned, allow_ungated=allow_ungated)
    except EngineError as error:
        return EngineStatus(name, card.version, card.task, folder, str(error))
    return EngineStatus(
        name, card.version, card.task, folder, None, engine.signed, engine.signer, is_ungated(engine.passport)
    )


def list_engines(
    engines: Path,
    trusted_keys: Sequence[str] = (),
    allow_unsigned: bool = True,
    allow_ungated: bool = False,
    only: str | None = None,
) -> tuple[EngineStatus, ...]:
    """Every card under `engines`, or the one of that name, and every engine built of it, each verified.

    Problems are told, not raised.
    """
    found: list[EngineStatus] = []
    for file in [engines / only / CARD_FILE] if only is not None else sorted(engines.glob(f"*/{CARD_FILE}")):
        name = file.parent.name
        try:
            card, _ = read_card(file)
        except ConfigurationError as error:
            found.append(EngineStatus(name, "", "", None, str(error)))
            continue
        built = sorted(p.parent for p in file.parent.glob(f"*/{PASSPORT_FILE}"))
        if not built:
            problem = f"not built; run: {rebuild_command(file.parent, 'onnxruntime', 'fp32')}"
            found.append(EngineStatus(name, card.version, card.task, None, problem))
        found += [engine_status(folder, trusted_keys, allow_unsigned, allow_ungated) for folder in built]
    return tuple(found)
