"""An immediate stream of the host does its work in the thread that appends it, and is a stream in all else."""

import threading

import numpy as np
import pytest

from edge_runtime.device.host import HostDevice
from edge_runtime.errors import CaptureFailed, EngineError, InferenceFailed


@pytest.fixture
def stream():
    device = HostDevice()
    yield device.stream(immediate=True)
    device.close()


def broken():
    raise InferenceFailed("broken")


def test_its_work_is_done_when_the_call_returns_and_by_the_caller(stream):
    done = []
    stream.submit(lambda: done.append(threading.get_ident()))
    assert done == [threading.get_ident()]


def test_a_failure_stays_until_reset_and_drops_the_work_behind_it(stream):
    done = []
    stream.submit(broken)
    stream.submit(lambda: done.append(1))
    for _ in range(2):
        with pytest.raises(InferenceFailed, match="broken"):
            stream.synchronize()
    stream.reset()
    stream.submit(lambda: done.append(2))
    stream.synchronize()
    assert done == [2]


def test_events_tell_time_and_failures():
    device = HostDevice()
    stream, began, ended = device.stream(immediate=True), device.event(), device.event()
    stream.record(began)
    stream.record(ended)
    assert ended.elapsed_seconds(began) >= 0
    stream.submit(broken)
    stream.record(ended)
    with pytest.raises(InferenceFailed, match="broken"):
        ended.synchronize()
    device.close()


def test_it_waits_for_another_streams_event():
    device, held = HostDevice(), threading.Event()
    other, stream, event = device.stream(), device.stream(immediate=True), device.event()
    buffer, out = device.empty((1,), "float32"), np.zeros(1, np.float32)
    other.submit(held.wait)
    device.upload(np.ones(1, np.float32), buffer, other)
    other.record(event)
    threading.Timer(0.05, held.set).start()
    stream.wait(event)
    device.download(buffer, out, stream)
    assert out[0] == 1
    device.close()


def test_what_two_threads_append_does_not_overlap(stream):
    running, most = [], []

    def work():
        running.append(1)
        most.append(len(running))
        running.pop()

    threads = [threading.Thread(target=lambda: [stream.submit(work) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 800 and max(most) == 1


def test_it_is_recorded_as_a_graph_like_any_other():
    device, done = HostDevice(), []
    stream = device.stream(immediate=True)

    def work():
        stream.submit(lambda: done.append(1))
        with pytest.raises(CaptureFailed):
            stream.synchronize()

    graph = device.capture(stream, work)
    assert done == []
    graph.launch(stream)
    graph.launch(stream)
    assert done == [1, 1]
    device.close()


def test_closed_it_takes_no_work(stream):
    stream.close()
    stream.close()
    with pytest.raises(EngineError, match="closed"):
        stream.submit(lambda: None)
