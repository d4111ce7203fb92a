"""The gate: no engine in lower precision whose task metrics are outside the card's tolerances."""

import dataclasses
import itertools
import json
import math
from unittest import mock

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import models
from support.lowered import LAYERS, SHAPE, convolutional, half, images, quantized

from converters.measure import gate
from converters.measure.evaluate import Evaluation, Score
from converters.measure.gate import counts_to_raise, fewest_that_pass, pass_gate, passes
from converters.measure.layers import Runner
from converters.measure.sensitivity import Sensitivity
from converters.progress import Progress
from edge_runtime.engines.card import Card, Samples, Tolerance, read_card
from edge_runtime.errors import ConfigurationError, EngineRejected

QUIET = Progress(lambda text: None)
SHARE = st.floats(0, 1)


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> Card:
    """A classification's card without a gate."""
    folder = models.write_card(tmp_path_factory.mktemp("engines"), models.card("classification", SHAPE))
    return read_card(folder)[0]


def gated(card: Card, *rows: Tolerance) -> Card:
    return dataclasses.replace(card, holdout=Samples(path="holdout"), gate=rows or (Tolerance("auc", 0.02),))


def evaluation(*values: float, failed: tuple[str, ...] = ()) -> Evaluation:
    scores = tuple(Score("auc", v, v - 0.1, v + 0.1, v) for v in values)
    return Evaluation(scores, 10, 0.1, failed)


class Fake:
    """Networks are JSON lists of the layers kept in FP32; `figure` says how good one is."""

    def __init__(self, count, figure, fp32=0.9) -> None:
        self.layers = [f"l{i}" for i in range(count)]
        self.order = self.layers[::-1]  # the last is the most sensitive
        self.figure, self.fp32 = figure, fp32
        self.measured = []

    def make(self, kept):
        return json.dumps(sorted(kept)).encode()

    def evaluate(self, network):
        if network == b"fp32":
            return evaluation(self.fp32)
        kept = json.loads(network)
        self.measured.append(set(kept))
        return evaluation(self.figure(kept))

    def run(self, card, **changes):
        ranking = [Sensitivity(name, 1.0) for name in self.order]
        with (
            mock.patch.object(gate, "sensitivities", lambda *arguments: ranking),
            mock.patch.object(gate, "rounded", lambda network: network),
        ):
            return pass_gate(card, self, b"fp32", self.make, self.layers, [], QUIET)


