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
    stages = [stage for pipeline in configuration.pipelines for stage in pipeline.stages]
    marks: dict[str, str] = {}
    for name, precision in dict.fromkeys((stage.engine, stage.precision) for stage in stages):
        folder = find_engine(Path(configuration.engines.path), name, target, precision)
        passport = folder / PASSPORT_FILE
        try:
            marks[f"{name}/{folder.name}"] = hashlib.sha256(passport.read_bytes()).hexdigest()
        except OSError as error:
            raise EngineRejected(f"engine {name}: {passport} cannot be read: {error.strerror}") from error
    return marks


def verify_engines(pipeline: config.Pipeline, engines: config.Engines) -> dict[str, VerifiedEngine]:
    """The verified engine of each stage of a pipeline, by the stage's name; stages may share one.

    Raises:
        ConfigurationError: an engine's card is missing or wrong, or a stage asks of another what its card has not.
        EngineRejected: an engine is not the one that its passport describes.
        BackendUnavailable: the backend is not in this version, or its package is missing.
    """
    target = choose(engines.backend)
    verified: dict[Path, VerifiedEngine] = {}
    of_stages: dict[str, VerifiedEngine] = {}
    for stage in pipeline.stages:
        folder = find_engine(Path(engines.path), stage.engine, target, stage.precision)
        if folder not in verified:
            verified[folder] = verify(
                folder,
                engines.trusted_keys,
                engines.allow_unsigned,
                stage.engine,
                allow_ungated=engines.allow_ungated,
            )
        of_stages[stage.name] = verified[folder]
    _check_references(pipeline, of_stages)
    return of_stages


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
