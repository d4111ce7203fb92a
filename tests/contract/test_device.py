"""What every device must do, whatever it is."""

import threading

import numpy as np
import pytest

from edge_runtime.device.host import HostDevice
from edge_runtime.errors import EngineError, InferenceFailed


@pytest.fixture(params=[HostDevice], ids=["host"])
def device(request):
    device = request.param()
    yield device
    device.close()


def upload(device, stream, values):
    array = np.asarray(values, dtype=np.float32)
    buffer = device.empty(array.shape, "float32")
    device.upload(array, buffer, stream)
    return buffer


def test_what_was_uploaded_comes_down_again(device):
    stream, out = device.stream(), np.zeros(3, dtype=np.float32)
    device.download(upload(device, stream, [1, 2, 3]), out, stream)
    stream.synchronize()
    assert out.tolist() == [1, 2, 3]


def test_a_buffer_says_its_shape_and_element_type(device):
    buffer = device.empty((2, 3), "uint8")
    assert (buffer.shape, buffer.dtype) == ((2, 3), "uint8") and buffer.address != 0


@pytest.mark.parametrize("array", [np.zeros(4, np.float32), np.zeros(3, np.float64)], ids=["shape", "dtype"])
def test_a_copy_between_unlike_memory_is_refused(device, array):
    buffer, stream = device.empty((3,), "float32"), device.stream()
    with pytest.raises(EngineError, match="cannot copy"):
        device.upload(array, buffer, stream)
    with pytest.raises(EngineError, match="cannot copy"):
        device.download(buffer, array, stream)


def test_a_stream_waits_for_an_event_of_another_stream(device):
    first, second, event = device.stream(), device.stream(), device.event()
    held = hold(first)
    buffer = upload(device, first, [7])
    first.record(event)
    out = np.zeros(1, dtype=np.float32)
    second.wait(event)
    device.download(buffer, out, second)
    assert out[0] == 0
    held.set()
    second.synchronize()
    assert out[0] == 7


def test_two_streams_do_not_wait_for_each_other(device):
    first, second = device.stream(), device.stream()
    held = hold(first)
    out = np.zeros(1, dtype=np.float32)
    device.download(upload(device, second, [3]), out, second)
    second.synchronize()
    assert out[0] == 3
    held.set()
    first.synchronize()


def test_events_tell_the_time_between_them(device):
    stream, began, ended = device.stream(), device.event(), device.event()
    stream.record(began)
    stream.record(ended)
    with pytest.raises(EngineError, match="synchronize first"):
        device.event().elapsed_seconds(began)
    ended.synchronize()
    assert ended.elapsed_seconds(began) >= 0
    assert began.elapsed_seconds(ended) <= 0


def test_an_event_that_was_never_recorded_is_not_waited_for_for_ever(device):
    with pytest.raises(EngineError, match="never recorded"):
        device.event().synchronize()


def test_a_failure_stays_until_reset_and_drops_the_work_behind_it(device):
    stream, event = device.stream(), device.event()
    fail(stream)
    out = np.zeros(1, dtype=np.float32)
    device.download(upload(device, stream, [3]), out, stream)
    stream.record(event)
    for _ in range(2):
        with pytest.raises(InferenceFailed, match="broken"):
            stream.synchronize()
    with pytest.raises(InferenceFailed, match="broken"):
        event.synchronize()
    assert out[0] == 0
    stream.reset()
    device.download(upload(device, stream, [3]), out, stream)
    stream.synchronize()
    assert out[0] == 3


def test_a_failure_reaches_the_stream_that_waits_for_it(device):
    first, second, event = device.stream(), device.stream(), device.event()
    fail(first)
    first.record(event)
    second.wait(event)
    with pytest.raises(InferenceFailed, match="broken"):
        second.synchronize()


def test_a_closed_stream_takes_no_work_and_closes_twice(device):
    stream = device.stream()
    stream.close()
    stream.close()
    with pytest.raises(EngineError, match="closed"):
        stream.synchronize()
    with pytest.raises(EngineError, match="closed"):
        stream.record(device.event())


def test_closing_finishes_the_work_that_was_given(device):
    stream, out = device.stream(), np.zeros(1, dtype=np.float32)
    device.download(upload(device, stream, [5]), out, stream)
    stream.close()
    assert out[0] == 5


def test_a_closed_device_gives_nothing_and_closes_twice(device):
    threads = threading.active_count()
    device.stream()
    device.close()
    device.close()
    assert threading.active_count() == threads
    for use in (device.stream, device.event, lambda: device.empty((1,), "float32")):
        with pytest.raises(EngineError, match="closed"):
            use()


def hold(stream):
    """Keep a host stream busy until the event that this returns is set."""
    held = threading.Event()
    stream.submit(held.wait)
    return held


def fail(stream):
    """Let a host stream's work fail."""

    def broken():
        raise InferenceFailed("broken")

    stream.submit(broken)
