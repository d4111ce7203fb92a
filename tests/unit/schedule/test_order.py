"""Results of a source leave in the order of its frames, whichever thread is done first."""

import queue
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.schedule.order import Order


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_result_waits_until_all_earlier_frames_have_ended():
    order, out = Order(), []
    first, second, third = (order.begin("tower") for _ in range(3))
    order.end("tower", third, lambda: out.append(3))
    order.end("tower", second, None)
    assert out == []
    order.end("tower", first, lambda: out.append(1))
    assert out == [1, 3]


def test_sources_do_not_wait_for_each_other():
    order, out = Order(), []
    order.begin("one")
    order.end("two", order.begin("two"), lambda: out.append("two"))
    assert out == ["two"]


def test_a_frame_ends_once():
    order, out = Order(), []
    ticket = order.begin("tower")
    assert order.end("tower", ticket, lambda: out.append(1))
    assert not order.end("tower", ticket, lambda: out.append(2))
    assert out == [1]


@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_in_whatever_order_frames_end_their_results_leave_in_order(ended, without):
    order, out = Order(), []
    tickets = [order.begin("tower") for _ in ended]
    for k in ended:
        order.end("tower", tickets[k], None if k in without else lambda k=k: out.append(k))
    assert out == sorted(set(ended) - without)


def test_a_result_does_not_wait_for_a_frame_whose_deadline_has_passed():
    clock, out = Clock(), []
    order = Order(clock)
    hanging = order.begin("tower", deadline_at=1.0)
    order.end("tower", order.begin("tower", deadline_at=2.0), lambda: out.append(2))
    assert order.overtake() == 1.0
    assert out == []
    clock.now = 1.0
    assert order.overtake() is None
    assert out == [2]
    assert not order.end("tower", hanging, lambda: out.append(1))
    assert out == [2]


def test_a_later_result_overtakes_by_itself_once_the_deadline_has_passed():
    clock, out = Clock(), []
    order = Order(clock)
    hanging, later = order.begin("tower", deadline_at=1.0), order.begin("tower", deadline_at=2.0)
    clock.now = 1.5
    assert order.end("tower", later, lambda: out.append(2))
    assert out == [2]
    assert not order.end("tower", hanging, lambda: out.append(1))


def test_a_frame_that_is_late_but_waited_for_by_nobody_is_not_overtaken():
    clock, out = Clock(), []
    order = Order(clock)
    ticket = order.begin("tower", deadline_at=1.0)
    order.begin("tower", deadline_at=2.0)
    clock.now = 3.0
    assert order.overtake() is None
    assert order.end("tower", ticket, lambda: out.append(1))
    assert out == [1]


STEPS = st.lists(st.tuples(st.sampled_from(["begin", "end", "tick"]), st.integers(0, 100)), max_size=60)


@given(STEPS)
def test_whatever_happens_nothing_leaves_twice_or_after_a_later_one(steps):
    clock, out, open_tickets, refused, ended = Clock(), [], [], set(), set()
    order = Order(clock)
    for step, value in steps:
        if step == "begin":
            open_tickets.append(order.begin("tower", clock.now + 5.0))
        elif step == "end" and open_tickets:
            ticket = open_tickets.pop(value % len(open_tickets))
            ended.add(ticket)
            if not order.end("tower", ticket, lambda ticket=ticket: out.append(ticket)):
                refused.add(ticket)
        elif step == "tick":
            clock.now += value / 20
            order.overtake()
    clock.now += 100
    order.overtake()
    assert out == sorted(set(out))
    assert set(out) == ended - refused


def test_where_publishing_fails_the_order_goes_on():
    order, out = Order(), []
    tickets = [order.begin("tower") for _ in range(3)]

    def fail():
        raise OSError("nobody listens")

    order.end("tower", tickets[2], lambda: out.append(3))
    order.end("tower", tickets[1], fail)
    with pytest.raises(OSError, match="nobody listens"):
        order.end("tower", tickets[0], lambda: out.append(1))
    assert out == [1, 3]
    order.end("tower", order.begin("tower"), lambda: out.append(4))
    assert out == [1, 3, 4]


def test_while_one_result_leaves_the_next_waits():
    order, out, entered, go_on = Order(), [], threading.Event(), threading.Event()
    first, second = order.begin("tower"), order.begin("tower")

    def slow():
        entered.set()
        assert go_on.wait(30)
        out.append(1)

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(order.end, "tower", first, slow)
        assert entered.wait(30)
        assert order.end("tower", second, lambda: out.append(2))
        assert out == []
        go_on.set()
        assert ended.result()
    assert out == [1, 2]


def test_what_publishes_may_begin_and_end_frames_itself():
    order, out = Order(), []

    def publish():
        out.append(1)
        order.end("tower", order.begin("tower"), lambda: out.append(2))

    order.end("tower", order.begin("tower"), publish)
    assert out == [1, 2]


def test_under_random_delays_every_result_leaves_once_and_in_order():
    order, out, busy = Order(), [], threading.Lock()
    taking, tickets = threading.Lock(), iter(range(1, 401))

    def publish(ticket):
        assert busy.acquire(blocking=False)  # one at a time
        out.append(ticket)
        busy.release()

    def lane(seed):
        rng = random.Random(seed)
        while True:
            with taking:
                if next(tickets, None) is None:
                    return
                ticket = order.begin("tower")
            time.sleep(rng.random() * 1e-3)
            order.end("tower", ticket, lambda ticket=ticket: publish(ticket))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lane, range(6)))
    assert out == list(range(1, 401))


def test_with_frames_that_hang_the_others_leave_in_order_under_random_delays():
    order, out, refused = Order(), [], []
    work = queue.SimpleQueue()
    for number in range(200):
        work.put(number)
    taking = threading.Lock()

    def lane(seed):
        rng = random.Random(seed)
        while True:
            with taking:
                try:
                    work.get_nowait()
                except queue.Empty:
                    return
                ticket = order.begin("tower", time.monotonic() + 0.002)
            time.sleep(rng.choice([0.0, 0.001, 0.006]))
            if not order.end("tower", ticket, lambda ticket=ticket: out.append(ticket)):
                refused.append(ticket)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lane, range(4)))
    assert out == sorted(set(out))
    assert set(out) | set(refused) == set(range(1, 201))
    assert not set(out) & set(refused)
