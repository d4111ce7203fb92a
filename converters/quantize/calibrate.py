"""What every tensor of a network held on the calibration inputs: one pass, from which every method reads its ranges."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from converters.network_view import NetworkView
from converters.progress import Progress
from converters.quantize import histogram
from edge_runtime.domain import Array
from edge_runtime.errors import ConfigurationError, EngineRejected

ACTIVATION_BYTES = 512 << 20
"""A network whose activations are larger is run part by part, and only those of one part are kept at a time."""


@dataclass(frozen=True)
class Range:
    """What INT8 is to represent of a tensor; 0 is always within."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """Smallest and largest value of a tensor, and its histogram (`converters.quantize.histogram`)."""

    low: float
    high: float
    counts: Array

    def add(self, other: TensorStatistics) -> TensorStatistics:
        """Of both together."""
        return TensorStatistics(min(self.low, other.low), max(self.high, other.high), self.counts + other.counts)

    def range(self, method: str, percentile: float) -> Range:
        """By `minmax`, `percentile` or `entropy`; never wider than what was seen."""
        low, high = -math.inf, math.inf
        if method == "percentile":
            low, high = histogram.percentile_range(self.counts, percentile)
        elif method == "entropy":
            high = histogram.entropy_threshold(self.counts, max(abs(self.low), abs(self.high)))
            low = -high
        elif method != "minmax":
            raise ConfigurationError(f"calibration method {method!r} is none of minmax, percentile, entropy")
        return Range(min(max(low, self.low), 0.0), max(min(high, self.high), 0.0))


@dataclass(frozen=True, eq=False)
class Observed:
    """The statistics of every float32 tensor of one network on one calibration set, which their hashes name."""

    network_sha256: str
    inputs_sha256: str
    inputs_seen: int
    statistics: Mapping[str, TensorStatistics]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Their names, in the order of the graph."""
        return tuple(self.statistics)

    def ranges(self, method: str, percentile: float) -> dict[str, Range]:
        """A range for every tensor. `percentile` counts for that method only: the share of values within, in percent.

        Raises:
            ConfigurationError: no such method.
        """
        return {name: statistics.range(method, percentile) for name, statistics in self.statistics.items()}

    def histogram(self, tensor: str, bins: int) -> tuple[Array, Array]:
        """Edges and counts of `bins` equally wide bins from the smallest to the largest value, for a plot."""
        statistics = self.statistics[tensor]
        return histogram.linear(statistics.counts, statistics.low, statistics.high, bins)

    def to_json(self) -> str:
        """For another build of the same network from the same calibration set."""
        tensors = {
            name: {"low": s.low, "high": s.high, "counts": base64.b64encode(zlib.compress(s.counts.tobytes())).decode()}
            for name, s in self.statistics.items()
        }
        return json.dumps(
            {
                "network_sha256": self.network_sha256,
                "inputs_sha256": self.inputs_sha256,
                "inputs_seen": self.inputs_seen,
                "tensors": tensors,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Observed:
        """What `to_json` gave.

        Raises:
            ConfigurationError: it is something else.
        """
        try:
            document = json.loads(text)
            statistics = {
                name: TensorStatistics(float(s["low"]), float(s["high"]), _counts(s["counts"]))
                for name, s in document["tensors"].items()
            }
            return cls(
                str(document["network_sha256"]),
                str(document["inputs_sha256"]),
                int(document["inputs_seen"]),
                statistics,
            )
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            raise ConfigurationError(f"these are no calibration statistics of this program: {error!r}") from error


def _counts(text: str) -> Array:
    counts = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.int64)
    if counts.shape != (histogram.BINS,):
        raise ValueError(f"a histogram has {counts.size} bins instead of {histogram.BINS}")
    return counts


def observe(network: bytes, inputs: Iterable[Array], progress: Progress, count: int | None) -> Observed:
    """Run the network on one input after the other; the activations of one are dropped before the next runs.

    `network` is what `int8.prepare` gave; `inputs` are float32 of its input's shape; `count`: how many, if known.

    Raises:
        ConfigurationError: there is no input.
        EngineRejected: a tensor became infinite or not a number.
    """
    source, parts = _parts(network)
    digest, seen = hashlib.sha256(), 0
    statistics: dict[str, TensorStatistics] = {}

    def add(name: str, values: Array) -> None:
        found = _measure(name, values, seen)
        statistics[name] = statistics[name].add(found) if name in statistics else found

    for prepared in progress.steps("calibration inputs", inputs, count):
        digest.update(prepared.tobytes())
        add(source, prepared)
        held = {source: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(prepared))}
        for part in parts:
            held = part.run(held, add)
        seen += 1
    if not seen:
        raise ConfigurationError("the calibration set is empty: INT8 needs inputs to take its ranges from")
    return Observed(hashlib.sha256(network).hexdigest(), digest.hexdigest(), seen, statistics)


