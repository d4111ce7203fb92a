"""The engines that a configuration asks for: found, verified, and able to answer what stages ask of each other.

Loads no inference library, so that a wrong engine is told at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from edge_runtime import config
from edge_runtime.backends.registry import choose
from edge_runtime.engines.card import Card
from edge_runtime.engines.passport import PASSPORT_FILE, PassportInvalid, read_passport
from edge_runtime.engines.verify import VerifiedEngine, find_engine, verify
from edge_runtime.errors import ConfigurationError, EngineRejected
from edge_runtime.schedule.placement import Placement, place


def verify_all(configuration: config.Config) -> None:
    """Verify the engines of every pipeline. Raises as `verify_engines` does."""
    for pipeline in configuration.pipelines:
        engines = verify_engines(pipeline, configuration.engines)
        for video in configuration.video:
            if video.pipeline == pipeline.name and video.key_frames.when is not None:
                _check_label(f"video {video.name}: key_frames.when", video.key_frames.when, engines)


def engine_marks(configuration: config.Config) -> dict[str, str]:
    """Which builds of its engines a configuration finds now: the SHA-256 of each passport, which names all the rest.

    Raises:
        ConfigurationError: an engine's card is missing.
        EngineRejected: it was not built, or its passport cannot be read.
        BackendUnavailable: the backend is not in this version, or its package is missing.
    """
    target = choose(configuration.engines).target
    stages = [stage for pipeline in configuration.pipelines for stage in pipeline.variants]
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
    """The verified engine of each stage as configured, by the stage's name; the cheaper ones are verified too.

    Raises as `verify_variants` does.
    """
    return {name: variants[0] for name, variants in verify_variants(pipeline, engines).items()}


def verify_variants(pipeline: config.Pipeline, engines: config.Engines) -> dict[str, tuple[VerifiedEngine, ...]]:
    """The verified engines of each stage of a pipeline, by the stage's name: the configured one, then the cheaper ones.

    Stages may share an engine.

    Raises:
        ConfigurationError: an engine's card is missing or wrong, or a stage asks of another what its card has not.
        EngineRejected: an engine is not the one that its passport describes.
        BackendUnavailable: the backend is not in this version, or its package is missing.
    """
    target = choose(engines).target
    verified: dict[Path, VerifiedEngine] = {}

    def of(stage: config.Stage) -> VerifiedEngine:
        folder = find_engine(Path(engines.path), stage.engine, target, stage.precision)
        if folder not in verified:
            keys, unsigned, ungated = engines.trusted_keys, engines.allow_unsigned, engines.allow_ungated
            verified[folder] = verify(folder, keys, unsigned, stage.engine, allow_ungated=ungated)
        return verified[folder]

    of_stages = {stage.name: tuple(of(variant) for variant in stage.variants) for stage in pipeline.stages}
    _check_references(pipeline, {name: variants[0] for name, variants in of_stages.items()})
    for name, (configured, *cheaper) in of_stages.items():
        for variant in cheaper:
            _check_variant(f"pipeline {pipeline.name}, stage {name}", configured.card, variant.card)
    return of_stages


def studies_apart(configuration: config.Config) -> bool:
    """Whether studies run in a process of their own beside live frames. Raises as `placement` does."""
    return placement(configuration).worker


def placement(configuration: config.Config) -> Placement:
    """Where studies run beside live frames, and why: by what the passports say of the engines' longest runs.

    Raises:
        ConfigurationError: the configuration wants them together, and a run would hold up live frames too long.
        EngineRejected: an engine was not built, or its passport cannot be read.
    """
    found = place(configuration, _longest_runs(configuration) if configuration.video else {})
    if found.refused:
        raise ConfigurationError(found.refused)
    return found


def cheapest_runs(configuration: config.Config) -> dict[tuple[str, str], float | None]:
    """As much as each stage needs at least: the longest run of its cheapest variant; None where a passport is silent.

    Raises:
        EngineRejected: an engine was not built, or its passport cannot be read.
    """
    return _longest_runs(configuration, min)


def _longest_runs(
    configuration: config.Config, of_variants: Callable[[list[float]], float] = max
) -> dict[tuple[str, str], float | None]:
    """The longest uninterruptible run of each stage, of its dearest variant; None where a passport does not say."""
    target = choose(configuration.engines).target
    longest: dict[tuple[str, str], float | None] = {}
    for pipeline in configuration.pipelines:
        for stage in pipeline.stages:
            runs = [_longest_run(configuration.engines, variant, target) for variant in stage.variants]
            known = [seconds for seconds in runs if seconds is not None]
            longest[pipeline.name, stage.name] = of_variants(known) if len(known) == len(runs) else None
    return longest


def _longest_run(engines: config.Engines, stage: config.Stage, target: str) -> float | None:
    file = find_engine(Path(engines.path), stage.engine, target, stage.precision) / PASSPORT_FILE
    try:
        return read_passport(file.read_bytes())[0].longest_run_seconds
    except (OSError, PassportInvalid) as error:
        raise EngineRejected(f"engine {stage.engine}: {file} cannot be read: {error}") from error


def _check_variant(place: str, configured: Card, cheaper: Card) -> None:
    """A cheaper variant must answer the same questions, as the same kind of stage."""
    if [label.name for label in configured.labels] != [label.name for label in cheaper.labels]:
        raise ConfigurationError(f"{place}: cheaper: engine {cheaper.name} has other labels than {configured.name}")
    if (configured.task, configured.input.kind) != (cheaper.task, cheaper.input.kind):
        raise ConfigurationError(f"{place}: cheaper: engine {cheaper.name} is for another task than {configured.name}")


def _check_label(place: str, condition: str, engines: dict[str, VerifiedEngine]) -> None:
    asked, name, _ = condition.rsplit(".", 2)
    card = engines[asked].card
    if card.label(name) is None:
        labels = ", ".join(label.name for label in card.labels)
        raise ConfigurationError(f"{place}: {asked} has no label {name!r}; engine {card.name} has: {labels}")


def _check_references(pipeline: config.Pipeline, engines: dict[str, VerifiedEngine]) -> None:
    """What a stage asks of another must be in that one's card."""
    for stage in pipeline.stages:
        place = f"pipeline {pipeline.name}, stage {stage.name}"
        if stage.when is not None:
            _check_label(f"{place}: when", stage.when, engines)
        if stage.within is not None:
            card = engines[stage.within].card
            if card.task == "classification":
                raise ConfigurationError(f"{place}: within: engine {card.name} of {stage.within} finds no regions")
