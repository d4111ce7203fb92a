"""From the FP32 network to one in FP16 or INT8 that passed the card's gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from converters.measure.evaluate import Evaluator
from converters.measure.gate import Passed, pass_gate
from converters.progress import Progress
from converters.quantize import fp16, int8
from converters.quantize.calibration import Calibrated, calibrate
from converters.samples import SampleSet, open_samples, refuse_leakage
from edge_runtime.domain import Array
from edge_runtime.engines.card import Calibration, Card, Samples
from edge_runtime.errors import ConfigurationError

Make = Callable[[frozenset[str]], bytes]


@dataclass(frozen=True)
class Sources:
    """Where the samples come from: the card's folder, and folders that take the place of what the card names."""

    card_folder: Path
    calibration: Path | None = None
    holdout: Path | None = None


@dataclass(frozen=True)
class Wanted:
    """A precision for a kind of library; `reduce_range`: for processors on which full 8 bits saturate."""

    precision: str
    flavour: Literal["cpu", "tensorrt"]
    reduce_range: bool = False
    ungated: bool = False


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network in lower precision. `passed` is None of one that was asked for without a gate.

    `reference`: the FP32 network that its layers are compared with; `inputs`: a few of its inputs.
    """

    network: bytes
    reference: bytes
    inputs: tuple[Array, ...]
    layers: tuple[str, ...]
    passed: Passed | None = None
    holdout: SampleSet | None = None
    calibrated: Calibrated | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Sets:
    """The samples of a build, found and their truth read, but for the images themselves."""

    calibration: tuple[Calibration, SampleSet] | None
    holdout: SampleSet | None


def open_sets(card: Card, wanted: Wanted, sources: Sources) -> Sets:
    """Find the samples, before anything that takes long.

    Raises:
        ConfigurationError: samples that the precision needs are missing, or what is said of them does not fit.
    """
    calibration = _calibration(card, sources)
    if calibration is None and wanted.precision == "int8":
        raise ConfigurationError(
            f"engine {card.name}: INT8 takes its ranges from samples, and the card names none; "
            "add `calibration` to the card, or give --calibration FOLDER"
        )
    return Sets(calibration, None if wanted.ungated else _holdout(card, wanted, sources))


def lower(
    card: Card, fp32: bytes, wanted: Wanted, sets: Sets, built: Path, golden: Array, scratch: Path, progress: Progress
) -> Lowered:
    """The network in the precision that was asked for.

    `built`: a folder of built engines, one of which may hold the calibration already. `golden`: an input, for where
    there are no samples.

    Raises:
        ConfigurationError: a sample is wrong, or the two sets share an image.
        EngineRejected: no network in this precision is within the card's tolerances.
    """
    holdout, evaluator = sets.holdout, None
    if holdout is not None:
        with progress.step("preparing the hold-out set"):
            evaluator = Evaluator(card, holdout, scratch, progress)
    with progress.step("preparing the network"):
        prepared = int8.prepare(fp32)
    calibrated = None
    if sets.calibration is not None:
        reused = None if wanted.ungated else built  # what no gate will look at is not taken from elsewhere
        calibrated = calibrate(card, *sets.calibration, prepared, reused, progress)
        if holdout is not None:
            refuse_leakage(calibrated.samples, holdout)
    if wanted.precision == "fp16":
        make, lowered = _fp16(prepared, golden, calibrated)
    else:
        assert calibrated is not None
        make, lowered = _int8(prepared, wanted, calibrated)
    if holdout is None or evaluator is None:
        return dataclasses.replace(lowered, network=make(frozenset()))
    passed = pass_gate(card, evaluator, prepared, make, lowered.layers, lowered.inputs, progress)
    return dataclasses.replace(lowered, network=passed.network, passed=passed, holdout=holdout)


def _fp16(prepared: bytes, golden: Array, calibrated: Calibrated | None) -> tuple[Make, Lowered]:
    observed = None if calibrated is None else calibrated.observed
    inputs = (golden,) if calibrated is None else calibrated.inputs
    network, kept_by_rule = fp16.to_fp16(prepared, frozenset(), observed)
    layers = tuple(name for name in int8.quantizable(prepared) if name not in kept_by_rule)
    notes = (f"{len(kept_by_rule)} nodes are in FP32 because FP16 could not hold or sum their numbers",) * bool(
        kept_by_rule
    )
    lowered = Lowered(network, prepared, inputs, layers, calibrated=calibrated, notes=notes)
    return (lambda kept: fp16.to_fp16(prepared, kept, observed)[0]), lowered


def _int8(prepared: bytes, wanted: Wanted, calibrated: Calibrated) -> tuple[Make, Lowered]:
    settings = calibrated.settings
    ranges = calibrated.observed.ranges(settings.method, settings.percentile)
    layers = int8.quantizable(prepared, wanted.flavour)
    lowered = Lowered(b"", prepared, calibrated.inputs, layers, calibrated=calibrated)
    return (lambda kept: int8.quantize(prepared, wanted.flavour, ranges, kept, wanted.reduce_range)), lowered


def _calibration(card: Card, sources: Sources) -> tuple[Calibration, SampleSet] | None:
    settings = card.calibration
    if sources.calibration is not None:
        settings = dataclasses.replace(settings or Calibration(path="."), path=str(sources.calibration.resolve()),
                                       generator=None, count=None)  # fmt: skip
    if settings is None:
        return None
    return settings, open_samples(card, settings, sources.card_folder, labelled=False)


def _holdout(card: Card, wanted: Wanted, sources: Sources) -> SampleSet:
    source = card.holdout if sources.holdout is None else Samples(path=str(sources.holdout.resolve()))
    if source is None or not card.gate:
        raise ConfigurationError(
            f"engine {card.name}: {wanted.precision} has to pass a gate: a labelled hold-out set and tolerances. Add "
            "`holdout` and `gate` to the card (--holdout FOLDER for samples elsewhere), or give --ungated: such an "
            "engine is marked, and a daemon refuses it unless engines.allow_ungated is true"
        )
    return open_samples(card, source, sources.card_folder, labelled=True)