def _measure(name: str, values: Array, index: int) -> TensorStatistics:
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise EngineRejected(
            f"tensor {name} of the network holds {low} to {high} on calibration input {index + 1}; "
            "INT8 cannot be calibrated: look for NaN in the weights, or for an input that the network was not made for"
        )
    return TensorStatistics(low, high, histogram.count(values))


class _Part:
    """Consecutive nodes of a network, in a session that gives all of their float32 tensors.

    `later`: names of the tensors that the parts after it read.
    """

    def __init__(self, model: Any, nodes: list[Any], later: frozenset[str]) -> None:
        values = {v.name: v for v in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
        made = [name for node in nodes for name in node.output if name]
        self._later = later
        self._floats = [name for name in made if name in values and _is_float32(values[name])]
        self._gives = list(dict.fromkeys([*self._floats, *(name for name in made if name in later)]))
        self._reads = sorted(_read(nodes) - set(made) - {i.name for i in model.graph.initializer})
        part = _of(model, nodes, [values[name] for name in self._reads], [values[name] for name in self._gives])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # a session at rest holds no activations
        self._session = onnxruntime.InferenceSession(
            part.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, held: dict[str, Any], add: Callable[[str, Array], None]) -> dict[str, Any]:
        """Give each tensor to `add`; takes what the parts before made, returns what the parts after read."""
        values = self._session.run_with_ort_values(self._gives, {name: held[name] for name in self._reads})
        made = dict(zip(self._gives, values, strict=True))
        for name in self._floats:
            add(name, made[name].numpy())
        return {name: value for name, value in (held | made).items() if name in self._later}


def _parts(network: bytes) -> tuple[str, list[_Part]]:
    """The name of the network's input, and the network in parts whose activations fit `ACTIVATION_BYTES`."""
    view = NetworkView(network)
    groups: list[list[Any]] = [[]]
    held = 0
    for node in view.nodes:
        size = sum(view.size_bytes(name) or 0 for name in node.output if name)
        if held and held + size > ACTIVATION_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(node)
        held += size
    later = [frozenset(_read([node for group in groups[i + 1 :] for node in group])) for i in range(len(groups))]
    parts = [_Part(view.model, nodes, names) for nodes, names in zip(groups, later, strict=True)]
    return str(view.inputs[0]), parts


def _read(nodes: list[Any]) -> set[str]:
    return {name for node in nodes for name in node.input if name}


def _is_float32(value: Any) -> bool:
    return bool(value.type.tensor_type.elem_type == 1)  # TensorProto.FLOAT


def _of(model: Any, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Any:
    """The model with these nodes alone, and the constants that they read."""
    part, read = type(model)(), _read(nodes)
    part.ir_version = model.ir_version
    part.opset_import.extend(model.opset_import)
    part.graph.name = model.graph.name
    part.graph.node.extend(nodes)
    part.graph.input.extend(inputs)
    part.graph.output.extend(outputs)
    part.graph.initializer.extend(i for i in model.graph.initializer if i.name in read)
    return part
