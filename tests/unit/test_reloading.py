"""The steps of a reload, with real files and trials; the crew only writes down what it is asked to do."""

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edge_runtime.config import Config
from edge_runtime.metrics import METRICS
from edge_runtime.reload import Plan
from edge_runtime.reloading import Reloader, Setting
from edge_runtime.telemetry.metrics import RoleMetrics
from edge_runtime.yaml_schema import read_schema


class Crew:
    def __init__(self) -> None:
        self.taken: list[tuple[Setting, Plan]] = []
        self.told: list[str] = []
        self.are_settled = True

    def engines_loaded(self) -> dict[str, str]:
        return {}

    def take_over(self, setting: Setting, changes: Plan) -> None:
        self.taken.append((setting, changes))

    def settled(self, _changes: Plan) -> bool:
        return self.are_settled

    def reloaded(self, status: str) -> None:
        self.told.append(status)


class Bench:
    """A reloader on a file without pipelines, whose trials need no engine."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "site.yaml"
        self.write(5)
        self.run = folder / "run"
        self.run.mkdir()
        (self.run / "config-7.yaml").write_text("of an earlier daemon")
        self.crew = Crew()
        self.metrics = RoleMetrics(METRICS, {})
        config = read_schema(Config, self.file)
        self.reloader = Reloader(config, (str(self.file),), self.run, self.crew, self.metrics)

    def write(self, workers: int) -> None:
        document = {"spool": {"path": "/x"}, "pipelines": [], "decode": {"workers": workers}}
        self.file.write_text(yaml.safe_dump(document))

    def turn_until(self, reloads: int) -> None:
        give_up_at = time.monotonic() + 60
        while len(self.crew.told) < reloads:
            assert time.monotonic() < give_up_at
            self.reloader.turn()
            time.sleep(0.01)

    def turn_until_taken(self, times: int) -> None:
        give_up_at = time.monotonic() + 60
        while len(self.crew.taken) < times:
            assert time.monotonic() < give_up_at
            self.reloader.turn()
            time.sleep(0.01)

    def outcomes(self) -> dict[str, float]:
        samples = self.metrics.snapshot()
        return {labels[0]: value for name, labels, value in samples if name == "edge_configuration_reloads_total"}

    @property
    def workers(self) -> int:
        return self.reloader.setting.config.decode.workers


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.reloader.end()


def test_requests_that_come_during_a_reload_become_one(bench: Bench) -> None:
    bench.write(6)
    for _ in range(3):
        bench.reloader.ask()
    bench.reloader.turn()
    bench.write(7)
    for _ in range(10):
        bench.reloader.ask()
    bench.turn_until(2)
    for _ in range(20):
        bench.reloader.turn()
    assert [setting.config.decode.workers for setting, _ in bench.crew.taken] == [6, 7]
    assert bench.outcomes() == {"applied": 2}
    assert bench.workers == 7


def test_nothing_is_said_to_be_over_before_the_roles_have_settled(bench: Bench) -> None:
    bench.crew.are_settled = False
    bench.write(6)
    bench.reloader.ask()
    bench.turn_until_taken(1)
    for _ in range(20):
        bench.reloader.turn()
    assert bench.crew.told == []
    bench.crew.are_settled = True
    bench.turn_until(1)
    assert bench.crew.told == ["ready"]


@pytest.mark.parametrize(("edits", "outcome"), [(1, "applied"), (1000, "refused")])
def test_a_file_that_is_changed_while_it_is_read_is_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, edits: int, outcome: str
) -> None:
    copy, numbers = shutil.copyfile, itertools.count(10)

    def copy_after_an_edit(source: str, target: Path) -> None:
        if (number := next(numbers)) < 10 + edits:
            bench.write(number)
        copy(source, target)

    monkeypatch.setattr("edge_runtime.reloading.shutil.copyfile", copy_after_an_edit)
    bench.write(6)
    bench.reloader.ask()
    bench.turn_until(1)
    assert bench.outcomes() == {outcome: 1}
    assert bench.workers == (10 if outcome == "applied" else 5)
    assert len(list(bench.run.glob("config-*.yaml"))) == (2 if outcome == "applied" else 1), "the one before, and this"


def test_a_wrong_file_changes_nothing_and_is_not_tried(bench: Bench) -> None:
    before = bench.reloader.setting
    for text in ("decode: [", "spool: {path: /x}\npipelines: []\ndecode: {worker: 3}\n"):
        bench.file.write_text(text)
        bench.reloader.ask()
        bench.reloader.turn()
    bench.file.unlink()
    bench.reloader.ask()
    bench.reloader.turn()
    assert bench.outcomes() == {"refused": 3}
    assert bench.reloader.setting == before
    assert bench.crew.taken == []
    assert bench.crew.told == ["ready; the last reload was refused"] * 3
    assert [str(file) for file in bench.run.iterdir()] == [before.arguments[0]]


def test_a_role_that_does_not_start_takes_all_back_once(bench: Bench) -> None:
    before = bench.reloader.setting
    bench.crew.are_settled = False
    bench.write(6)
    assert not bench.reloader.refused_by("infer", "why"), "nothing is under way"
    bench.reloader.ask()
    bench.turn_until_taken(1)
    assert not bench.reloader.refused_by("deliver", "why"), "it was given nothing new"
    assert bench.reloader.refused_by("infer", "why")
    assert not bench.reloader.refused_by("infer", "why"), "there is nothing further back"
    (_, there), (setting, back) = bench.crew.taken
    assert (setting, back) == (before, there)
    bench.crew.are_settled = True
    bench.turn_until(1)
    assert bench.outcomes() == {"rolled_back": 1}
    assert bench.workers == 5
    assert Path(bench.reloader.setting.arguments[0]).exists()


def test_copies_that_no_role_can_be_about_to_read_are_deleted(bench: Bench) -> None:
    for workers in range(6, 10):
        bench.write(workers)
        bench.reloader.ask()
        bench.turn_until(workers - 5)
    names = {file.name for file in bench.run.iterdir()}
    assert len(names) == 2 and Path(bench.reloader.setting.arguments[0]).name in names
