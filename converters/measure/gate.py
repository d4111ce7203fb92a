"""The gate: no engine in lower precision whose task metrics on the hold-out set are outside the card's tolerances.

Layers go back to FP32, the most sensitive first, until the metrics pass; 1, 2, 4, 8 ... of them, at most half. Then as
many as can be are given back to the lower precision, by bisection between the last count that failed and the first that
passed. An FP16 network is measured with the result of every FP16 layer rounded to FP16, see converters.quantize.half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from converters.measure.evaluate import Evaluation
from converters.measure.sensitivity import Make, Parts, Sensitivity, sensitivities
from converters.progress import Progress
from converters.quantize.half import rounded
from converters.text_table import table
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card, Tolerance
from edge_runtime.errors import ConfigurationError, EngineRejected


class Evaluates(Protocol):
    """What measures the task metrics of an ONNX network on the hold-out set."""

    def evaluate(self, network: bytes) -> Evaluation:
        """The scores of every metric that the card's gate names."""


@dataclass(frozen=True)
class Row:
    """One tolerance of the card: FP32's figure, the one found with its 95 % interval, and whether it passes.

    `worst` is the worst single sample where that means something, else `found`.
    """

    metric: str
    fp32: float
    found: float
    low: float
    high: float
    worst: float
    tolerance: float
    at_least: float
    passed: bool


@dataclass(frozen=True)
class Attempt:
    """A network that was tried: the layers in FP32, most sensitive first, and what came of it.

    `failed`: samples of which it gave no answer (NaN) though FP32 does; one is enough not to pass.
    """

    raised: tuple[str, ...]
    rows: tuple[Row, ...]
    failed: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every row passes, and every sample that FP32 answers has an answer."""
        return all_pass(self.rows) and not self.failed


@dataclass(frozen=True, eq=False)
class Passed:
    """The network that passed. `sensitivities` are empty where no layer had to be raised."""

    network: bytes
    kept: frozenset[str]
    fp32: Evaluation
    found: Evaluation
    rows: tuple[Row, ...]
    tried: tuple[Attempt, ...]
    sensitivities: tuple[Sensitivity, ...]


def pass_gate(
    card: Card,
    evaluator: Evaluates,
    fp32: bytes,
    make: Make,
    layers: Sequence[str],
    inputs: Sequence[Array],
    progress: Progress,
) -> Passed:
    """The network with the fewest layers in FP32 that passes the card's gate, as far as the search finds it.

    `make(kept)` builds the network in lower precision with the layers `kept` in FP32; `layers` are all that it can
    lower. `inputs`: a few network inputs, float32: on them the layers' sensitivity is measured if one has to be raised.

    Raises:
        ConfigurationError: the card has no gate.
        EngineRejected: FP32 itself misses what the card asks for, or more than half of the layers would have to be
            raised; with the table of metrics.
    """
    if not card.gate:
        raise ConfigurationError(
            f"engine {card.name}: its card has no gate; add `holdout` (labelled samples) and `gate` "
            "(a list of metric and tolerance), so that lower precision can be measured before it is used"
        )
    with progress.step("measuring FP32 on the hold-out set"):
        of_fp32 = evaluator.evaluate(fp32)
    rows = compare_scores(card.gate, of_fp32, of_fp32)
    if not all_pass(rows):
        raise _rejected(card, "FP32 itself misses what its card asks for", rows)
    return _Search(card, evaluator, fp32, of_fp32, make, progress).run(layers, inputs)


def _rejected(card: Card, why: str, rows: Sequence[Row]) -> EngineRejected:
    return EngineRejected("\n".join([f"engine {card.name}: {why}; no engine was written", *gate_table(rows)]))


def passes(fp32: float, found: float, tolerance: float, at_least: float) -> bool:
    """Whether a figure is at most `tolerance` below FP32's and not below `at_least`; NaN never is."""
    return found >= fp32 - tolerance and found >= at_least


def compare_scores(gate: Sequence[Tolerance], fp32: Evaluation, found: Evaluation) -> tuple[Row, ...]:
    """A row for each tolerance; both have a score for each, in the order of the gate.

    Raises:
        ValueError: the scores are not those of the gate.
    """
    if not [t.name for t in gate] == [s.metric for s in fp32.scores] == [s.metric for s in found.scores]:
        raise ValueError("an evaluation has a score for each tolerance of the gate, in that order")
    return tuple(
        Row(t.name, before.value, after.value, after.low, after.high, after.worst, t.tolerance, t.at_least,
            passes(before.value, after.value, t.tolerance, t.at_least))
        for t, before, after in zip(gate, fp32.scores, found.scores, strict=True)
    )  # fmt: skip


