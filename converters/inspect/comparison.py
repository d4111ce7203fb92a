"""Two builds of one model beside each other: errors layer by layer, precisions, sizes, metrics and latency."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converters.inspect.built_engine import engine_document, engine_lines, network_of, open_engine
from converters.inspect.inspection import Layer, Network, look_at
from converters.measure.latency import Latency, measure_in_turn
from converters.measure.layers import LayerError, compare_layers
from converters.text_table import size, table
from edge_runtime.domain import Array
from edge_runtime.engines.golden import golden_image
from edge_runtime.engines.passport import Metric, Passport
from edge_runtime.engines.verify import VerifiedEngine
from edge_runtime.errors import ConfigurationError
from edge_runtime.preprocess import compile_recipe

_RUNS, _SECONDS = 50, 2.0


@dataclass(frozen=True)
class PrecisionChange:
    """A layer that the two builds have in different precisions."""

    name: str
    operator: str
    first: str
    second: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """The second build measured against the first, on the golden input.

    latency: of both, run in turn on this processor; None where one of them is a plan for a GPU.
    """

    engines: tuple[VerifiedEngine, VerifiedEngine]
    networks: tuple[Network, Network]
    errors: tuple[LayerError, ...]
    changes: tuple[PrecisionChange, ...]
    latency: tuple[Latency, Latency] | None
    notes: tuple[str, ...]

    def text(self) -> str:
        """For a terminal."""
        lines: list[str] = []
        for letter, engine in zip("AB", self.engines, strict=True):
            lines += [f"{letter}: {engine.folder}", *(f"   {line}" for line in engine_lines(engine)), ""]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"{len(self.errors)} tensors that both have, B against A on the golden input:"]
        header = ("operator", "tensor", "SQNR (dB)", "relative", "max. abs.", "mean abs.")
        lines += [*table(header, [_cells(e) for e in self.errors]), ""]
        lines += [f"{len(self.changes)} layers in another precision:" if self.changes else "every layer that both "
                  "have is in the same precision"]  # fmt: skip
        if self.changes:
            rows = [(c.operator, c.name, c.first, c.second) for c in self.changes]
            lines += table(("operator", "layer", "A", "B"), rows)
        return "\n".join([*lines, "", *self._figures()])

    def _figures(self) -> list[str]:
        (a, b), (first, second) = self.engines, self.networks
        rows = [
            ("engine", size(a.passport.engine.size_bytes), size(b.passport.engine.size_bytes)),
            ("network", size(first.size_bytes), size(second.size_bytes)),
            ("longest run in passport", *(_milliseconds(e.passport.longest_run_seconds) for e in self.engines)),
        ]
        if self.latency is not None:
            here = f"here, p50 of {self.latency[0].runs} on {self.latency[0].threads} threads"
            rows.append((here, *(_milliseconds(found.p50_seconds) for found in self.latency)))
        metrics = _metrics(a.passport, b.passport)
        rows += [(name, *(_metric(m) for m in pair)) for name, pair in metrics.items()]
        return table(("", "A", "B"), rows)

    def document(self) -> dict[str, Any]:
        """For JSON; null stands for the SQNR of tensors that are equal, and for what is not finite."""
        return {
            "a": engine_document(self.engines[0]),
            "b": engine_document(self.engines[1]),
            "networks": [
                {"size_bytes": n.size_bytes, "layers_by_precision": n.layers_by_precision, "weights": n.stored_bytes}
                for n in self.networks
            ],
            "layers": [{k: _finite(v) for k, v in asdict(e).items()} for e in self.errors],
            "precisions_that_differ": [asdict(c) for c in self.changes],
            "latency": None if self.latency is None else [asdict(found) for found in self.latency],
            "notes": list(self.notes),
        }


def compare(a: Path, b: Path) -> Comparison:
    """Compare two engines' folders, each verified first; `a` is the reference.

    Raises:
        ConfigurationError: a path is no engine, or the two are not of one model.
        EngineRejected: an engine is not the one of its passport, or its network cannot be run.
        BackendUnavailable: onnx is missing.
    """
    engines = open_engine(a), open_engine(b)
    _check_same_model(*engines)
    (first, note), (second, other_note) = (network_of(engine) for engine in engines)
    networks = look_at(first, str(a)), look_at(second, str(b))
    errors = compare_layers(first, second, [_golden_input(engines[0])])
    notes = [f"{letter}: {text}" for letter, text in zip("AB", (note, other_note), strict=True) if text is not None]
    latency = None
    if notes:
        notes.append("latency is not measured here: a plan runs on its GPU alone")
    else:
        found = measure_in_turn(engines[0].card, {"a": first, "b": second}, _RUNS, _SECONDS)
        latency = found["a"], found["b"]
    return Comparison(engines, networks, errors, precisions_that_differ(*networks), latency, tuple(notes))


def precisions_that_differ(first: Network, second: Network) -> tuple[PrecisionChange, ...]:
    """The layers that both have, by name or else by the tensor they give, in different precisions; in order."""
    there = {_key(layer): layer.precision for layer in second.layers}
    return tuple(
        PrecisionChange(layer.name or layer.tensor, layer.operator, layer.precision, there[_key(layer)])
        for layer in first.layers
        if there.get(_key(layer), layer.precision) != layer.precision
    )


def _key(layer: Layer) -> tuple[str, str]:
    return layer.operator, layer.name or layer.tensor


def _check_same_model(a: VerifiedEngine, b: VerifiedEngine) -> None:
    first, second = a.passport, b.passport
    pairs = [
        ("engine", first.name, second.name),
        ("version", first.version, second.version),
        ("checkpoint", first.checkpoint_sha256, second.checkpoint_sha256),
        ("input", a.card.input, b.card.input),
        ("output", a.card.output, b.card.output),
        ("preprocessing", a.card.preprocess, b.card.preprocess),
    ]
    for what, one, other in pairs:
        if one != other and one is not None and other is not None:
            raise ConfigurationError(
                f"{a.folder} and {b.folder} are not two builds of one model: the {what} is {one} of the first and "
                f"{other} of the second; name two builds of the same card and checkpoint"
            )


def _golden_input(engine: VerifiedEngine) -> Array:
    image = golden_image(engine.golden.seed)
    return next(iter(compile_recipe(engine.card)(image, None, 0.0))).inputs[0].array


def _metrics(a: Passport, b: Passport) -> dict[str, tuple[Metric | None, Metric | None]]:
    first, second = ({m.name: m for m in p.task_metrics} for p in (a, b))
    return {name: (first.get(name), second.get(name)) for name in (first | second)}


def _metric(metric: Metric | None) -> str:
    if metric is None:
        return "-"
    interval = "" if metric.low is None or metric.high is None else f" ({metric.low:.4f} to {metric.high:.4f})"
    return f"{metric.value:.4f}{interval}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.3g} ms"


def _cells(error: LayerError) -> tuple[str, ...]:
    sqnr = "equal" if error.sqnr_db == math.inf else f"{error.sqnr_db:.1f}"
    numbers = (error.relative_error, error.maximum_absolute_error, error.mean_absolute_error)
    return error.operator, error.name, sqnr, *(f"{v:.2g}" for v in numbers)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
