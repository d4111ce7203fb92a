"""What a round of the queue scenario adds up to."""

import os

import pytest

from benchmarks.record import BenchFailed, Record
from benchmarks.sampler import Sample
from benchmarks.scenarios.queue import Bare, Edge, add_round, growth_bytes, same_answers

POSITIVE = [("stage", "triage", "ran"), ("triage", "bleed", "positive")]
NEGATIVE = [("stage", "triage", "ran"), ("triage", "bleed", "negative")]


def samples(*sizes):
    return [Sample(float(at), {"infer": size}, {}) for at, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "settled_at", "grown"),
    [
        ((10, 90, 50, 50, 70, 60), 2.0, 20),
        ((10, 90, 50, 40, 30), 2.0, 0),
        ((10, 20, 30), 0.0, 20),
        ((10, 90, 50, 55), 1.5, 5),
        ((10, 20, 30), 9.0, 0),
    ],
)
def test_growth_is_the_most_after_the_moment_less_what_was_held_then(sizes, settled_at, grown):
    assert growth_bytes(samples(*sizes), "infer", settled_at) == grown


def test_series_that_came_out_alike_are_counted():
    both = {"2.25.1": POSITIVE, "2.25.2": NEGATIVE}
    assert same_answers(both, dict(both), 2) == {
        "series delivered": 2, "with the same answers as sequential": 2, "positive": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("edge", "bare", "said"),
    [
        ({"2.25.1": POSITIVE}, {"2.25.1": POSITIVE, "2.25.2": NEGATIVE}, "of 2 series 1 were delivered"),
        ({"2.25.1": POSITIVE, "2.25.2": NEGATIVE}, {"2.25.1": POSITIVE}, "1 with sequential's answers"),
        ({"2.25.1": POSITIVE, "2.25.2": NEGATIVE}, {"2.25.1": NEGATIVE, "2.25.2": NEGATIVE}, "1 with sequential's"),
    ],
)
def test_a_series_that_is_missing_or_has_another_answer_fails_the_run(edge, bare, said):
    with pytest.raises(BenchFailed, match=said):
        same_answers(edge, bare, 2)


def test_rates_ratios_and_shares_of_a_round():
    cores = len(os.sched_getaffinity(0))
    record = Record({}, reduced=False)
    edge = Edge(
        seconds=30.0, engine_seconds=12.0, cpu_seconds={"infer": 9.0 * cores, "report": 15.0 * cores},
        cpu_seconds_before={"infer": 1.0}, rss_bytes={"infer": [100_000_000, 300_000_000, 200_000_000]},
        growth_bytes=5_000_000, received_in_time=False,
    )  # fmt: skip
    add_round(record, 10, edge, Bare({"decode": 4.0, "inference": 6.0}, cpu_seconds=11.0))
    found = {name: figure.samples for name, figure in record.figures.items()}
    assert (found["edge"], found["engines"], found["sequential"]) == ([20.0], [100.0], [60.0])
    assert found["edge : engines"] == [0.2]
    assert found["edge : sequential"] == [20 / 60]
    assert found["cores in use"] == [0.8]
    assert found["infer growth"] == [5.0]
    assert (found["rss/infer/before"], found["rss/infer/most"], found["rss/infer/after"]) == ([100.0], [300.0], [200.0])
    assert found["sequential/inference"] == [6.0]
    assert record.figures["edge : engines"].target.at_least
    assert not record.figures["infer growth"].target.at_least
    (problem,) = record.problems
    assert "raise quiet_seconds" in problem
