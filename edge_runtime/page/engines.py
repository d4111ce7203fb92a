"""The engines that the pipelines use, as their passports and cards say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.backends.registry import choose
from edge_runtime.config import Config
from edge_runtime.engines.card import read_card
from edge_runtime.engines.passport import PASSPORT_FILE, PassportInvalid, Seal, read_passport
from edge_runtime.engines.verify import find_engine
from edge_runtime.errors import EdgeRuntimeError


@dataclass(frozen=True)
class EngineFacts:
    """One engine of one or more stages; `problem` where its files cannot be read, and then little else."""

    name: str
    stages: tuple[str, ...]  # pipeline/stage
    version: str = ""
    sha256: str = ""
    precision: str = ""
    backend: str = ""
    signature: str = ""  # trusted | untrusted | none
    intended_use: str = ""
    problem: str = ""


def engine_facts(config: Config) -> tuple[EngineFacts, ...]:
    """Of every engine that a pipeline names, in that order. Nothing is verified here: infer does that."""
    used: dict[tuple[str, str | None], list[str]] = {}
    for pipeline in config.pipelines:
        for stage in pipeline.variants:
            used.setdefault((stage.engine, stage.precision), []).append(f"{pipeline.name}/{stage.name}")
    return tuple(_facts(name, precision, tuple(stages), config) for (name, precision), stages in used.items())


def _facts(name: str, precision: str | None, stages: tuple[str, ...], config: Config) -> EngineFacts:
    try:
        folder = find_engine(Path(config.engines.path), name, choose(config.engines).target, precision)
        card, _ = read_card(folder.parent)
        passport, seal = read_passport((folder / PASSPORT_FILE).read_bytes())
    except (EdgeRuntimeError, PassportInvalid) as error:
        return EngineFacts(name, stages, problem=str(error))
    except OSError as error:
        return EngineFacts(name, stages, problem=f"its passport cannot be read: {error.strerror}")
    return EngineFacts(
        name=name,
        stages=stages,
        version=passport.version,
        sha256=passport.engine.sha256,
        precision=passport.precision.recipe,
        backend=f"{passport.target.flavour} {passport.target.flavour_version}",
        signature=signature_of(seal, config.engines.trusted_keys),
        intended_use=card.intended_use,
    )


def signature_of(seal: Seal, trusted_keys: Sequence[str]) -> str:
    """`trusted`, `untrusted` (signed by nobody whom the configuration names) or `none`."""
    if seal.signer is None:
        return "none"
    return "trusted" if seal.signer in {key.strip().lower() for key in trusted_keys} else "untrusted"
