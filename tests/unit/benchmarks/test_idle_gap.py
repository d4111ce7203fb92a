"""The scenario about pauses: what a run after a pause is, and what its result holds."""

import dataclasses
import json
from contextlib import ExitStack

import pytest
import yaml
from support.models import build_engine, card, segmenter

from benchmarks.cli import main
from benchmarks.live.bare import BareRunner
from benchmarks.measured import Accelerator
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import idle_gap
from benchmarks.scenarios.idle_gap import HOT_RUNS, add_ratios, after, after_pause, every
from benchmarks.scenarios.idle_gap_schema import IdleGap
from benchmarks.scenarios.schema import read_scenario
from benchmarks.statistics import median
from edge_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edge_runtime.device.host import HostDevice

SHAPE = (1, 1, 16, 16)


class Sleepy:
    """Takes a millisecond, and 17 more in the first run after a sleep."""

    def __init__(self):
        self.now, self.slept, self.done = 0.0, 0.0, []

    def run(self):
        self.done.append("slow" if self.slept else "fast")
        self.now += 0.018 if self.slept else 0.001
        self.slept = 0.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.done.append("pause")
        self.slept = seconds
        self.now += seconds

    def after(self, pause):
        self.done = []
        return after_pause(self.run, pause, self.clock, self.sleep)


def test_a_run_after_a_pause_is_one_run_that_follows_busy_ones_and_nothing_else():
    system = Sleepy()
    assert system.after(1.0) == pytest.approx(0.018)
    assert system.done == ["fast"] * HOT_RUNS + ["pause", "slow"]
    assert system.after(0.0) == pytest.approx(0.001)
    assert system.done == ["fast"] * (HOT_RUNS + 1)


def test_the_canary_a_system_that_is_slow_after_pauses_is_told_from_one_that_is_not(monkeypatch):
    sleepy, record = Sleepy(), Record({}, reduced=False)
    monkeypatch.setattr(idle_gap, "after_pause", lambda run, pause: run(pause))
    systems = {"edge": sleepy.after, "bare": lambda _: 0.001}
    for _ in range(5):
        for pause in (0.0, 5.0):
            idle_gap._after(pause, systems, 3, record, Accelerator.CPU)
        add_ratios(record, [after(0.0), after(5.0)])
    found = {name: figure.samples for name, figure in record.figures.items()}
    for name in ("after 5 s : no pause/edge", "after 5 s/edge : bare"):
        assert found[name] == pytest.approx([18] * 5)
    for name in ("after 5 s : no pause/bare", "no pause/edge : bare"):
        assert found[name] == pytest.approx([1] * 5)


