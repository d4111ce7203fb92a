"""Curves of cost over size: the order of the measurements, what a point is, and what is called growth."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cli import main
from benchmarks.record import BenchFailed, Record
from benchmarks.scenarios import scaling
from benchmarks.scenarios.scaling_curves import add_cost, processor_seconds, visited
from benchmarks.scenarios.scaling_schema import PARTS, STREAMS, Scaling
from benchmarks.scenarios.scaling_streams import Streamed, add_streamed

SIZES = (1, 2, 4, 8, 16)
sizes = st.lists(st.integers(1, 2000), min_size=1, max_size=8, unique=True)


@given(sizes, st.integers(0, 100))
def test_every_round_visits_every_size_once(some, number):
    assert sorted(visited(some, number)) == sorted(some)


@given(sizes.filter(lambda some: len(some) > 1), st.integers(0, 100))
def test_no_round_has_the_order_of_the_one_before(some, number):
    assert len(some) == 2 or visited(some, number) != visited(some, number + 1)
    assert {tuple(visited(some, k)) for k in range(len(some))} >= {tuple(some)}
    assert {visited(some, k)[0] for k in range(len(some))} == set(some), "each size comes first once"


def measured(total_of, rounds=5):
    """The curve of a made-up system whose whole cost at a size is `total_of(size)`, with some noise."""
    record = Record({}, reduced=False)
    for number in range(rounds):
        for size in visited(SIZES, number):
            add_cost(record, "made up", "streams", size, total_of(size) * (1 + 0.002 * number), size, "ms/frame")
    return record.document("complete", {})


def test_a_quadratic_whole_is_called_superlinear_and_is_a_problem():
    document = measured(lambda size: 0.5 * size**2)
    curve = document["curves"]["made up"]
    assert curve["growth"] == "superlinear"
    assert curve["exponent"] == pytest.approx(1, abs=0.05)
    assert any("made up grows superlinearly" in problem for problem in document["problems"])


@pytest.mark.parametrize("total_of", [lambda size: 3 * size, lambda size: 40 + 3 * size, lambda size: 3 * size**0.5])
def test_a_whole_that_grows_as_its_size_or_slower_is_not_superlinear(total_of):
    document = measured(total_of)
    assert document["curves"]["made up"]["growth"] in ("linear", "sublinear")
    assert not any("superlinear" in problem for problem in document["problems"])


def test_too_few_rounds_are_said_to_be_too_few():
    assert measured(lambda size: size**2, rounds=2)["curves"]["made up"]["growth"] == "too few points"


@given(st.integers(1, 2000), st.floats(1e-3, 1e6), st.integers(1, 10_000))
def test_the_cost_of_a_unit_times_the_units_is_the_total(size, total, units):
    record = Record({}, reduced=False)
    add_cost(record, "c", "slices", size, total, units, "ms/slice")
    (cost,) = record.document("complete", {})["curves"]["c"]["points"][0]["samples"]
    assert cost * units == pytest.approx(total)
    assert record.details["totals"]["c"][str(size)] == [{"total": total, "units": units}]


def test_processor_time_is_that_of_all_threads_of_the_process():
    before, known = processor_seconds(os.getpid()), time.process_time()
    while time.process_time() < known + 0.02:
        pass
    assert processor_seconds(os.getpid()) - before == pytest.approx(time.process_time() - known, abs=0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parts: []\n", "name at least one"),
        ("parts: [planets]\n", "planets"),
        ("streams: []\n", "streams: name one size or more"),
        ("engines: [0, 1]\n", "engines: name one size or more"),
        ("associations: [2, 2]\n", "each once"),
        ("slices: [1]\n", "slices: must be at least 3"),
        ("instances: 16\n", "as many as associations"),
        ("frames_per_second: 0\n", "frames_per_second: must be positive"),
        ("stream: [1]\n", "did you mean 'streams'"),
    ],
)
def test_a_scenario_that_does_not_fit_is_one_usage_error(text, said, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(f"kind: scaling\n{text}")
    assert main(["run", str(tmp_path / "mine.yaml"), "--json", str(tmp_path / "out.json")]) == 2
    assert said in capsys.readouterr().err


class Counted:
    """A part that notes the order in which it was measured."""

    def __init__(self, name, said):
        self.name, self.said = name, said

    def round(self, sizes):
        self.said.append((self.name, list(sizes)))


def parts_of(monkeypatch, **makers):
    for name, cls in (("streams", "StreamsPart"), ("slices", "SlicesPart"), ("associations", "AssociationsPart"),
                      ("engines", "EnginesPart")):  # fmt: skip
        monkeypatch.setattr(scaling, cls, makers[name])


def test_parts_and_sizes_take_turns(tmp_path, monkeypatch):
    said = []
    parts_of(monkeypatch, **{name: lambda *_, name=name: Counted(name, said) for name in PARTS})
    scenario = Scaling("scaling", work=str(tmp_path), rounds=2, streams=(1, 2, 3))
    scaling.run(scenario, Record({}, reduced=True))
    assert [name for name, _ in said] == [*PARTS, *reversed(PARTS)]
    assert [sizes for name, sizes in said if name == STREAMS] == [[1, 2, 3], [2, 3, 1]]


def test_a_part_that_cannot_be_measured_is_a_problem_and_the_rest_runs(tmp_path, monkeypatch):
    def missing(*_):
        raise BenchFailed("DCMTK is missing; install it")

    said = []
    made = {name: lambda *_, name=name: Counted(name, said) for name in PARTS}
    parts_of(monkeypatch, **{**made, "slices": missing, "associations": missing})
    record = Record({}, reduced=True)
    scaling.run(Scaling("scaling", work=str(tmp_path), rounds=1), record)
    assert [name for name, _ in said] == ["streams", "engines"]
    assert {"slices was not measured: DCMTK is missing; install it",
            "associations was not measured: DCMTK is missing; install it"} <= set(record.problems)  # fmt: skip
    with pytest.raises(BenchFailed, match="no part"):
        scaling.run(Scaling("scaling", work=str(tmp_path), rounds=1, parts=("slices",)), Record({}, reduced=True))


def test_a_rate_that_the_machine_does_not_hold_is_a_problem():
    record = Record({}, reduced=True)
    add_streamed(record, 2, Streamed(100, (0.01,) * 99, 0.1))
    assert not record.problems
    add_streamed(record, 2, Streamed(100, (0.01,) * 60, 0.1))
    assert "lower frames_per_second" in record.problems[0]
    with pytest.raises(BenchFailed, match="no result"):
        add_streamed(record, 2, Streamed(100, (), 0.1))
