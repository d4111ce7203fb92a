"""The page about converters leads where the code goes."""

import re
from pathlib import Path

import pytest

from converters.cli import _parser
from converters.made import PRECISIONS
from converters.samples.truth import read_truth
from converters.targets import TARGETS
from edge_runtime.config import Config
from edge_runtime.engines.card import CHECKPOINT_FORMATS, read_card
from edge_runtime.yaml_schema import read_schema

PAGE = (Path(__file__).parents[3] / "converters" / "README.md").read_text()
COMMANDS = _parser()._subparsers._group_actions[0].choices


def blocks():
    return re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_card_of_the_page_is_a_card(tmp_path):
    (tmp_path / "model.yaml").write_text(blocks()[0])
    card, _ = read_card(tmp_path)
    assert card.gate and card.calibration and card.checkpoint.architecture


def test_the_truth_of_the_page_is_one(tmp_path):
    (tmp_path / "truth.yaml").write_text(blocks()[1])
    for name in ("case-1.png", "case-2.dcm"):
        (tmp_path / name).touch()
    assert [entry.positive for entry in read_truth(tmp_path)] == [("effusion",), ()]


def test_the_configuration_of_the_page_is_one(tmp_path):
    (tmp_path / "site.yaml").write_text(blocks()[2])
    config = read_schema(Config, tmp_path / "site.yaml")
    assert config.pipelines[0].stages[0].precision == "int8" and len(config.engines.trusted_keys) == 1


def test_every_command_and_option_is_on_the_page_and_no_other():
    assert len(COMMANDS) > 7
    assert set(re.findall(r"edge-convert ([a-z]+)", PAGE)) == set(COMMANDS)
    options = {o for command in COMMANDS.values() for a in command._actions for o in a.option_strings if o[:2] == "--"}
    assert options - {"--help", "--json"} <= set(re.findall(r"--[a-z-]+", PAGE))


@pytest.mark.parametrize("name", [*TARGETS, *PRECISIONS, *CHECKPOINT_FORMATS])
def test_every_target_precision_and_format_is_on_the_page(name):
    assert re.search(rf"[`| ]{re.escape(name)}[`| ]", PAGE)


@pytest.mark.parametrize("place", re.findall(r"`((?:[a-z_]+/|[a-z0-9_]+\.py))`", PAGE))
def test_every_place_on_the_page_exists(place):
    assert (Path(__file__).parents[3] / "converters" / place).exists()
