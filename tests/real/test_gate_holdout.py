"""The hold-out sets of the reference cards measure what the cards claim, by the arithmetic of the daemon."""

from __future__ import annotations

import dataclasses
import functools

import pytest

from converters.measure import metrics
from converters.measure.evaluate import Evaluator
from converters.progress import Progress
from converters.reference import sets
from converters.reference.cases import Engine
from converters.reference.samples import CLASSIFIER, DETECTOR, ENGINES, SEGMENTER
from converters.samples import open_samples
from edge_runtime.engines.card import read_card

pytestmark = pytest.mark.real

SAMPLES = 20


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The card of an engine and what its network reaches, measured once."""

    @functools.cache
    def of(name):
        card, _ = read_card(ENGINES / name)
        source = dataclasses.replace(card.holdout, count=SAMPLES)
        holdout = open_samples(card, source, ENGINES / name, labelled=True)
        network = (ENGINES / name / card.checkpoint.path).read_bytes()
        evaluator = Evaluator(card, holdout, tmp_path_factory.mktemp(name), Progress(lambda text: None))
        return card, evaluator.evaluate(network)

    return of


@pytest.mark.parametrize("name", [CLASSIFIER, DETECTOR, SEGMENTER])
def test_the_networks_reach_the_figures_of_their_cards_on_the_holdout(measured, name):
    card, found = measured(name)
    assert found.samples == SAMPLES and not found.failed
    score, claimed = found.scores[0], next(m for m in card.evaluation.metrics if m.name == card.gate[0].metric)
    assert score.metric == claimed.name
    assert score.high >= claimed.value  # fewer samples: their own interval must hold what is claimed
    assert score.low > 0.2


def test_the_auc_is_that_of_the_daemons_probabilities(measured):
    _, found = measured(CLASSIFIER)
    engine = Engine(CLASSIFIER, threads=2)
    rows = [(engine.answers(sample.image, None, (0.5,))[0].probability, bool(sample.truth.positive))
            for sample in sets.holdout(SAMPLES)]  # fmt: skip
    engine.close()
    assert found.scores[0].value == metrics.auc(*zip(*rows, strict=True))
