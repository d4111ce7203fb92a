"""The slot of a source: the newest frame, whole, whoever is slow and whoever dies."""

import multiprocessing
import os
import random
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.frames.slot import BUFFERS, FrameHeader, SlotEnds, SlotReader, SlotWriter, create_slot

BYTES = 60_000


@pytest.fixture
def ends():
    made = create_slot("test", BYTES)
    yield made
    made.close()


def frame(value, rows=10, columns=20):
    return np.full((rows, columns, 3), value % 256, np.uint8)


def test_an_empty_slot_has_no_newest_frame(ends):
    assert SlotReader(ends).newest() is None


def test_a_reader_gets_the_newest_frame_with_its_times(ends):
    writer, reader = SlotWriter(ends), SlotReader(ends)
    for value in range(30):
        header = writer.publish(frame(value), captured_at=float(value), captured_unix=1e9 + value)
    with reader.newest() as lease:
        assert lease.header == header == FrameHeader(30, 29.0, 1e9 + 29, 10, 20, 3)
        assert (lease.pixels == 29).all() and not lease.pixels.flags.writeable
    assert reader.newest(after=30) is None


def test_a_borrowed_frame_stays_as_it_is_however_many_follow(ends):
    writer, reader = SlotWriter(ends), SlotReader(ends)
    writer.publish(frame(7), 0.0, 0.0)
    lease = reader.newest()
    for value in range(100):
        writer.publish(frame(value), 0.0, 0.0)
    assert (lease.pixels == 7).all()
    assert reader.of(lease.buffer, 1).header.sequence == 1
    assert reader.newest().header.sequence == 101


def test_a_frame_that_was_given_back_by_all_is_overwritten_at_last(ends):
    writer, reader, other = SlotWriter(ends), SlotReader(ends), SlotReader(ends)
    writer.publish(frame(7), 0.0, 0.0)
    first = reader.newest()
    second = other.of(first.buffer, 1)
    first.release()
    first.release()
    for value in range(20):
        writer.publish(frame(value), 0.0, 0.0)
    assert (second.pixels == 7).all()
    second.release()
    for value in range(20):
        writer.publish(frame(value), 0.0, 0.0)
    assert other.of(first.buffer, 1) is None


def test_where_all_buffers_are_held_a_frame_is_dropped_and_the_writer_goes_on(ends):
    writer, reader = SlotWriter(ends), SlotReader(ends)
    held = []
    for value in range(BUFFERS):
        writer.publish(frame(value), 0.0, 0.0)
        held.append(reader.newest())
    assert writer.publish(frame(99), 0.0, 0.0) is None
    held[0].release()
    assert writer.publish(frame(99), 0.0, 0.0).sequence == BUFFERS + 1


def test_a_frame_that_does_not_fit_is_refused_and_the_slot_keeps_the_one_before(ends):
    writer, reader = SlotWriter(ends), SlotReader(ends)
    writer.publish(frame(3), 0.0, 0.0)
    with pytest.raises(ValueError, match="does not fit"):
        writer.publish(np.zeros((200, 200, 3), np.uint8), 0.0, 0.0)
    with pytest.raises(ValueError, match="does not fit"):
        writer.publish(np.zeros((2, 2, 3), np.float32), 0.0, 0.0)
    assert (reader.newest().pixels == 3).all()


def test_a_new_writer_goes_on_counting_and_an_old_frame_is_not_new(ends):
    SlotWriter(ends).publish(frame(1), 0.0, 0.0)
    reader = SlotReader(ends)
    reader.newest().release()
    again = SlotWriter(ends)
    assert reader.newest(after=1) is None
    assert again.publish(frame(2), 0.0, 0.0).sequence == 2


def test_news_are_heard_once(ends):
    writer, reader = SlotWriter(ends), SlotReader(ends)
    writer.publish(frame(1), 0.0, 0.0)
    assert os.eventfd_read(reader.news) == 1
    reader.hear()


def test_a_closed_end_leaves_no_descriptor(ends):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        writer, reader = SlotWriter(ends), SlotReader(ends)
        writer.publish(frame(1), 0.0, 0.0)
        writer.close()
        reader.close()
    del writer, reader  # with them goes their view of the memory
    assert len(os.listdir("/proc/self/fd")) == before


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["publish", "borrow", "release", "other"]), max_size=60))
def test_whatever_is_done_in_whichever_order_a_held_frame_never_changes(steps):
    ends = create_slot("test", BYTES)
    writer, readers = SlotWriter(ends), (SlotReader(ends), SlotReader(ends))
    held = []
    for step in steps:
        if step == "publish":
            writer.publish(frame(writer.sequence + 1), 0.0, 0.0)
        elif step == "release" and held:
            held.pop(0).release()
        elif step in ("borrow", "other"):
            lease = readers[step == "other"].newest()
            if lease is not None:
                held.append(lease)
        assert all((lease.pixels == lease.header.sequence % 256).all() for lease in held)
    for lease in held:
        lease.release()
    for end in (writer, *readers):
        end.close()
    ends.close()


def write_for_ever(memory, news):
    writer = SlotWriter(SlotEnds(memory, news))
    while True:
        writer.publish(frame(writer.sequence + 1, 100, 100), time.monotonic(), time.time())


def test_no_reader_sees_half_of_a_frame_while_another_process_writes_and_is_killed(ends):
    context = multiprocessing.get_context("fork")
    reader, dice = SlotReader(ends), random.Random(1)
    seen = 0
    for _ in range(5):
        writer = context.Process(target=write_for_ever, args=(ends.memory, ends.news))
        writer.start()
        ends_at = time.monotonic() + dice.uniform(0.05, 0.2)
        while time.monotonic() < ends_at:
            lease = reader.newest()
            if lease is not None:
                with lease:
                    assert (lease.pixels == lease.header.sequence % 256).all()
                    seen += 1
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    assert seen > 50
    assert SlotWriter(ends).publish(frame(5), 0.0, 0.0) is not None


def hold_and_wait(memory, news, ready):
    lease = SlotReader(SlotEnds(memory, news)).newest()
    ready.set()
    time.sleep(60)
    lease.release()


def test_what_a_killed_reader_held_is_free_again(ends):
    context = multiprocessing.get_context("fork")
    writer = SlotWriter(ends)
    held = []
    for value in range(BUFFERS):
        writer.publish(frame(value), 0.0, 0.0)
        ready = context.Event()
        held.append(context.Process(target=hold_and_wait, args=(ends.memory, ends.news, ready)))
        held[-1].start()
        assert ready.wait(20)
    assert writer.publish(frame(99), 0.0, 0.0) is None
    held[0].kill()
    held[0].join()
    assert writer.publish(frame(99), 0.0, 0.0) is not None
    for process in held:
        process.kill()
        process.join()


def test_threads_may_give_back_what_another_borrowed(ends):
    writer, reader = SlotWriter(ends), SlotReader(ends)
    stop = threading.Event()
    wrong = []

    def look():
        while not stop.is_set():
            lease = reader.newest()
            if lease is not None:
                if not (lease.pixels == lease.header.sequence % 256).all():
                    wrong.append(lease.header)
                threading.Thread(target=lease.release).start()

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for _ in range(300):
        writer.publish(frame(writer.sequence + 1), 0.0, 0.0)
        time.sleep(0.0005)
    stop.set()
    for looker in lookers:
        looker.join()
    assert wrong == [] and writer.sequence > 200
