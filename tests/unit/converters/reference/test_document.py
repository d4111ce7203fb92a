"""Figures, cards and README say the same, and the committed networks are as small as they are said to be."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from converters.reference import document
from converters.reference.samples import CLASSIFIER, DETECTOR, ENGINES, SEGMENTER, TEST, TRAINING, VALIDATION, card_of

NAMES = (CLASSIFIER, DETECTOR, SEGMENTER)
FOUND = json.loads((document.HERE / document.RESULTS_FILE).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_card_states_the_figures_that_were_measured(name):
    evaluation = card_of(name).evaluation
    assert evaluation is not None
    assert [dataclasses.asdict(metric) for metric in evaluation.metrics] == FOUND["engines"][name]
    assert (evaluation.data, evaluation.command) == (FOUND["data"], document.COMMAND)


@pytest.mark.parametrize(("name", "key"), [(CLASSIFIER, "probability"), (DETECTOR, "score"), (SEGMENTER, "outline")])
def test_the_card_states_the_threshold_that_was_chosen(name, key):
    (label,) = card_of(name).labels
    assert label.threshold == FOUND["thresholds"][key]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_that_it_is_of_phantoms_and_not_for_clinical_use(name):
    text = card_of(name).intended_use
    assert "Not for clinical use" in text and "phantoms" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_network_is_the_one_of_the_card_and_small(name):
    card = card_of(name)
    data = (ENGINES / name / card.checkpoint.path).read_bytes()
    assert hashlib.sha256(data).hexdigest() == card.checkpoint.sha256
    assert len(data) < 1_300_000


def test_the_readme_shows_the_figures_that_were_measured():
    assert (document.HERE / document.README_FILE).read_text().endswith(document.markdown(FOUND))


def test_no_phantom_serves_two_purposes():
    splits = (TRAINING, VALIDATION, TEST)
    assert len(set().union(*(split.seeds() for split in splits))) == sum(split.count for split in splits)
