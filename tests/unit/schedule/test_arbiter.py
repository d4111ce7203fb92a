"""Whose turn it is: the policy alone, and the threads that wait for it."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import EngineError
from edge_runtime.metrics import METRICS, RUN_CLASSES
from edge_runtime.schedule.arbiter import Arbiter, RunClass, Wish, next_wish
from edge_runtime.telemetry.metrics import NullMetrics, RoleMetrics

WISH = st.builds(Wish, st.sampled_from("abcd"), st.sampled_from(RunClass), st.floats(0.0, 100.0), st.floats(0.001, 1.0))
WAITING = st.lists(WISH, max_size=8)
RUNNING = st.lists(WISH, max_size=3, unique_by=lambda wish: wish.engine)


def live(engine="a", deadline_at=1.0):
    return Wish(engine, RunClass.LIVE, deadline_at, 0.01)


def study(engine="s", deadline_at=1000.0):
    return Wish(engine, RunClass.STUDY, deadline_at, 0.01)


def promoted(engine="s", deadline_at=0.0):
    return Wish(engine, RunClass.PROMOTED, deadline_at, 0.01)


def test_the_classes_are_those_of_the_metrics():
    assert tuple(each.value for each in RunClass) == RUN_CLASSES


@given(WAITING, RUNNING, st.integers(1, 4), st.integers(0, 3), st.integers(0, 2))
def test_what_runs_next_has_a_free_engine_and_a_free_place(waiting, running, capacity, since, between):
    index = next_wish(waiting, running, capacity, since, between)
    if index is not None:
        assert len(running) < capacity
        assert waiting[index].engine not in {wish.engine for wish in running}


@given(WAITING, RUNNING, st.integers(1, 4), st.integers(0, 3))
def test_no_place_stays_free_while_anything_could_run(waiting, running, capacity, since):
    busy = {wish.engine for wish in running}
    could = len(running) < capacity and any(wish.engine not in busy for wish in waiting)
    assert (next_wish(waiting, running, capacity, since) is not None) == could


@given(WAITING, RUNNING, st.integers(1, 4), st.integers(0, 3), st.integers(0, 2))
def test_within_a_class_the_earliest_deadline_is_first(waiting, running, capacity, since, between):
    index = next_wish(waiting, running, capacity, since, between)
    if index is not None:
        busy, chosen = {wish.engine for wish in running}, waiting[index]
        rivals = [w for w in waiting if w.engine not in busy and w.run_class is chosen.run_class]
        assert chosen.deadline_at == min(wish.deadline_at for wish in rivals)


@given(WAITING, RUNNING, st.integers(1, 4), st.integers(0, 3), st.integers(0, 2))
def test_a_study_runs_only_where_no_live_run_could(waiting, running, capacity, since, between):
    index = next_wish(waiting, running, capacity, since, between)
    if index is not None and waiting[index].run_class is RunClass.STUDY:
        busy = {wish.engine for wish in running}
        assert not any(wish.run_class is RunClass.LIVE and wish.engine not in busy for wish in waiting)
        assert len(running) + between < capacity


def test_equals_run_in_the_order_in_which_they_came():
    assert next_wish([live("a"), live("b")], [], 1, 0) == 0


def test_a_promoted_study_runs_after_each_live_run_and_never_twice_while_one_waits():
    assert next_wish([promoted(), live()], [], 1, 0) == 1
    assert next_wish([promoted(), live()], [], 1, 1) == 0
    assert next_wish([promoted()], [], 1, 0) == 0


def test_a_place_is_kept_for_a_live_frame_between_two_runs():
    assert next_wish([study()], [], 1, 0, between=1) is None
    assert next_wish([promoted()], [], 1, 0, between=1) is None
    assert next_wish([promoted()], [], 1, 1, between=1) == 0
    assert next_wish([study()], [], 2, 0, between=1) == 0
    assert next_wish([study()], [live()], 2, 0, between=1) is None


def gauge(metrics, name, run_class):
    values = {(n, labels): value for n, labels, value in metrics.snapshot()}
    return values.get((name, (run_class,)), 0)


def waits_for(count, arbiter_metrics, run_class="live"):
    until(lambda: gauge(arbiter_metrics, "edge_schedule_waiting", run_class) == count)


def until(condition):
    ends_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.001)


def start(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_free_accelerator_is_given_at_once_and_counted():
    metrics = RoleMetrics(METRICS, {})
    arbiter = Arbiter(1, metrics)
    with arbiter.turn(live()) as waited:
        assert 0 <= waited < 1
        assert gauge(metrics, "edge_schedule_running", "live") == 1
    assert gauge(metrics, "edge_schedule_running", "live") == 0
    waits = [value for name, labels, value in metrics.snapshot() if name == "edge_schedule_wait_seconds"]
    assert sum(waits[0][:-1]) == 1


def test_threads_run_in_the_order_of_the_policy():
    metrics, ran = RoleMetrics(METRICS, {}), []
    arbiter = Arbiter(1, metrics, clock=lambda: 0.0)

    def work(wish):
        with arbiter.turn(wish):
            ran.append(wish)

    wishes = [study(), live("a", 3.0), live("b", 1.0), live("c", 2.0)]
    with arbiter.turn(live("x")):
        threads = [start(lambda wish=wish: work(wish)) for wish in wishes]
        waits_for(3, metrics)
        waits_for(1, metrics, "study")
    for thread in threads:
        thread.join()
    assert ran == [wishes[2], wishes[3], wishes[1], wishes[0]]


def test_promoted_studies_and_live_frames_take_turns():
    metrics, ran = RoleMetrics(METRICS, {}), []
    arbiter = Arbiter(1, metrics)

    def work(wish):
        with arbiter.turn(wish):
            ran.append(wish.engine)

    with arbiter.turn(live("x")):
        wishes = [promoted("s", 1.0), promoted("t", 2.0), live("a", 1.0), live("b", 2.0)]
        threads = [start(lambda wish=wish: work(wish)) for wish in wishes]
        waits_for(2, metrics)
        waits_for(2, metrics, "promoted")
    for thread in threads:
        thread.join()
    assert ran == ["s", "a", "t", "b"]


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_under_random_delays_no_engine_runs_twice_at_once_nor_more_than_the_capacity(capacity):
    metrics, lock, running, most = RoleMetrics(METRICS, {}), threading.Lock(), [], []
    arbiter = Arbiter(capacity, metrics)

    def work(seed):
        rng = random.Random(seed)
        for _ in range(60):
            wish = Wish(rng.choice("abc"), rng.choice(list(RunClass)), rng.random(), 0.001)
            with arbiter.turn(wish):
                with lock:
                    assert wish.engine not in running
                    running.append(wish.engine)
                    most.append(len(running))
                time.sleep(rng.random() * 1e-3)
                with lock:
                    running.remove(wish.engine)
            time.sleep(rng.random() * 1e-3)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert max(most) == capacity
    for name in ("edge_schedule_waiting", "edge_schedule_running"):
        assert [gauge(metrics, name, each) for each in RUN_CLASSES] == [0, 0, 0]
    waits = [value for name, _, value in metrics.snapshot() if name == "edge_schedule_wait_seconds"]
    assert sum(sum(value[:-1]) for value in waits) == 6 * 60


def test_a_run_that_raises_gives_its_turn_back():
    metrics = RoleMetrics(METRICS, {})
    arbiter = Arbiter(1, metrics)
    with pytest.raises(ZeroDivisionError), arbiter.turn(live()):
        raise ZeroDivisionError
    with arbiter.turn(live()):
        assert gauge(metrics, "edge_schedule_running", "live") == 1


class Interrupted(Exception):
    pass


class BrokenOnce(NullMetrics):
    """The first wait that is reported fails, as a thread that is interrupted while it has its turn already."""

    broken = False

    def observe(self, name, value, **labels):
        if not self.broken:
            self.broken = True
            raise Interrupted


def test_a_waiter_that_fails_before_its_run_leaves_nothing_behind():
    arbiter = Arbiter(1, BrokenOnce())
    with pytest.raises(Interrupted), arbiter.turn(live()):
        pass
    with arbiter.turn(live()) as waited:
        assert waited >= 0


def test_closing_wakes_all_that_wait_and_refuses_all_that_come():
    metrics, failed = RoleMetrics(METRICS, {}), []
    arbiter = Arbiter(1, metrics, clock=lambda: 0.0)

    def work(wish):
        try:
            with arbiter.turn(wish):
                failed.append("ran")
        except EngineError as error:
            failed.append(str(error))

    with arbiter.turn(live("x")):
        threads = [start(lambda: work(live())), start(lambda: work(study()))]
        waits_for(1, metrics)
        waits_for(1, metrics, "study")
        arbiter.close()
        for thread in threads:
            thread.join()
        assert gauge(metrics, "edge_schedule_waiting", "live") == 0
    assert sorted(failed) == [
        "engine a: no turn on the accelerator, it is being shut down",
        "engine s: no turn on the accelerator, it is being shut down",
    ]
    with pytest.raises(EngineError), arbiter.turn(live()):
        pass


def test_a_study_that_waits_past_its_deadline_is_promoted_while_it_waits():
    metrics, now, ran = RoleMetrics(METRICS, {}), [0.0], []
    arbiter = Arbiter(1, metrics, clock=lambda: now[0])

    def work(wish):
        with arbiter.turn(wish):
            ran.append(wish.engine)

    with arbiter.turn(live("x")):
        threads = [start(lambda: work(study("s", deadline_at=5.0))), start(lambda: work(live("a")))]
        waits_for(1, metrics)
        waits_for(1, metrics, "study")
        now[0] = 6.0
        waits_for(1, metrics, "promoted")
        assert gauge(metrics, "edge_schedule_waiting", "study") == 0
    for thread in threads:
        thread.join()
    assert ran == ["s", "a"]


def test_a_study_does_not_slip_in_between_two_runs_of_a_live_frame_until_its_deadline_passes():
    metrics, now, ran = RoleMetrics(METRICS, {}), [0.0], threading.Event()
    arbiter = Arbiter(1, metrics, clock=lambda: now[0])

    def work():
        with arbiter.turn(study()):
            ran.set()

    with arbiter.frame(deadline_at=1.0):
        with arbiter.turn(live()):
            thread = start(work)
            waits_for(1, metrics, "study")
        with arbiter.turn(live("b")):
            assert not ran.is_set()
        assert not ran.is_set()
        now[0] = 1.5
        assert ran.wait(30)
    thread.join()


def test_a_study_runs_as_soon_as_the_live_frame_has_ended():
    metrics = RoleMetrics(METRICS, {})
    arbiter = Arbiter(1, metrics, clock=lambda: 0.0)
    ran = threading.Event()

    def work():
        with arbiter.turn(study()):
            ran.set()

    with pytest.raises(Interrupted), arbiter.frame(deadline_at=1.0):
        thread = start(work)
        waits_for(1, metrics, "study")
        raise Interrupted
    assert ran.wait(30)
    thread.join()


def test_an_arbiter_without_a_place_is_refused():
    with pytest.raises(ValueError, match="at least one run"):
        Arbiter(0, NullMetrics())
