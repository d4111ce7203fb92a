"""All scenarios by one command."""

import json
import subprocess
from pathlib import Path

from benchmarks import suite
from benchmarks.scenarios.schema import shipped


def run(tmp_path, monkeypatch, state, code):
    def fake(command, check):
        Path(command[command.index("--json") + 1]).write_text(json.dumps({"state": state}))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(suite.subprocess, "run", fake)
    return suite.main(["idle", "--results", str(tmp_path), "--reduced"])


def test_a_result_takes_the_place_of_the_former_one(tmp_path, monkeypatch):
    (tmp_path / "idle.json").write_text('"former"')
    assert run(tmp_path, monkeypatch, "complete", 0) == 0
    assert json.loads((tmp_path / "idle.json").read_text()) == {"state": "complete"}
    assert [path.name for path in tmp_path.iterdir()] == ["idle.json"]


def test_a_run_that_fails_keeps_the_former_result_and_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "idle.json").write_text('"former"')
    assert run(tmp_path, monkeypatch, "failed", 1) == 1
    assert json.loads((tmp_path / "idle.json").read_text()) == "former"
    assert "idle did not come to its end" in capsys.readouterr().out


def test_every_shipped_scenario_is_run_and_the_one_of_an_hour_at_the_end():
    order = suite.in_order(shipped())
    assert sorted(order) == shipped() and order[-1] == "soak"
