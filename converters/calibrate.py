"""What every tensor of a network held on the calibration inputs: one pass, from which every method reads its ranges."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from converters import histogram
from converters.progress import Progress
from edge_runtime.domain import Array
from edge_runtime.errors import ConfigurationError, EngineRejected

ACTIVATION_BYTES = 512 << 20
"""A network whose activations are larger is run in parts, so that only those of one part are kept at a time."""


@dataclass(frozen=True)
class Range:
    """What INT8 is to represent of a tensor; 0 is always within."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """Smallest and largest value of a tensor, and its histogram (`converters.histogram`)."""

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
    parts = _parts(network)
    digest, seen = hashlib.sha256(), 0
    statistics: dict[str, TensorStatistics] = {}
    for prepared in progress.steps("calibration inputs", inputs, count):
        digest.update(prepared.tobytes())
        for part in parts:
            for name, values in part.activations(prepared):
                found = _measure(name, values, seen)
                statistics[name] = statistics[name].add(found) if name in statistics else found
                del values
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
    """The nodes of a network that some of its tensors need, in a session that gives these tensors."""

    def __init__(self, model: Any, tensors: list[str]) -> None:
        self._input = str(model.graph.input[0].name)
        self._tensors = [name for name in tensors if name != self._input]
        self._gives_input = self._input in tensors
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # a session at rest holds no activations
        data = _giving(model, self._tensors).SerializeToString()
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def activations(self, prepared: Array) -> Iterator[tuple[str, Array]]:
        """Name and values of each tensor; the arrays lie in the session's memory, and are gone after the last."""
        if self._gives_input:
            yield self._input, prepared
        feed = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(prepared))
        values = self._session.run_with_ort_values(self._tensors, {self._input: feed})
        for name, value in zip(self._tensors, values, strict=True):
            yield name, value.numpy()


def _parts(network: bytes) -> list[_Part]:
    import onnx

    model = onnx.load_from_string(network)
    groups: list[list[str]] = [[]]
    held = 0
    for name, size in _tensors(model).items():
        if held and held + size > ACTIVATION_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
    return [_Part(model, group) for group in groups]


def _tensors(model: Any) -> dict[str, int]:
    """Every float32 tensor that is no constant, in the order of the graph, and the bytes that it adds to the input."""
    graph, float32 = model.graph, 1  # TensorProto.FLOAT
    values = {v.name: v.type.tensor_type for v in (*graph.input, *graph.value_info, *graph.output)}
    names = [graph.input[0].name, *(name for node in graph.node for name in node.output)]
    kinds = {name: values[name] for name in names if name in values and values[name].elem_type == float32}
    sizes = {name: 4 * math.prod(int(d.dim_value) for d in kind.shape.dim) for name, kind in kinds.items()}
    return {**sizes, names[0]: 0}


def _giving(model: Any, tensors: list[str]) -> Any:
    """The model with these outputs, and only the nodes that they need."""
    from onnx import TensorProto, helper

    needed, nodes = set(tensors), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    part = type(model)()
    part.CopyFrom(model)
    for field in (part.graph.node, part.graph.output, part.graph.value_info, part.graph.initializer):
        del field[:]
    part.graph.node.extend(reversed(nodes))
    part.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    part.graph.initializer.extend(i for i in model.graph.initializer if i.name in needed)
    return part
