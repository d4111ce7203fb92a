"""The engines that a configuration asks for: found, verified, and able to answer what stages ask of each other.

Loads no inference library, so that a wrong engine is told at once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge_runtime import config
from edge_runtime.backends.registry import choose
from edge_runtime.engines.passport import PASSPORT_FILE
from edge_runtime.engines.verify import VerifiedEngine, find_engine, verify
from edge_runtime.errors import ConfigurationError, EngineRejected


def verify_all(configuration: config.Config) -> None:
    """Verify the engines of every pipeline. Raises as `verify_engines` does."""
    for pipeline in configuration.pipelines:
        verify_engines(pipeline, configuration.engines)


def engine_marks(configuration: config.Config) -> dict[str, str]:
    """Which builds of its engines a configuration finds now: the SHA-256 of each passport, which names all the rest.

    Raises:
        ConfigurationError: an engine's card is missing.
        EngineRejected: it was not built, or its passport cannot be read.
        BackendUnavailable: the backend is not in this version, or its package is missing.
    """
    target = choose(configuration.engines.backend)
    names = sorted({stage.engine for pipeline in configuration.pipelines for stage in pipeline.stages})
    marks: dict[str, str] = {}
    for name in names:
        passport = find_engine(Path(configuration.engines.path), name, target) / PASSPORT_FILE
        try:
            marks[name] = hashlib.sha256(passport.read_bytes()).hexdigest()
        except OSError as error:
            raise EngineRejected(f"engine {name}: {passport} cannot be read: {error.strerror}") from error
    return marks


def verify_engines(pipeline: config.Pipeline, engines: config.Engines) -> dict[str, VerifiedEngine]:
    """The verified engines of a pipeline by name.

    Raises:
        ConfigurationError: an engine's card is missing or wrong, or a stage asks of another what its card has not.
        EngineRejected: an engine is not the one that its passport describes.
        BackendUnavailable: the backend is not in this version, or its package is missing.
    """
    target = choose(engines.backend)
    names = dict.fromkeys(stage.engine for stage in pipeline.stages)
    folders = {name: find_engine(Path(engines.path), name, target) for name in names}
    verified = {
        name: verify(folder, engines.trusted_keys, engines.allow_unsigned, name) for name, folder in folders.items()
    }
    _check_references(pipeline, {stage.name: verified[stage.engine] for stage in pipeline.stages})
    return verified


def _check_references(pipeline: config.Pipeline, engines: dict[str, VerifiedEngine]) -> None:
    """What a stage asks of another must be in that one's card."""
    for stage in pipeline.stages:
        place = f"pipeline {pipeline.name}, stage {stage.name}"
        if stage.when is not None:
            asked, name, _ = stage.when.rsplit(".", 2)
            card = engines[asked].card
            if card.label(name) is None:
                labels = ", ".join(label.name for label in card.labels)
                missing = f"{asked} has no label {name!r}"
                raise ConfigurationError(f"{place}: when: {missing}; engine {card.name} has: {labels}")
        if stage.within is not None:
            card = engines[stage.within].card
            if card.task == "classification":
                raise ConfigurationError(f"{place}: within: engine {card.name} of {stage.within} finds no regions")
