"""`edge-bench run`: what becomes of a result when a scenario ends in a way that nobody foresaw."""

import json
import os
import signal

import yaml

from benchmarks import cli
from benchmarks.scenarios.schema import shipped


class Broken:
    """A scenario that measures something and then runs into an error of the suite."""

    @staticmethod
    def run(scenario, record):
        record.add("speed", 1.0, "1/s", higher_is_better=True)
        raise AttributeError("'NoneType' object has no attribute 'x'")


def test_what_was_measured_is_kept_whatever_is_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "_module", lambda scenario: Broken)
    scenario = tmp_path / "mine.yaml"
    scenario.write_text(yaml.safe_dump({"kind": "idle", "work": str(tmp_path)}))
    assert "idle" in shipped()
    assert cli.main(["run", str(scenario), "--json", str(tmp_path / "out.json")]) == 1
    document = json.loads((tmp_path / "out.json").read_text())
    assert (document["state"], document["figures"]["speed"]["samples"]) == ("failed", [1.0])
    assert any("an error of the suite itself: AttributeError" in one for one in document["problems"])


class Interrupted:
    """A scenario whose user has no patience: the second signal comes while the result is written."""

    @staticmethod
    def run(scenario, record):
        record.add("speed", 1.0, "1/s", higher_is_better=True)
        raise KeyboardInterrupt


def table_with_signals(document):
    for one in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), one)
    return ""


def test_a_second_signal_does_not_lose_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "_module", lambda scenario: Interrupted)
    monkeypatch.setattr(cli, "table", table_with_signals)
    scenario = tmp_path / "mine.yaml"
    scenario.write_text(yaml.safe_dump({"kind": "idle", "work": str(tmp_path)}))
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert cli.main(["run", str(scenario), "--json", str(tmp_path / "out.json")]) == 1
    assert json.loads((tmp_path / "out.json").read_text())["state"] == "interrupted"
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_place_where_nothing_can_be_written_is_told_before_the_run(tmp_path, capsys):
    assert cli.main(["run", "idle", "--json", str(tmp_path)]) == 2
    assert "no file can be written there" in capsys.readouterr().err
