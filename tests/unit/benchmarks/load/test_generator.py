"""The generator on a clock of its own, so that every latency is known beforehand; then on real threads."""

import dataclasses
import math
import threading
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulated_systems import Blocking, Clock, Fifo

from benchmarks import statistics
from benchmarks.load import generator
from benchmarks.load.arrivals import Load, Mode, moments
from benchmarks.load.generator import Answered, Called, Loaded, Query, run_load

MILLISECOND = 0.001
ONE = Load(Mode.SINGLE_STREAM, queries=1)
CAMERA = Load(Mode.FIXED_RATE, queries=300, rate=100.0)


def on(load, system, clock):
    return run_load(load, system, clock, clock.sleep)


def simulated(load, seconds, late=0.0):
    """The load on one server; a closed loop waits for it."""
    clock = Clock(late)
    kind = Fifo if load.mode.open_loop else Blocking
    return on(load, kind(clock, seconds), clock)


def stalls(number):
    """One second, once; a millisecond else."""
    return 1.0 if number == 50 else MILLISECOND


def near(expected):
    return pytest.approx(expected, abs=5e-6)


# Coordinated omission


@pytest.mark.parametrize("kind", [Fifo, Blocking])
def test_a_stall_shows_in_every_query_that_was_scheduled_meanwhile(kind):
    clock = Clock()
    found = on(CAMERA, kind(clock, stalls), clock).latencies
    assert len(found) == 300
    slow = [number for number, latency in enumerate(found) if latency > 1.5 * MILLISECOND]
    assert slow == list(range(50, slow[-1] + 1)) and len(slow) > 100, "all, until the queue is empty again"
    for number in slow:
        expected = 1.0 - 0.01 * (number - 50) + MILLISECOND * (number - 50)
        assert found[number] == near(expected)


def test_the_canary_a_latency_from_the_issue_would_hide_the_stall():
    clock = Clock()
    loaded = on(CAMERA, Blocking(clock, stalls), clock)
    omitted = [one.completed - one.issued for one in loaded.queries]
    assert sum(latency > 1.5 * MILLISECOND for latency in omitted) == 1
    assert statistics.percentile(omitted, 99) < 1.5 * MILLISECOND < 0.9 < statistics.percentile(loaded.latencies, 99)


def test_overload_shows_as_a_queue_that_grows():
    found = simulated(CAMERA, lambda _: 0.02).latencies
    assert [b - a for a, b in pairwise(found)] == near([0.01] * 299)