def test_a_system_alone_has_no_ratio_to_a_peer_that_was_not_measured():
    record = Record({}, reduced=False)
    for name in (after(0.0), after(1.0)):
        record.add(f"{name}/edge", 1.0, "ms", higher_is_better=False)
    add_ratios(record, [after(0.0), after(1.0)])
    assert set(record.figures) == {"no pause/edge", "after 1 s/edge", "after 1 s : no pause/edge"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build_engine(tmp_path_factory.mktemp("engines"), card("segmentation", SHAPE), segmenter(SHAPE))


def test_a_result_has_raw_latencies_of_each_pause_and_system_and_their_ratios(tmp_path, tiny):
    keys = {"work": str(tmp_path / "work"), "engine": str(tiny), "frames_every_seconds": []}
    scenario, out = tmp_path / "mine.yaml", tmp_path / "out.json"
    pauses = {"pauses_seconds": [0, 0.001, 0.01]}
    scenario.write_text(yaml.safe_dump({"kind": "idle-gap", "rounds": 2, "runs": 3, **pauses, **keys}))
    assert main(["run", str(scenario), "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    names = [
        f"{case}/{system}" for case in ("no pause", "after 0.001 s", "after 0.01 s") for system in ("edge", "bare")
    ]
    assert set(document["latencies"]) == set(names)
    figures = document["figures"]
    for name in names:
        raw = document["latencies"][name]
        assert (raw["mode"], raw["unanswered"], raw["device"]) == ("single-stream", 0, "cpu")
        assert [len(one) for one in raw["rounds"]] == [3, 3]
        assert raw["warm_up"] == 2 * 3 * HOT_RUNS
        assert figures[name]["samples"] == pytest.approx([median(one) for one in raw["rounds"]], abs=1e-4)
    for case in ("after 0.001 s", "after 0.01 s"):
        top, bottom = figures[f"{case}/edge"]["samples"], figures["no pause/edge"]["samples"]
        ratios = [a / b for a, b in zip(top, bottom, strict=True)]
        assert figures[f"{case} : no pause/edge"]["samples"] == pytest.approx(ratios)
    assert not any("frame" in name for name in figures)
    assert document["provenance"]["engines"]["tiny"]["sha256"] and document["provenance"]["threads"] >= 1
    assert document["checks"]["largest difference of the outputs, edge and bare"] == 0


def test_the_two_systems_must_give_the_same_answer(tmp_path, tiny, monkeypatch):
    honest = BareRunner.run
    monkeypatch.setattr(BareRunner, "run", lambda self, prepared: honest(self, prepared) + 1)
    scenario = IdleGap("idle-gap", work=str(tmp_path), engine=str(tiny), frames_every_seconds=())
    with pytest.raises(BenchFailed, match="engine tiny: bare ONNX Runtime's output differs from the runtime's by 1"):
        idle_gap.run(scenario, Record({}, reduced=True))


def test_an_engine_that_onnx_runtime_does_not_take_is_measured_alone_and_the_peer_is_named(tiny, monkeypatch):
    engine = idle_gap._verified(tiny)
    target = dataclasses.replace(engine.passport.target, flavour="tensorrt")
    engine = dataclasses.replace(engine, passport=dataclasses.replace(engine.passport, target=target))
    asked = []
    monkeypatch.setattr(idle_gap, "load_device", lambda engines: asked.append(engines.backend) or HostDevice(1))
    monkeypatch.setattr(idle_gap, "load_backend", lambda *_: OnnxRuntimeBackend())
    monkeypatch.setattr("edge_runtime.engines.runner.check_target", lambda *_: None)
    record = Record({}, reduced=True)
    with ExitStack() as stack:
        systems, device = idle_gap._systems(engine, 1, record, stack)
    assert (set(systems), device, set(asked)) == ({"edge"}, Accelerator.GPU, {"tensorrt"})
    (problem,) = record.problems
    assert "peer bare was not measured" in problem and "tensorrt" in problem


class Plays:
    """Both sides of live frames; `lost` numbers have no result."""

    def __init__(self, lost=()):
        self.frames, self.bare, self.lost, self.order = None, self, set(lost), []

    def play(self, *asked):
        if len(asked) == 1:  # the bare peer's request
            self.order.append("bare")
            numbers = range(asked[0].count)
        else:
            self.order.append("edge")
            numbers = range(asked[2])
        told = [Frame(number, 0.5 if number == 0 else 0.01) for number in numbers if number not in self.lost]
        return Told(told, [one.number for one in told], [one.latency for one in told])

    def same_answers(self, played):
        assert played.results


Frame = dataclasses.make_dataclass("Frame", ["number", "latency"])
Told = dataclasses.make_dataclass("Told", ["results", "numbers", "latencies"])


def test_frames_at_a_gap_are_counted_from_the_second_and_the_sides_take_turns():
    record, plays = Record({}, reduced=True), Plays()
    for first in (True, False):
        idle_gap._every(0.1, plays, plays, 4, record, edge_first=first)
    assert plays.order == ["edge", "bare", "bare", "edge"]
    for system in ("edge", "bare"):
        kept = record.document("complete", {})["latencies"][f"a frame every 0.1 s/{system}"]
        assert (kept["mode"], kept["warm_up"], kept["rounds"]) == ("fixed-rate", 2, [[10.0] * 4] * 2)
    assert record.problems == []


def test_frames_without_a_result_are_counted_and_told_and_none_at_all_is_a_failure():
    record = Record({}, reduced=True)
    plays = Plays(lost=[2])
    idle_gap._every(0.1, plays, plays, 4, record, edge_first=True)
    kept = record.document("complete", {})["latencies"]["a frame every 0.1 s/edge"]
    assert (kept["count"], kept["unanswered"]) == (3, 1)
    assert any("a frame every 0.1 s/edge: frames without a result" in problem for problem in record.problems)
    plays = Plays(lost=range(1, 5))
    with pytest.raises(BenchFailed, match="edge gave no result of 4 frames"):
        idle_gap._every(0.1, plays, plays, 4, record, edge_first=True)


def test_the_pauses_are_those_of_the_task_and_the_reduced_run_is_of_seconds():
    _, scenario = read_scenario("idle-gap")
    assert scenario.pauses_seconds == (0, 0.01, 0.1, 1, 5)
    small = scenario.reduced()
    assert sum(small.pauses_seconds) + sum(small.frames_every_seconds) < 1
    assert (after(0), after(0.01), every(5.0)) == ("no pause", "after 0.01 s", "a frame every 5 s")


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ("pauses_seconds: must begin with 0", {"pauses_seconds": (0.1, 1.0)}),
        ("pauses_seconds: must begin with 0", {"pauses_seconds": (0.0,)}),
        ("pauses_seconds: must begin with 0", {"pauses_seconds": ()}),
        ("pauses_seconds: must rise", {"pauses_seconds": (0.0, 1.0, 0.1)}),
        ("pauses_seconds: must rise", {"pauses_seconds": (0.0, 1.0, 1.0)}),
        ("frames_every_seconds: must rise", {"frames_every_seconds": (1.0, 0.1)}),
        ("frames_every_seconds: must be positive", {"frames_every_seconds": (0.0, 0.1)}),
        ("runs: must be at least 1", {"runs": 0}),
        ("rounds: must be at least 1", {"rounds": 0}),
        ("threads: must not be negative", {"threads": -1}),
    ],
)
def test_a_scenario_that_does_not_fit_names_the_key(said, keys):
    with pytest.raises(ValueError, match=said):
        IdleGap("idle-gap", **keys)
