"""Figures, cards and README say the same, and the committed networks are as small as they are said to be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import pytest

from converters.reference import samples as ct
from converters.reference import sets as ct_sets
from converters.reference.endoscopy import document, sets
from converters.reference.endoscopy.samples import NAMES, TEST, TRAINING, VALIDATION, card_of
from converters.reference.samples import ENGINES
from edge_runtime.engines.card import read_card

FOUND = json.loads((document.HERE / document.RESULTS_FILE).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_card_states_the_figures_that_were_measured(name):
    evaluation = card_of(name).evaluation
    assert evaluation is not None
    assert [dataclasses.asdict(metric) for metric in evaluation.metrics] == FOUND["engines"][name]
    assert (evaluation.data, evaluation.command) == (FOUND["data"], document.COMMAND)


@pytest.mark.parametrize(("name", "key"), document.THRESHOLDS.items())
def test_the_card_states_the_threshold_that_was_chosen(name, key):
    (label,) = card_of(name).labels
    assert label.threshold == FOUND["thresholds"][key]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_that_it_is_of_phantoms_and_not_for_clinical_use(name):
    text = card_of(name).intended_use
    assert "Not for clinical use" in text and "computed phantoms" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_network_is_the_one_of_the_card_and_small(name):
    card = card_of(name)
    data = (ENGINES / name / card.checkpoint.path).read_bytes()
    assert hashlib.sha256(data).hexdigest() == card.checkpoint.sha256
    assert len(data) < 1_000_000


def test_the_readme_shows_the_figures_that_were_measured():
    assert (document.HERE / document.README_FILE).read_text().endswith(document.markdown(FOUND))


def test_no_phantom_serves_two_purposes():
    splits = [split.seeds() for split in (TRAINING, VALIDATION, TEST, ct.TRAINING, ct.VALIDATION, ct.TEST)]
    splits += [range(first, first + 1000) for module in (sets, ct_sets)
               for first in (module.CALIBRATION_SEED, module.HOLDOUT_SEED)]  # fmt: skip
    assert len(set().union(*splits)) == sum(len(seeds) for seeds in splits)


def test_rewriting_the_figures_of_a_card_keeps_its_sets_and_its_gate(tmp_path, monkeypatch):
    before = {name: card_of(name) for name in NAMES}
    for name, card in before.items():
        assert card.calibration and card.holdout and card.gate
        shutil.copytree(ENGINES / name, tmp_path / name, ignore=shutil.ignore_patterns("weights", "*-*"))
    monkeypatch.setattr(document, "ENGINES", tmp_path)
    monkeypatch.setattr(document, "HERE", tmp_path)
    (tmp_path / document.README_FILE).write_text("text")
    document.write(FOUND)
    assert {name: read_card(tmp_path / name)[0] for name in NAMES} == before
