"""The documents say what the code does."""

import dataclasses
import re
import typing
from pathlib import Path

from edge_runtime.cli import _parser
from edge_runtime.config import Config
from edge_runtime.metrics import METRICS
from edge_runtime.yaml_schema import _without_none

ROOT = Path(__file__).parents[3]


def keys_of(kind, prefix=""):
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner, _ = _without_none(hints[field.name])
        name = f"{prefix}{field.name}"
        if typing.get_origin(inner) is tuple:
            inner, name = typing.get_args(inner)[0], f"{name}[]"
        if dataclasses.is_dataclass(inner):
            yield from keys_of(inner, f"{name}.")
        else:
            yield name.removesuffix("[]")


def test_every_key_of_the_configuration_is_described_and_no_other():
    keys = set(keys_of(Config))
    assert len(keys) > 40
    described = set(re.findall(r"^\| `([^`]+)`", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE))
    assert described - {"receive.dicom.callers", "pipelines[].send_to"} == keys


def test_every_metric_is_described_and_no_other():
    assert len(METRICS) > 10
    text = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(edge_\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE)
    described = {name: (kind, labels) for name, kind, labels in rows}
    assert {name: m.kind for name, m in METRICS.items()} == {name: kind for name, (kind, _) in described.items()}
    for name, metric in METRICS.items():
        assert [label.strip() for label in described[name][1].split(",") if label.strip()] == list(metric.labels), name


def test_every_command_and_option_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    commands = _parser()._subparsers._group_actions[0].choices
    assert {"run", "check", "doctor", "analyse", "jobs", "engines", "password", "video"} == set(commands)
    for name, parser in commands.items():
        assert f"edge-runtime {name}" in text
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--") and option != "--help":
                    assert option in text, f"{name} {option}"
