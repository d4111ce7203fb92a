"""How far two builds of one network are apart, layer by layer: what FP16 or INT8 costs, and where.

The error of a layer is that of its output as the next layer sees it: after quantizing and dequantizing, where it is
quantized. It holds what came from the layers before. Results of FP16 layers are rounded to FP16, see `half`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from converters.network_view import NetworkView, load_onnx
from converters.quantize.half import rounded
from edge_runtime.domain import Array
from edge_runtime.errors import EngineRejected

CHUNK_BYTES = 256_000_000
"""Activations of one network that are kept at a time; one tensor may be larger."""
_PIECE = 1 << 20  # elements that are compared at a time
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class LayerError:
    """One tensor over all inputs. `name` is the tensor's, `node` that of the layer which makes it, in the reference.

    `sqnr_db`: 10 log10(sum of x^2 / sum of (x - y)^2), infinite where nothing differs. `relative_error`: the root of
    the second sum by the first. Where the other network gives a number that is not finite and the reference does not,
    SQNR is minus infinity and the errors are infinite.
    """

    name: str
    operator: str
    node: str
    sqnr_db: float
    relative_error: float
    maximum_absolute_error: float
    mean_absolute_error: float


class Difference:
    """Adds up how far arrays are from their references; any shapes, summed in float64."""

    def __init__(self) -> None:
        self.signal = self.noise = self.maximum = self._absolute = 0.0
        self._count = 0

    def add(self, reference: Array, other: Array) -> None:
        """Take in two arrays of one shape."""
        flat, found = reference.reshape(-1), other.reshape(-1)
        self._count += flat.size
        for begin in range(0, flat.size, _PIECE):
            expected = flat[begin : begin + _PIECE].astype(np.float64)
            finite = np.isfinite(expected)
            expected[~finite] = 0
            error = np.abs(np.where(finite, expected - found[begin : begin + _PIECE], 0))
            error[np.isnan(error)] = math.inf
            self.signal += float(expected @ expected)
            self.noise += float(error @ error)
            self.maximum = max(self.maximum, float(error.max()))
            self._absolute += float(error.sum())

    @property
    def noise_ratio(self) -> float:
        """Noise by signal: 0 where nothing differs, infinite where there is noise and no signal."""
        if self.noise == 0:
            return 0.0
        return self.noise / self.signal if self.signal > 0 else math.inf

    @property
    def mean_absolute(self) -> float:
        """The mean absolute difference."""
        return self._absolute / self._count if self._count else 0.0


def decibels(noise_ratio: float) -> float:
    """SQNR in dB of noise by signal."""
    if noise_ratio == 0:
        return math.inf
    return -10 * math.log10(noise_ratio) if math.isfinite(noise_ratio) else -math.inf


def compare_layers(
    reference: bytes, other: bytes, inputs: Sequence[Array], chunk_bytes: int = CHUNK_BYTES
) -> tuple[LayerError, ...]:
    """The error of each floating-point tensor that both ONNX networks have, in the order of the reference.

    Tensors are the same by name, also where one network quantizes or casts them and goes on with another name.
    `inputs`: float32, each of the networks' one input. Where the activations of one input take more than
    `chunk_bytes` in a network, the networks run several times on it.

    Raises:
        EngineRejected: the bytes are no network, ONNX Runtime does not take it, or it fails in a run.
        BackendUnavailable: onnx is missing.
    """
    first = NetworkView(rounded(reference, "the reference network"), "the reference network")
    second = NetworkView(rounded(other, "the other network"), "the other network")
    pairs = _pairs(first, second)
    differences: dict[int, Difference] = {}
    for chunk in _chunks(first, pairs, chunk_bytes):
        one = Runner(first.model, [pairs[i].reference for i in chunk], "the reference network")
        two = Runner(second.model, [pairs[i].other for i in chunk], "the other network")
        for prepared in inputs:
            for index, expected, found in zip(chunk, one.run(prepared), two.run(prepared), strict=True):
                if expected.shape == found.shape and expected.dtype.kind == found.dtype.kind == "f":
                    differences.setdefault(index, Difference()).add(expected, found)
    return tuple(_layer_error(pairs[i], differences[i]) for i in sorted(differences))


@dataclass(frozen=True, eq=False)
class _Pair:
    name: str
    node: Any
    reference: str
    other: str


def _pairs(first: NetworkView, second: NetworkView) -> list[_Pair]:
    there = {name: made.seen for made in second.made() for name in made.names}
    pairs = []
    for made in first.made():
        common = [name for name in made.names if name in there]
        if common:
            name = next((name for name in common if name in first.outputs), min(common, key=len))
            pairs.append(_Pair(name, made.node, made.seen, there[name]))
    return pairs


def _chunks(view: NetworkView, pairs: Sequence[_Pair], chunk_bytes: int) -> Iterator[list[int]]:
    chunk: list[int] = []
    taken = 0
    for index, pair in enumerate(pairs):
        size = view.size_bytes(pair.reference) or 0
        if chunk and taken + size > chunk_bytes:
            yield chunk
            chunk, taken = [], 0
        chunk.append(index)
        taken += size
    if chunk:
        yield chunk


def _layer_error(pair: _Pair, difference: Difference) -> LayerError:
    ratio = difference.noise_ratio
    errors = (decibels(ratio), math.sqrt(ratio), difference.maximum, difference.mean_absolute)
    return LayerError(pair.name, pair.node.op_type, pair.node.name, *errors)


class Runner:
    """A network in ONNX Runtime, by the kernels of this processor, that gives the tensors asked for."""

    def __init__(self, model: Any, tensors: Sequence[str], what: str = "the network") -> None:
        self._what, self._tensors = what, list(tensors)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.enable_mem_pattern = options.enable_cpu_mem_arena = False  # both hold memory for the next run
        network = _with_outputs(model, tensors)
        try:
            self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            version = onnxruntime.__version__
            raise EngineRejected(f"ONNX Runtime {version} does not take {what}: {error}") from error
        names = [i.name for i in self._session.get_inputs()]
        if len(names) != 1:
            raise EngineRejected(f"{what} has the inputs {', '.join(names) or 'none'}; a network here has one")
        self._input = names[0]

    def run(self, prepared: Array) -> list[Array]:
        """The tensors of one input, in the order they were asked for."""
        try:
            found: list[Array] = self._session.run(list(dict.fromkeys(self._tensors)), {self._input: prepared})
        except Exception as error:
            raise EngineRejected(f"ONNX Runtime failed in a run of {self._what}: {error}") from error
        by_name = dict(zip(dict.fromkeys(self._tensors), found, strict=True))
        return [by_name[name] for name in self._tensors]


def _with_outputs(model: Any, tensors: Sequence[str]) -> bytes:
    """The network with these outputs beside its own."""
    onnx = load_onnx()
    outputs = model.graph.output
    own = {o.name for o in outputs}
    added = [name for name in dict.fromkeys(tensors) if name not in own]
    outputs.extend(onnx.ValueInfoProto(name=name) for name in added)
    try:
        return bytes(model.SerializeToString())
    finally:
        del outputs[len(own) :]