def all_pass(rows: Sequence[Row]) -> bool:
    """Whether every row passes; no rows do not."""
    return bool(rows) and all(row.passed for row in rows)


def counts_to_raise(layers: int) -> Iterator[int]:
    """How many layers to raise, one try after the other: 1, 2, 4, 8 ... and at last half of them, rounded down."""
    half, count = layers // 2, 1
    while count < half:
        yield count
        count *= 2
    if half:
        yield half


def fewest_that_pass(failed: int, passed: int, try_count: Callable[[int], bool]) -> int:
    """Bisect between a count that failed and one that passed; returns a count that passed."""
    while passed - failed > 1:
        middle = (failed + passed) // 2
        if try_count(middle):
            passed = middle
        else:
            failed = middle
    return passed


def gate_table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of text."""
    header = ("metric", "FP32", "found", "95 % interval", "tolerance", "at least", "")
    cells = [
        (r.metric, f"{r.fp32:.4f}", f"{r.found:.4f}", f"{r.low:.4f} to {r.high:.4f}", f"{r.tolerance:g}",
         f"{r.at_least:g}", "passes" if r.passed else "fails")
        for r in rows
    ]  # fmt: skip
    return table(header, cells)


def parts_of(card: Card) -> Parts:
    """Cuts the card's output into coordinates of boxes and scores; leaves it whole where it is of one kind."""
    if not card.decode.gives_boxes:
        return lambda output: (output,)
    if card.decode.layout == "yolov5":
        return lambda output: (output[..., :4], output[..., 4:])
    boxes = 2 * card.input.spatial
    return lambda output: (output[:, :boxes], output[:, boxes:])


class _Search:
    """The search for the fewest layers in FP32: what was tried, and the best network so far."""

    def __init__(
        self, card: Card, evaluator: Evaluates, fp32: bytes, of_fp32: Evaluation, make: Make, progress: Progress
    ) -> None:
        self._card, self._evaluator, self._make, self._progress = card, evaluator, make, progress
        self._fp32, self._of_fp32 = fp32, of_fp32
        self._tried: list[Attempt] = []
        self._best: tuple[bytes, Evaluation, Attempt] | None = None

    def run(self, layers: Sequence[str], inputs: Sequence[Array]) -> Passed:
        order: list[Sensitivity] = []
        if not self._try(()):
            with self._progress.step("measuring which layers are sensitive"):
                order = sensitivities(
                    self._make, layers, self._fp32, inputs, self._progress, self._card.output.name, parts_of(self._card)
                )
            self._raise_layers([s.layer for s in order])
        if self._best is None:
            why = (
                f"more than half of its {len(layers)} layers would have to stay in FP32 to be within its card's "
                "tolerances; try more or other calibration samples, another method, or FP16"
            )
            failed = self._tried[-1].failed
            why += f" (it gives no answer for {len(failed)} samples that FP32 answers)" if failed else ""
            raise _rejected(self._card, why, self._tried[-1].rows)
        network, found, attempt = self._best
        kept, tried = frozenset(attempt.raised), tuple(self._tried)
        return Passed(network, kept, self._of_fp32, found, attempt.rows, tried, tuple(order))

    def _raise_layers(self, order: Sequence[str]) -> None:
        failed = 0
        for count in counts_to_raise(len(order)):
            if self._try(order[:count]):
                fewest_that_pass(failed, count, lambda fewer: self._try(order[:fewer]))
                return
            failed = count

    def _try(self, raised: Sequence[str]) -> bool:
        """Build and measure with these layers in FP32. Of the networks that pass the one with the fewest is kept."""
        what = f"with {len(raised)} layers in FP32" if raised else "in lower precision"
        with self._progress.step(f"measuring the network {what} on the hold-out set"):
            network = self._make(frozenset(raised))
            found = self._of_fp32 if network == self._fp32 else self._evaluator.evaluate(rounded(network))
        failed = tuple(name for name in found.failed if name not in self._of_fp32.failed)
        attempt = Attempt(tuple(raised), compare_scores(self._card.gate, self._of_fp32, found), failed)
        self._tried.append(attempt)
        for row in attempt.rows:
            verdict = "passes" if row.passed else "fails"
            self._progress.say(f"{row.metric} {row.found:.4f}, FP32 {row.fp32:.4f}: {verdict}")
        if failed:
            self._progress.say(f"no answer for {len(failed)} samples that FP32 answers: fails")
        if attempt.passed:
            self._best = network, found, attempt
        return attempt.passed
