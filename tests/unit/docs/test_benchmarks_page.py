"""The page of the benchmarks says what the command does."""

import dataclasses
import re
from pathlib import Path

import pytest

from benchmarks.cli import _parser
from benchmarks.scenarios.schema import KINDS, SHIPPED, shipped

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "benchmarks/README.md").read_text()
COMMANDS = _parser()._subparsers._group_actions[0].choices


def test_every_command_and_option_of_the_suite_is_described():
    assert {"run", "compare", "report", "site"} == set(COMMANDS)
    text = PAGE + (ROOT / "README.md").read_text() + (ROOT / "docs/acceptance.md").read_text()
    for name, parser in COMMANDS.items():
        assert f"edge-bench {name}" in PAGE and f"edge-bench {name}" in (ROOT / "README.md").read_text()
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--") and option != "--help":
                    assert option in text, f"{name} {option}"


def test_every_shipped_scenario_has_a_row_and_no_other():
    table = PAGE.partition("| scenario |")[2].partition("\n\n")[0]
    rows = {name for row in table.splitlines() for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert rows == set(shipped())


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_scenario_stands_in_its_file_or_on_the_page(kind):
    text = PAGE + "".join(path.read_text() for path in SHIPPED.glob("*.yaml") if f"kind: {kind}\n" in path.read_text())
    keys = [field.name for field in dataclasses.fields(KINDS[kind])]
    assert len(keys) >= 4
    missing = [key for key in keys if f"{key}:" not in text and f"`{key}`" not in text]
    assert not missing