@given(st.integers(1, 200), st.data())
def test_the_most_sensitive_layers_are_raised_until_it_passes(card, count, data):
    """With as many in FP32 as it takes, and no more; or there is no engine where that is more than half."""
    needed = data.draw(st.integers(0, count))
    fake = Fake(count, lambda kept: 0.9 if len(kept) >= needed else 0.5)
    if needed > count // 2:
        with pytest.raises(EngineRejected, match=r"more than half .*no engine was written"):
            fake.run(gated(card))
    else:
        passed = fake.run(gated(card))
        assert passed.kept == frozenset(fake.order[:needed])
        assert passed.network == fake.make(passed.kept)
        assert all(row.passed for row in passed.rows)
        assert passed.tried[0].raised == ()
        assert (passed.sensitivities == ()) == (needed == 0)
    assert len(fake.measured) <= 3 + 2 * math.log2(count)
    assert all(len(kept) <= count // 2 for kept in fake.measured)


@given(st.integers(1, 60), st.lists(st.sampled_from([0.5, 0.879, 0.88, 0.9, math.nan]), min_size=61, max_size=61))
def test_a_failing_network_never_passes(card, count, figures):
    """However the figures jump about: what comes out is within the tolerance, or nothing comes out."""
    fake = Fake(count, lambda kept: figures[len(kept)])
    try:
        passed = fake.run(gated(card))
    except EngineRejected:
        assert not any(figures[len(kept)] >= 0.88 for kept in fake.measured)
    else:
        assert figures[len(passed.kept)] >= 0.9 - 0.02
        assert passed.found.scores[0].value == figures[len(passed.kept)]
        assert passed.tried[-1].passed or len(passed.tried) > 1
    raised = [len(kept) for kept in fake.measured]
    assert len(raised) == len(set(raised)), "nothing is measured twice"
    assert all(kept == set(fake.order[: len(kept)]) for kept in fake.measured)


@given(SHARE, SHARE, st.floats(0, 0.999), SHARE)
def test_a_row_passes_within_tolerance_and_not_below_the_least(fp32, found, tolerance, least):
    """Both bounds hold, a better figure passes too, a wider tolerance fails nothing, and NaN never passes."""
    verdict = passes(fp32, found, tolerance, least)
    assert verdict == (found >= fp32 - tolerance and found >= least)
    assert not verdict or passes(fp32, min(1, found + 0.1), tolerance, least)
    assert not verdict or passes(fp32, found, tolerance + 0.1, least / 2)
    assert not passes(fp32, math.nan, tolerance, least)
    assert not passes(math.nan, found, tolerance, least)


@given(st.integers(0, 10_000))
def test_counts_double_up_to_half(layers):
    """1, 2, 4, 8 ... and half; always more, never more than half."""
    counts = list(counts_to_raise(layers))
    assert counts == sorted(set(counts))
    assert all(b <= 2 * a for a, b in itertools.pairwise(counts))
    assert counts[-1:] == ([layers // 2] if layers > 1 else [])


@given(st.integers(0, 500), st.integers(1, 500), st.sets(st.integers(0, 1000)))
def test_giving_back_ends_at_a_count_that_passed(failed, more, passing):
    """Bisection returns what it saw pass, or where it began."""
    tried = {}

    def attempt(count):
        tried[count] = count in passing
        return tried[count]

    found = fewest_that_pass(failed, failed + more, attempt)
    assert found == failed + more or tried[found]
    assert failed < found <= failed + more
    assert len(tried) <= 1 + math.log2(more)


def test_every_row_must_pass(card):
    """One metric within its tolerance does not make up for another that is not."""
    wide, narrow = Tolerance("auc", 0.5), Tolerance("auc", 0.01)
    fp32, found = evaluation(0.9, 0.9), evaluation(0.8, 0.8)
    rows = gate.compare_scores((wide, narrow), fp32, found)
    assert [row.passed for row in rows] == [True, False]
    assert not gate.all_pass(rows)
    assert not gate.all_pass(()), "no metric is no proof"


def test_scores_that_are_not_the_gates_are_not_compared(card):
    """A row is never judged by the figure of another metric."""
    with pytest.raises(ValueError, match="in that order"):
        gate.compare_scores((Tolerance("dice_mean", 0.1),), evaluation(0.9), evaluation(0.9))


@pytest.mark.parametrize("figure", [0.7, math.nan])
def test_fp32_that_misses_the_least_ends_it(card, figure):
    """Nothing is quantized where FP32 itself is not good enough; the table says what was found."""
    fake = Fake(8, lambda kept: 0.99, fp32=figure)
    with pytest.raises(
        EngineRejected, match="FP32 itself misses what its card asks for; no engine was written"
    ) as told:
        fake.run(gated(card, Tolerance("auc", 0.02, at_least=0.8)))
    assert fake.measured == []
    assert "auc" in str(told.value)
    assert f"{figure:.4f}" in str(told.value)


def test_the_refusal_shows_metric_fp32_found_and_tolerance(card):
    """What a person needs to judge it stands in the message."""
    with pytest.raises(EngineRejected) as told:
        Fake(8, lambda kept: 0.61).run(gated(card))
    for word in ("tiny", "auc", "0.9000", "0.6100", "0.02", "fails", "no engine was written", "calibration"):
        assert word in str(told.value)


def test_an_answer_that_is_missing_fails(card):
    """A sample that only FP32 answers is an overflow, however good the figures of the others are."""
    fake = Fake(8, lambda kept: 0.9)
    plain = fake.evaluate
    fake.evaluate = lambda network: dataclasses.replace(
        plain(network), failed=("a",) if network == b"fp32" else ("a", "b") if len(json.loads(network)) < 2 else ("a",)
    )
    passed = fake.run(gated(card))
    assert len(passed.kept) == 2
    assert [attempt.failed for attempt in passed.tried] == [("b",), ("b",), ()]


def test_a_card_without_a_gate_says_what_to_add(card):
    """Lower precision is not built on trust."""
    with pytest.raises(ConfigurationError, match="its card has no gate; add `holdout`"):
        Fake(8, lambda kept: 0.9).run(card)


class Agreement:
    """How near a network's probabilities are to FP32's, as a figure of 0..1; stands for a task metric."""

    def __init__(self) -> None:
        self.inputs = images(4)
        self.expected = self._run(convolutional())

    def _run(self, network):
        runner = Runner(onnx.load_from_string(network), ["probability"])
        return np.concatenate([runner.run(prepared)[0] for prepared in self.inputs])

    def evaluate(self, network):
        error = np.abs(self._run(network) - self.expected).max()
        return evaluation(float(1 - min(1.0, 20 * error)) if np.isfinite(error) else math.nan)


def ruined(kept):
    """conv2 in steps that are far too coarse, the others in fine ones."""
    return quantized(convolutional(), {"conv1": 0.03, "conv2": 6.0, "conv3": 0.1, "fc": 0.02}, kept)


def must_not_pass_as_it_is(card):
    passed = pass_gate(card, Agreement(), convolutional(), ruined, LAYERS, images(2), QUIET)
    assert not passed.tried[0].passed
    assert passed.kept == {"conv2"}
    assert passed.rows[0].found >= 0.8
    return passed


def test_a_ruined_layer_goes_back_to_fp32(card):
    """On a real network the layer that ruins the figure is found by measuring, and it alone is raised."""
    passed = must_not_pass_as_it_is(gated(card, Tolerance("auc", 0.2)))
    assert passed.sensitivities[0].layer == "conv2"
    assert passed.network == ruined(frozenset({"conv2"}))


def test_a_gate_that_always_passes_is_found(card, monkeypatch):
    """Canary: with the comparison taken out, the test above fails."""
    monkeypatch.setattr(gate, "passes", lambda *figures: True)
    with pytest.raises(AssertionError):
        must_not_pass_as_it_is(gated(card, Tolerance("auc", 0.2)))


def test_fp16_is_measured_with_its_rounding(card):
    """The evaluator gets a network whose FP16 results are rounded; the engine is the FP16 network itself."""
    seen = []

    class Watched(Agreement):
        def evaluate(self, network):
            seen.append(network)
            return super().evaluate(network)

    passed = pass_gate(gated(card), Watched(), convolutional(), lambda kept: half(convolutional()), LAYERS, [], QUIET)
    assert passed.network == half(convolutional())
    assert seen == [convolutional(), gate.rounded(half(convolutional()))]
    assert seen[1] != passed.network
