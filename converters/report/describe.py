"""What the report says of an engine that was made: measures its layers and its latency, and puts the rest together."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from converters.made import Made
from converters.measure.latency import measure_in_turn
from converters.measure.layers import LayerError, compare_layers
from converters.progress import Progress
from converters.quantize.calibration import Calibrated
from converters.report import collect, model
from converters.report.model import BuildReport

_RUNS, _SECONDS = 100, 1.5  # of each network whose latency is measured


def make_report(made: Made, files: Mapping[str, bytes], progress: Progress) -> BuildReport:
    """The report of a build; `files` are those of the engine's folder so far."""
    card, request, lowered = made.card, made.request, made.lowered
    passed = None if lowered is None else lowered.passed
    errors = () if lowered is None else compare_layers(lowered.reference, made.network, lowered.inputs)
    operators = {error.node: error.operator for error in errors}
    raised = frozenset() if passed is None else passed.kept
    calibrated = lowered.calibrated if lowered is not None and request.precision == "int8" else None
    latency = _latency(made)
    return BuildReport(
        name=card.name,
        version=card.version,
        task=card.task,
        card_sha256=made.card_sha256,
        checkpoint_format=card.checkpoint.format,
        checkpoint_sha256=hashlib.sha256(request.checkpoint).hexdigest(),
        target=request.target,
        precision=request.precision,
        engine_file=made.built.file,
        engine_sha256=hashlib.sha256(made.built.engine).hexdigest(),
        runs_here=made.built.runs_here,
        sizes=_sizes(made, files),
        parity=model.Parity(made.exported.reference_name, made.measured, made.error,
                            card.tolerance if lowered is None else None),
        holdout=_holdout(made),
        metrics=() if passed is None else collect.metric_rows(card.gate, passed.fp32, passed.found),
        gated=passed is not None,
        attempts=() if passed is None else collect.attempts(passed.tried),
        low_precision_layers=0 if lowered is None else len(set(lowered.layers) - raised),
        raised=() if passed is None else collect.raised_layers(raised, passed.sensitivities, operators),
        layers=collect.layer_rows(errors, raised),
        calibration=None if calibrated is None else _calibration(calibrated),
        histograms=() if calibrated is None else _histograms(calibrated, errors),
        latency=latency,
        steps=tuple(model.StepTime(what, round(seconds, 3)) for what, seconds in progress.seconds.items()),
        command=request.command,
        details=_details(made),
        options=made.built.options,
        packages=made.packages,
        rewrites=made.exported.rewrites,
        warnings=(*_warnings(made, errors), *_slower(latency)),
    )  # fmt: skip


def _sizes(made: Made, files: Mapping[str, bytes]) -> tuple[model.Size, ...]:
    network = len(made.exported.data)
    listed = [("checkpoint", len(made.request.checkpoint)), ("FP32 network", network)]
    listed += [(name, len(data)) for name, data in files.items() if name.startswith(("engine.", "network."))]
    return tuple(model.Size(what, size) for what, size in listed)


def _holdout(made: Made) -> model.Holdout | None:
    lowered = made.lowered
    if lowered is None or lowered.passed is None or lowered.holdout is None:
        return None
    return model.Holdout(lowered.holdout.name, lowered.passed.found.samples, lowered.holdout.sha256(), made.measured)


def _calibration(found: Calibrated) -> model.Calibration:
    settings = found.settings
    percentile = settings.percentile if settings.method == "percentile" else None
    return model.Calibration(settings.method, percentile, found.samples.name, len(found.samples.identities()),
                             found.observed.inputs_seen, found.samples.sha256())  # fmt: skip


def _histograms(found: Calibrated, errors: Sequence[LayerError]) -> tuple[model.Histogram, ...]:
    ranges = found.observed.ranges(found.settings.method, found.settings.percentile)
    return collect.histograms(found.observed, ranges, errors)


def _latency(made: Made) -> tuple[model.NamedLatency, ...]:
    if not made.built.runs_here:
        return ()
    networks = {made.request.precision.upper(): made.network}
    if made.lowered is not None:
        networks["FP32"] = made.exported.data
    found = measure_in_turn(made.card, networks, _RUNS, _SECONDS)
    return tuple(model.NamedLatency(name, latency) for name, latency in found.items())


def _details(made: Made) -> tuple[str, ...]:
    target = made.built.target
    told = {
        "flavour": f"{target.flavour} {target.flavour_version}",
        "compute capabilities": ", ".join(target.compute_capabilities),
        "instruction set": target.instruction_set,
        "device": target.device_name,
        "JetPack": target.jetpack,
    }
    return tuple(f"{what}: {value}" for what, value in told.items() if value)


def _warnings(made: Made, errors: tuple[LayerError, ...]) -> tuple[str, ...]:
    lowered = made.lowered
    found = [*made.exported.notes, *(() if lowered is None else lowered.notes)]
    if lowered is not None and lowered.passed is None:
        found.append("this precision has passed no gate: what it does to the answers is not known")
    wild = [error.name for error in errors if not math.isfinite(error.maximum_absolute_error)]
    if wild:
        found.append(f"{len(wild)} tensors hold numbers that are not finite, the first: {wild[0]}")
    return tuple(found)


def _slower(latency: tuple[model.NamedLatency, ...]) -> tuple[str, ...]:
    """A warning where the lower precision, which comes first, gains nothing."""
    if len(latency) < 2 or latency[0].latency.p50_seconds < latency[1].latency.p50_seconds:
        return ()
    ratio = latency[0].latency.p50_seconds / latency[1].latency.p50_seconds
    return (f"{latency[0].name} takes {ratio:.2f} times as long as {latency[1].name} here: it gains nothing",)
