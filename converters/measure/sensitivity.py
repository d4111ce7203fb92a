"""Which layers pay for the lower precision: the error of the output when one layer alone is in it, measured."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from converters.measure.layers import Difference, Runner, decibels
from converters.network_view import read_model
from converters.progress import Progress
from converters.quantize.half import rounded
from edge_runtime.domain import Array

MEASUREMENTS = 96
"""Networks that are made and run at most; each costs a build, a load and a run of every input."""
_ELEMENTS = 1 << 20  # of an output that are compared; of a larger one evenly spread samples

Make = Callable[[frozenset[str]], bytes]
Measure = Callable[[Sequence[str]], float]
Parts = Callable[[Array], Sequence[Array]]


@dataclass(frozen=True)
class Sensitivity:
    """What a layer in low precision does to the output. `noise_ratio` is squared error by squared signal.

    `measured_with`: how many layers were in low precision together when it was measured. 1: this one alone. More:
    there were too many layers to try each; the figure is the group's, shared out evenly.
    """

    layer: str
    noise_ratio: float
    measured_with: int = 1

    @property
    def sqnr_db(self) -> float:
        """The output's signal-to-noise ratio; infinite where nothing changed, minus infinity where it is no number."""
        return decibels(self.noise_ratio)

    @property
    def relative_error(self) -> float:
        """Root mean square error by root mean square of the output."""
        return math.sqrt(self.noise_ratio)


def sensitivities(
    make: Make,
    layers: Sequence[str],
    reference: bytes,
    inputs: Sequence[Array],
    progress: Progress,
    output: str | None = None,
    parts: Parts = lambda whole: (whole,),
    measurements: int = MEASUREMENTS,
) -> list[Sensitivity]:
    """The layers, most sensitive first; among equals the earlier layer first.

    `make(kept)` builds the network with the layers `kept` in FP32. `inputs`: a few, float32. `output`: the name of the
    one that is compared; absent, the first. `parts` cuts it where its numbers differ in kind and size, such as boxes
    from scores: the error is the mean of the parts'. Up to `measurements` layers are tried one by one; of more, groups
    of neighbours are, and the worst group is halved again and again.

    Raises:
        EngineRejected: ONNX Runtime does not take a network, or fails in a run.
    """
    measure = _Measurement(make, layers, reference, inputs, output, parts)
    groups = ranked(layers, measure, progress, measurements)
    order = {name: index for index, name in enumerate(layers)}
    found = [Sensitivity(name, ratio / len(group), len(group)) for ratio, group in groups for name in group]
    return sorted(found, key=lambda s: (-s.noise_ratio, order[s.layer]))


def ranked(
    layers: Sequence[str], measure: Measure, progress: Progress, measurements: int
) -> list[tuple[float, Sequence[str]]]:
    """Groups of layers with what `measure` gives of each, after at most `measurements` of them.

    Single layers where there are no more than that. Else neighbours in a quarter as many groups, and the worst group
    that is not single is halved as long as measurements are left.
    """
    count = len(layers)
    alone = count <= measurements
    first = count if alone else max(1, measurements // 4)
    waiting = [layers[count * i // first : count * (i + 1) // first] for i in range(first)]
    single: list[tuple[float, Sequence[str]]] = []
    heap: list[tuple[float, int, Sequence[str]]] = []  # worst first, then the one measured first
    total = count if alone else measurements
    what = "measuring layers one by one" if alone else f"measuring {count} layers in groups, the worst ones halved"
    for number in progress.steps(what, range(total), total):
        if not waiting:
            if not heap or number + 2 > total:
                break
            worst = heapq.heappop(heap)[2]
            waiting = [worst[: len(worst) // 2], worst[len(worst) // 2 :]]
        group = waiting.pop(0)
        noise = measure(group)
        if len(group) == 1:
            single.append((noise, group))
        else:
            heapq.heappush(heap, (-noise, number, group))
    return single + [(-minus, group) for minus, _, group in heap]


class _Measurement:
    """The error of the output with these layers alone in low precision."""

    def __init__(
        self,
        make: Make,
        layers: Sequence[str],
        reference: bytes,
        inputs: Sequence[Array],
        output: str | None,
        parts: Parts,
    ) -> None:
        if not inputs:
            raise ValueError("sensitivity is measured on at least one input")
        self._make, self._layers, self._inputs, self._cut = make, frozenset(layers), inputs, parts
        model = read_model(reference, "the FP32 network")
        self._output = output or str(model.graph.output[0].name)
        runner = Runner(model, [self._output], "the FP32 network")
        self._expected = [self._parts(runner.run(prepared)[0]) for prepared in inputs]

    def __call__(self, group: Sequence[str]) -> float:
        network = self._make(self._layers - frozenset(group))
        what = f"the network with {', '.join(group)} in low precision"
        runner = Runner(read_model(rounded(network), what), [self._output], what)
        differences = [Difference() for _ in self._expected[0]]
        for prepared, expected in zip(self._inputs, self._expected, strict=True):
            found = self._parts(runner.run(prepared)[0])
            for difference, *arrays in zip(differences, expected, found, strict=True):
                difference.add(*arrays)
        return sum(d.noise_ratio for d in differences) / len(differences)

    def _parts(self, output: Array) -> list[Array]:
        step = max(1, math.ceil(output.size / _ELEMENTS)) | 1
        return [np.array(part.reshape(-1)[::step]) for part in self._cut(output)]
