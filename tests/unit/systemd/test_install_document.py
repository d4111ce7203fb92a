"""docs/install.md names what exists."""

import re
from pathlib import Path

import pytest

from converters.cli import _parser as convert_parser
from edge_runtime.cli import _parser as runtime_parser

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/install.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
SCRIPT = (ROOT / "systemd/install.sh").read_text()
COMMANDS = {
    "edge-runtime": set(runtime_parser()._subparsers._group_actions[0].choices),
    "edge-convert": set(convert_parser()._subparsers._group_actions[0].choices),
    "make": set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()),
}


def code_of(text):
    """The indented blocks and what is between backticks."""
    found = re.findall(r"^ {4}(.*)$|`([^`]+)`", text, re.MULTILINE)
    return "\n".join(block or inline for block, inline in found)


def unknown_commands(text):
    """`COMMAND WORD` where the command has no such word."""
    found = re.findall(r"(?<![\w/.-])(edge-runtime|edge-convert|make) ([a-z][\w-]*)", code_of(text))
    return {f"{command} {word}" for command, word in found if word not in COMMANDS[command]}


def test_every_command_in_the_document_exists():
    assert {"check", "jobs", "engines"} <= COMMANDS["edge-runtime"]
    assert unknown_commands(TEXT) == set()


@pytest.mark.parametrize("line", ["    # make instal", "`edge-runtime chekc CONFIG`", "    edge-convert stamp x"])
def test_a_command_that_does_not_exist_is_found(line):
    assert len(unknown_commands(f"{TEXT}\n{line}\n")) == 1


def test_every_variable_of_the_installation_is_described_and_no_other():
    described = set(re.findall(r"^\| `([A-Z_]+)` \|", TEXT, re.MULTILINE))
    passed = set(re.findall(r"([A-Z_]+)='\$\(", MAKEFILE))
    assert described == passed and len(passed) > 5
    assert all(f"${name}" in SCRIPT or f"${{{name}" in SCRIPT for name in passed)


def test_every_drop_in_is_described_and_no_other():
    described = set(re.findall(r"^\| `([\w-]+\.conf)` \|", TEXT, re.MULTILINE))
    assert described == {file.name for file in (ROOT / "systemd/drop-ins").iterdir()}
    assert all(f"drop-ins/{name}" in SCRIPT for name in described)


def test_the_numbers_are_those_of_the_unit():
    unit = (ROOT / "systemd/edge-runtime.service").read_text()
    for key, said in (
        ("RestartSec=10", "starts it again after 10 s"),
        ("StartLimitBurst=25", "after 25 starts in 10 minutes"),
        ("StartLimitIntervalSec=600", "in 10 minutes"),
        ("WatchdogSec=30", "stands still for 30 s"),
    ):
        assert key in unit and said in TEXT


def test_every_build_argument_in_the_document_is_one_of_the_dockerfile():
    dockerfile = (ROOT / "Dockerfile.jetson").read_text()
    used = set(re.findall(r"--build-arg (\w+)=", TEXT + dockerfile))
    assert used == set(re.findall(r"^ARG (\w+)=", dockerfile, re.MULTILINE))


def test_every_document_that_it_links_to_exists():
    links = re.findall(r"\]\(([\w./-]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
