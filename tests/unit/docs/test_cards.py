"""The page about cards names every key of a card."""

import dataclasses
import re
from pathlib import Path

from edge_runtime.engines import card, recipe

PAGE = Path(__file__).parents[3] / "engines" / "README.md"
PARTS = [card.Card, card.Checkpoint, card.Architecture, card.Input, card.Label, card.Decode, card.Expect,
         card.Evaluation, card.Metric, card.Samples, card.Calibration, card.Tolerance, card.Concept, recipe.Step,
         recipe.Resize, recipe.Resample, recipe.Tile, recipe.Window, recipe.Standardize, recipe.Scale,
         recipe.Normalize]  # fmt: skip


def named():
    return set(re.findall(r"`([a-z_0-9]+)[`:]", PAGE.read_text())) | set(re.findall(r"`(\w+): ", PAGE.read_text()))


def test_every_key_of_a_card_is_on_the_page():
    keys = {field.name for part in PARTS for field in dataclasses.fields(part)}
    assert len(keys) > 50
    assert keys - named() == set()


def test_every_choice_of_a_key_is_on_the_page():
    text = PAGE.read_text()
    choices = {c for part in PARTS for f in dataclasses.fields(part) for c in f.metadata.get("choices", ())}
    assert len(choices) > 15
    unnamed = {choice for choice in choices if not re.search(rf"\b{re.escape(choice)}\b", text)}
    assert unnamed == {"float32"}  # the only element type: no choice yet