@given(st.floats(1, 1000), st.floats(0.0001, 0.1), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_latencies_of_a_server_are_those_of_a_queue_with_poisson_arrivals(rate, service, seed):
    load = Load(Mode.SERVER, queries=50, rate=rate, seed=seed)
    found, free_at = simulated(load, lambda _: service).latencies, 0.0
    for moment, latency in zip(moments(load), found, strict=True):
        free_at = max(moment, free_at) + service
        assert latency == pytest.approx(free_at - moment, abs=2e-4)


# What is counted


@pytest.mark.parametrize(
    ("queries", "seconds", "counted"), [(7, 0.0, 7), (0, 0.1, 103), (7, 0.1, 103), (200, 0.1, 200), (1, 0.0, 1)]
)
def test_a_closed_loop_ends_when_both_minima_are_reached(queries, seconds, counted):
    loaded = simulated(Load(Mode.SINGLE_STREAM, queries=queries, seconds=seconds), lambda _: 1 / 1024)
    assert len(loaded.queries) == counted
    assert loaded.seconds >= seconds


@pytest.mark.parametrize(("queries", "seconds", "counted"), [(7, 0.0, 7), (0, 0.5, 33), (7, 0.5, 33), (99, 0.5, 99)])
def test_an_open_loop_ends_when_both_minima_are_reached(queries, seconds, counted):
    load = Load(Mode.FIXED_RATE, queries=queries, seconds=seconds, rate=64.0)
    assert len(simulated(load, lambda _: MILLISECOND).queries) == counted


@pytest.mark.parametrize("mode", [Mode.SINGLE_STREAM, Mode.SERVER])
def test_warm_up_is_issued_alone_and_never_counted(mode):
    clock = Clock()
    system = Blocking(clock, lambda number: 5.0 if number < 3 else MILLISECOND)
    rate = 10.0 if mode.open_loop else None
    loaded = on(Load(mode, queries=10, warm_up_queries=3, rate=rate), system, clock)
    assert loaded.warm_up == 3
    assert [one.number for one in loaded.queries] == list(range(3, 13))


def test_the_canary_warm_up_that_is_counted_shows():
    clock = Clock()
    system = Blocking(clock, lambda number: 5.0 if number < 3 else MILLISECOND)
    loaded = on(dataclasses.replace(CAMERA, warm_up_queries=3), system, clock)
    assert max(loaded.latencies) == near(MILLISECOND)
    cold = on(CAMERA, Blocking(clock, lambda number: 5.0 if number < 3 else MILLISECOND), clock)
    assert max(cold.latencies) > 5


def test_samples_of_queries_run_through_and_their_number_makes_the_throughput():
    clock, seen = Clock(), []
    system = Blocking(clock, lambda _: 0.5, seen)
    loaded = on(Load(Mode.MULTI_STREAM, queries=4, samples_per_query=8), system, clock)
    assert [sample for query in seen for sample in query.samples] == list(range(32))
    assert loaded.latencies == near([0.5] * 4), "of the query, not of its samples"
    assert (loaded.seconds, loaded.throughput) == (near(2.0), near(16.0)), "of all samples, until the last answer"
    assert loaded.lags == []


def test_an_offline_load_is_one_query_and_tells_no_latency():
    clock, seen = Clock(), []
    loaded = on(Load(Mode.OFFLINE, samples_per_query=100), Blocking(clock, lambda _: 2.0, seen), clock)
    (query,) = seen
    assert query.samples == tuple(range(100))
    assert loaded.throughput == pytest.approx(50) and loaded.latencies == []


@pytest.mark.parametrize("mode", list(Mode))
def test_no_query_is_lost_in_any_mode(mode):
    rate = 100.0 if mode.open_loop else None
    loaded = simulated(Load(mode, queries=1 if mode is Mode.OFFLINE else 20, rate=rate), lambda _: MILLISECOND)
    assert [one.number for one in loaded.queries] == list(range(len(loaded.queries)))
    assert all(one.scheduled <= one.issued <= one.completed for one in loaded.queries)
    assert loaded.unanswered == 0


# On time


def test_queries_come_at_their_moments_and_sleeping_never_overshoots_them():
    clock = Clock()
    loaded = on(CAMERA, Fifo(clock, lambda _: MILLISECOND), clock)
    assert [one.scheduled for one in loaded.queries] == near([number / 100 for number in range(300)])
    assert min(loaded.lags) >= 0 and max(loaded.lags) < 5e-6
    assert sum(1 for seconds in clock.slept if seconds == 0) <= 201 * 300, "no more than 0.2 ms awake for each"


def test_a_sleep_that_overshoots_a_little_makes_no_query_late():
    assert max(simulated(CAMERA, lambda _: MILLISECOND, late=0.0001).lags) < 5e-6


@pytest.mark.parametrize(("late", "said"), [(5, False), (20, True)])
def test_the_generator_counts_as_late_by_the_p99_of_its_lags(late, said):
    queries = tuple(Answered(n, n, n + (0.005 if n < late else 0), n + MILLISECOND, 1) for n in range(1000))
    loaded = Loaded(CAMERA, queries, 0, 1000.0)
    assert any("the generator was late" in sentence for sentence in loaded.shortfalls()) == said


def test_a_generator_that_is_late_says_so_and_its_lateness_is_part_of_the_latency():
    loaded = simulated(CAMERA, lambda _: MILLISECOND, late=0.003)
    assert min(loaded.lags) > 0.002
    assert [one.completed - one.scheduled for one in loaded.queries] == loaded.latencies
    assert min(loaded.latencies) > 0.003
    assert any("the generator was late" in sentence for sentence in loaded.shortfalls())
    assert not any("late" in sentence for sentence in simulated(CAMERA, lambda _: MILLISECOND).shortfalls())


# What falls short


def test_a_full_run_falls_short_of_nothing_and_a_small_one_says_of_what():
    full = simulated(Load(Mode.SERVER, queries=1024, seconds=60, rate=50.0), lambda _: MILLISECOND)
    assert full.shortfalls() == []
    small = ["single-stream: shorter than LoadGen's 60 s", "single-stream: fewer than LoadGen's 1,024 queries"]
    assert simulated(ONE, lambda _: MILLISECOND).shortfalls() == small
    offline = simulated(Load(Mode.OFFLINE, queries=1), lambda _: 99.0)
    assert offline.shortfalls() == ["offline: fewer than LoadGen's 24,576 samples"]


class Silent:
    """Never answers the queries with these numbers."""

    def __init__(self, system, numbers):
        self._system, self._numbers = system, numbers

    def issue(self, query):
        if query.number not in self._numbers:
            self._system.issue(query)


def test_queries_without_an_answer_are_counted_and_never_left_out_silently():
    clock = Clock()
    load = Load(Mode.FIXED_RATE, queries=10, rate=100.0, give_up_seconds=0.01)
    loaded = on(load, Silent(Fifo(clock, lambda _: MILLISECOND), {2, 9}), clock)
    assert (len(loaded.queries), len(loaded.latencies), loaded.unanswered) == (10, 8, 2)
    assert [one.number for one in loaded.queries if math.isnan(one.completed)] == [2, 9]
    assert any("2 of 10 queries had no answer 0.01 s after" in sentence for sentence in loaded.shortfalls())
    assert loaded.throughput == pytest.approx(8 / loaded.seconds)


def test_a_closed_loop_ends_where_there_is_no_answer():
    clock = Clock()
    load = Load(Mode.SINGLE_STREAM, queries=10, give_up_seconds=0.01)
    loaded = on(load, Silent(Blocking(clock, lambda _: MILLISECOND), {4}), clock)
    assert (len(loaded.queries), loaded.unanswered) == (5, 1)
    assert any("a closed loop ends there" in sentence for sentence in loaded.shortfalls())


def test_where_nothing_is_answered_nothing_is_told_of_latency():
    loaded = on(dataclasses.replace(ONE, give_up_seconds=0.01), Silent(None, {0}), Clock())
    assert (loaded.latencies, loaded.throughput, loaded.unanswered) == ([], 0.0, 1)


def test_a_warm_up_without_an_answer_ends_the_load():
    load = dataclasses.replace(ONE, warm_up_queries=1, give_up_seconds=0.01)
    with pytest.raises(TimeoutError, match="warm-up query"):
        on(load, Silent(None, {0}), Clock())


def test_a_query_that_is_complete_twice_is_refused():
    class Twice:
        def issue(self, query):
            query.complete()
            query.complete()

    with pytest.raises(RuntimeError, match="query 0 is complete twice"):
        run_load(ONE, Twice())


def test_an_answer_that_comes_after_the_load_was_given_up_changes_nothing():
    kept: list[Query] = []

    class Late:
        def issue(self, query):
            kept.append(query)

    loaded = run_load(dataclasses.replace(ONE, give_up_seconds=0.01), Late())
    kept[0].complete()
    assert loaded.unanswered == 1


# On real threads


def failing(samples):
    if samples == (3,):
        raise ValueError("the system fell over")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("load", [Load(Mode.SINGLE_STREAM, queries=9), Load(Mode.SERVER, queries=9, rate=500.0)])
def test_what_a_system_raises_reaches_the_caller_from_whichever_thread(load, workers):
    with Called(failing, workers) as system, pytest.raises(ValueError, match="the system fell over"):
        run_load(load, system)


def test_a_failure_ends_the_wait_for_the_answers():
    def call(samples):
        if samples == (0,):
            raise ValueError("gone")

    with Called(call, workers=1) as system, pytest.raises(ValueError, match="gone"):
        run_load(Load(Mode.OFFLINE, give_up_seconds=30), system)


def test_workers_take_queries_at_once_and_in_the_order_of_arrival():
    together, taken = threading.Barrier(2, timeout=5), []

    def call(samples):
        taken.append(samples)
        together.wait()

    with Called(call, workers=2) as system:
        loaded = run_load(Load(Mode.FIXED_RATE, queries=8, rate=1000.0), system)
    assert loaded.unanswered == 0 and sorted(taken) == [(n,) for n in range(8)]
    assert all({a, b} == {(n,), (n + 1,)} for n, a, b in zip(range(0, 8, 2), taken[::2], taken[1::2], strict=True))


def test_a_system_may_answer_from_any_thread_and_in_any_order():
    class Batched:
        """Answers every four queries, the last first."""

        def __init__(self):
            self.waiting = []

        def issue(self, query):
            self.waiting.append(query)
            if len(self.waiting) == 4:
                batch, self.waiting = self.waiting[::-1], []
                threading.Thread(target=lambda: [one.complete() for one in batch]).start()

    loaded = run_load(Load(Mode.FIXED_RATE, queries=16, rate=1000.0), Batched())
    assert loaded.unanswered == 0
    assert [one.number for one in loaded.queries] == list(range(16))


def test_the_real_generator_waits_for_its_moments():
    with Called(lambda _: time.sleep(0.001), workers=1) as system:
        loaded = run_load(Load(Mode.FIXED_RATE, queries=20, rate=100.0), system)
    assert min(loaded.lags) >= 0 and min(loaded.latencies) >= 0.001 and loaded.seconds >= 0.19


def test_closing_leaves_no_thread_and_does_not_work_off_the_queue():
    before, begun, release = threading.active_count(), [], threading.Event()

    def call(samples):
        begun.append(samples)
        release.wait(5)

    system = Called(call, workers=1)
    loaded = run_load(Load(Mode.FIXED_RATE, queries=50, rate=5000.0, give_up_seconds=0.01), system)
    timer = threading.Timer(0.2, release.set)
    timer.start()
    system.close()
    timer.join()
    assert threading.active_count() == before
    assert loaded.unanswered == 50 and begun == [(0,)]


def test_a_call_that_does_not_return_is_told_when_closing(monkeypatch):
    monkeypatch.setattr(generator, "_CLOSE_SECONDS", 0.01)
    release = threading.Event()
    system = Called(lambda _: release.wait(5), workers=1)
    run_load(dataclasses.replace(ONE, give_up_seconds=0.01), system)
    with pytest.raises(TimeoutError, match="1 of 1 workers"):
        system.close()
    release.set()


def test_the_outcome_is_a_value():
    assert isinstance(simulated(ONE, lambda _: MILLISECOND), Loaded)
    assert simulated(CAMERA, lambda _: MILLISECOND) == simulated(CAMERA, lambda _: MILLISECOND)


def test_a_rate_that_the_system_cannot_hold_is_told():
    def sentences(rate):
        with Called(lambda samples: time.sleep(0.005), workers=1) as system:
            return " ".join(run_load(Load(Mode.FIXED_RATE, queries=60, rate=rate), system).shortfalls())

    assert "did not hold the rate" in sentences(1000.0)
    assert "did not hold the rate" not in sentences(20.0)


def test_a_query_that_is_complete_twice_in_another_thread_ends_the_load():
    class Twice:
        def issue(self, query):
            threading.Thread(target=self.answer, args=(query,)).start()

        def answer(self, query):
            query.complete()
            with pytest.raises(RuntimeError, match="twice"):
                query.complete()

    with pytest.raises(RuntimeError, match="complete twice"):
        run_load(Load(Mode.FIXED_RATE, queries=50, rate=200.0), Twice())
