"""What every device must do, whatever it is."""

import threading
import time

import numpy as np
import pytest
from support import devices

from edge_runtime.device.base import Priority
from edge_runtime.errors import CaptureFailed, DeviceError, EngineError, InferenceFailed, OutOfDeviceMemory

_held = []


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(params=devices.KINDS)
def device(request, folder):
    device = devices.open_device(request.param, folder)
    yield device
    while _held:
        _held.pop().set()
    devices.close(device)


@pytest.fixture
def capturing(device):
    if not device.abilities.graphs:
        pytest.skip("this binding has no graphs")
    return device


def staged(device, values):
    """A pinned array with these values."""
    array = device.staging(np.shape(values), "float32")
    array[...] = values
    return array


def upload(device, stream, values):
    array = np.asarray(values, dtype=np.float32)
    buffer = device.empty(array.shape, "float32")
    device.upload(array, buffer, stream)
    return buffer


@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "pageable"])
def test_what_was_uploaded_comes_down_again(device, pinned):
    stream = device.stream()
    values, out = (staged(device, [k, k, k]) if pinned else np.full(3, k, np.float32) for k in (4, 0))
    buffer = device.empty((3,), "float32")
    device.upload(values, buffer, stream)
    device.download(buffer, out, stream)
    stream.synchronize()
    assert out.tolist() == [4, 4, 4]


@pytest.mark.parametrize("shape", [(0,), (), (2, 3, 4)])
def test_any_shape_is_copied(device, shape):
    stream, out = device.stream(), device.staging(shape, "int16")
    values = np.arange(out.size, dtype=np.int16).reshape(shape)
    buffer = device.empty(shape, "int16")
    device.upload(values, buffer, stream)
    device.download(buffer, out, stream)
    stream.synchronize()
    assert out.shape == shape and np.array_equal(out, values)


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
    buffer, out = upload(device, first, [0]), staged(device, [-1])
    first.synchronize()
    held = hold(first)
    values = staged(device, [7])
    device.upload(values, buffer, first)
    first.record(event)
    second.wait(event)
    device.download(buffer, out, second)
    time.sleep(0.02)  # what does not wait is done by now
    assert out[0] == -1
    held.set()
    second.synchronize()
    assert out[0] == 7


def test_two_streams_do_not_wait_for_each_other(device):
    first, second = device.stream(), device.stream()
    held = hold(first)
    out = staged(device, [0])
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
    stream, event, done = device.stream(), device.event(), []
    fail(stream)
    out = staged(device, [0])
    device.download(upload(device, stream, [3]), out, stream)
    devices.append(stream, lambda: done.append(1))
    stream.record(event)
    for _ in range(2):
        with pytest.raises(InferenceFailed, match="broken"):
            stream.synchronize()
    with pytest.raises(InferenceFailed, match="broken"):
        event.synchronize()
    assert done == []
    if device.facts.kind == "cpu":  # copies and kernels cannot be taken back from a CUDA stream
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
    assert threading.active_count() <= threads
    for use in (device.stream, device.event, lambda: device.empty((1,), "float32")):
        with pytest.raises(EngineError, match="closed"):
            use()


def test_streams_of_both_priorities_do_the_same_work(device):
    for priority in Priority:
        stream, out = device.stream(priority), staged(device, [0])
        device.download(upload(device, stream, [2]), out, stream)
        stream.synchronize()
        assert out[0] == 2


def test_facts_and_abilities_agree(device):
    facts, abilities = device.facts, device.abilities
    assert device.name and device.concurrency >= 1
    assert abilities.shared_memory == (device.view(device.empty((1,), "uint8")) is not None)
    assert abilities.shared_memory == (facts.kind == "cpu" or bool(facts.integrated))
    if facts.kind == "gpu":
        assert facts.compute_capability >= (7, 5) and facts.driver_version >= (12, 6)
        assert "SM {}.{}".format(*facts.compute_capability) in device.name
        assert facts.memory_bytes >= device.free_bytes() > 0 and facts.pci_bus_id


def test_a_buffer_that_is_shared_is_its_view_and_is_not_copied(device):
    if not device.abilities.shared_memory:
        pytest.skip("nothing is shared")
    buffer, stream, out = device.empty((2,), "float32"), device.stream(), staged(device, [0, 0])
    view = device.view(buffer)
    view[:] = [3, 4]
    device.upload(view, buffer, stream)
    device.download(buffer, view, stream)
    device.download(buffer, out, stream)
    stream.synchronize()
    assert out.tolist() == [3, 4] == view.tolist()


def test_allocations_are_counted_and_a_steady_loop_has_none(device):
    before, stream = device.allocations, device.stream()
    values, out, buffer = staged(device, [1]), staged(device, [0]), device.empty((1,), "float32")
    event, counted = device.event(), device.allocations
    assert counted == before + 3
    for k in range(20):
        values[0] = k
        device.upload(values, buffer, stream)
        device.download(buffer, out, stream)
        stream.record(event)
        event.synchronize()
        assert out[0] == k
    assert device.allocations == counted


def test_what_is_taken_is_no_longer_free_and_comes_back(device):
    if device.free_bytes() is None or device.abilities.shared_memory:
        pytest.skip("nobody counts it")
    before = device.free_bytes()
    buffer = device.empty((1 << 26,), "uint8")
    assert device.free_bytes() <= before - (1 << 26)
    assert buffer.address % 256 == 0
    del buffer
    assert device.free_bytes() >= before - (1 << 25)


def test_a_pinned_array_may_be_read_after_its_device_is_closed(device):
    kept, part = staged(device, [5, 6]), staged(device, [7, 8])[1:]
    device.close()
    assert (kept.tolist(), part.tolist()) == ([5, 6], [8])


def test_too_much_memory_is_refused_with_the_numbers(device):
    if device.facts.kind == "cpu":
        pytest.skip("the host swaps or kills")
    with pytest.raises(
        OutOfDeviceMemory, match=r"cuMem\w+ failed with CUDA_ERROR_OUT_OF_MEMORY; [\d,]+ bytes were asked"
    ):
        device.empty((1 << 50,), "uint8")
    device.empty((1 << 10,), "uint8")


def test_threads_share_a_device(device):
    sums = []

    def work(k):
        stream, out = device.stream(), staged(device, [0])
        for _ in range(10):
            device.download(upload(device, stream, [k]), out, stream)
            stream.synchronize()
            sums.append(out[0] - k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [0] * 40


def test_what_is_of_another_device_is_refused(device):
    class Other:
        shape, dtype, address = (1,), "float32", 256

    stream = device.stream()
    with pytest.raises(EngineError, match="another device"):
        device.upload(np.zeros(1, np.float32), Other(), stream)
    with pytest.raises(EngineError, match="another device"):
        device.upload(np.zeros(1, np.float32), device.empty((1,), "float32"), object())


def test_a_second_device_does_not_end_the_first(device, folder):
    if device.facts.kind == "cpu":
        pytest.skip("there is no context")
    second = type(device)()
    second.close()
    stream, out = device.stream(), staged(device, [0])
    device.download(upload(device, stream, [9]), out, stream)
    stream.synchronize()
    assert out[0] == 9


def test_a_kernel_computes_from_buffers_and_scalars(device):
    if not device.abilities.kernels:
        with pytest.raises(DeviceError, match="not supported"):
            device.load_module(b"")
        return
    stream, out = device.stream(), staged(device, [0] * 4)
    module = device.load_module(devices.image(device))
    kernel, into = module.kernel("scale"), device.empty((4,), "float32")
    source = upload(device, stream, [1, 2, 3, 4])
    for factor in (2, 3):
        kernel.launch((1, 1, 1), (32, 1, 1), (into, source, np.int32(4), np.float32(factor)), stream)
        device.download(into, out, stream)
        stream.synchronize()
        assert out.tolist() == [factor * k for k in (1, 2, 3, 4)]
    with pytest.raises(EngineError, match="NumPy scalars, not int"):
        kernel.launch((1, 1, 1), (32, 1, 1), (into, source, 4, 2.0), stream)
    with pytest.raises(DeviceError, match="CUDA_ERROR_NOT_FOUND"):
        module.kernel("nothing")


def test_an_image_that_is_none_is_refused(device):
    if device.abilities.kernels:
        with pytest.raises(DeviceError, match=r"cuModuleLoadData(Ex)? failed with CUDA_ERROR_INVALID_IMAGE"):
            device.load_module(b"no kernels")


def test_a_graph_is_recorded_once_and_launched_with_what_is_in_its_buffers(capturing):
    device, stream = capturing, capturing.stream()
    values, out, buffer = staged(device, [0]), staged(device, [-1]), device.empty((1,), "float32")

    def work():
        device.upload(values, buffer, stream)
        device.download(buffer, out, stream)

    graph = device.capture(stream, work)
    stream.synchronize()
    assert out[0] == -1
    for on in (stream, device.stream()):
        for k in range(3):
            values[0] = k
            graph.launch(on)
            on.synchronize()
            assert out[0] == k
    graph.close()
    graph.close()
    with pytest.raises(EngineError, match="closed"):
        graph.launch(stream)


def test_a_graph_keeps_what_it_uses(capturing):
    device, stream, out = capturing, capturing.stream(), staged(capturing, [0])

    def work():
        buffer = device.empty((1,), "float32") if device.facts.kind == "cpu" else buffers.pop()
        device.upload(arrays.pop(), buffer, stream)
        device.download(buffer, out, stream)

    arrays, buffers = [staged(device, [6])], [device.empty((1,), "float32")]
    graph = device.capture(stream, work)
    device.empty((1,), "float32"), staged(device, [0])
    graph.launch(stream)
    stream.synchronize()
    assert out[0] == 6


def test_events_in_a_graph_tell_the_time_of_each_launch(capturing):
    device, stream = capturing, capturing.stream()
    began, ended, values, buffer = device.event(), device.event(), staged(device, [0]), device.empty((1,), "float32")

    def work():
        stream.record(began)
        device.upload(values, buffer, stream)
        stream.record(ended)

    graph = device.capture(stream, work)
    with pytest.raises(EngineError):
        ended.synchronize()
    for _ in range(2):
        graph.launch(stream)
        ended.synchronize()
        assert ended.elapsed_seconds(began) >= 0


def test_a_capture_that_fails_leaves_the_stream_as_it_was(capturing):
    device, stream, outside = capturing, capturing.stream(), capturing.event()
    device.stream().record(outside)
    for work in (stream.synchronize, lambda: stream.wait(outside), lambda: device.capture(stream, lambda: None)):
        with pytest.raises(CaptureFailed):
            device.capture(stream, work)
    with pytest.raises(InferenceFailed, match="mine"):
        device.capture(stream, lambda: raise_it(InferenceFailed("mine")))
    out = staged(device, [0])
    device.download(upload(device, stream, [3]), out, stream)
    stream.synchronize()
    assert out[0] == 3


def test_a_graph_takes_in_the_streams_that_wait_for_it(capturing):
    if capturing.facts.kind == "cpu":
        pytest.skip("a graph of the host has one stream")
    device, stream, side = capturing, capturing.stream(), capturing.stream()
    values, out, buffer = staged(device, [0]), staged(device, [-1]), device.empty((1,), "float32")
    uploaded, downloaded = device.event(), device.event()

    def work():
        device.upload(values, buffer, stream)
        stream.record(uploaded)
        side.wait(uploaded)
        device.download(buffer, out, side)
        side.record(downloaded)
        stream.wait(downloaded)

    graph = device.capture(stream, work)
    for k in range(3):
        values[0] = k
        graph.launch(stream)
        stream.synchronize()
        assert out[0] == k
    device.download(upload(device, side, [8]), out, side)
    side.synchronize()
    assert out[0] == 8

    def unjoined():
        stream.record(uploaded)
        side.wait(uploaded)
        device.download(buffer, out, side)

    with pytest.raises(CaptureFailed, match="UNJOINED"):
        device.capture(stream, unjoined)
    side.synchronize()
    stream.synchronize()


def test_a_failure_in_a_graph_is_of_the_stream_it_was_launched_on(capturing):
    if capturing.facts.kind == "cpu":
        pytest.skip("a graph of the host fails on the stream it was recorded on")
    device, first, second, ended = capturing, capturing.stream(), capturing.stream(), capturing.event()

    def work():
        fail(first)
        first.record(ended)

    graph = device.capture(first, work)
    graph.launch(second)
    for failing in (second, ended):
        with pytest.raises(InferenceFailed, match="broken"):
            failing.synchronize()
    first.synchronize()


def test_a_binding_without_graphs_says_so(device):
    if not device.abilities.graphs:
        with pytest.raises(CaptureFailed, match="no CUDA graphs"):
            device.capture(device.stream(), lambda: None)


def test_the_order_test_notices_a_device_that_ignores_events(device, monkeypatch):
    stream = type(device.stream())
    monkeypatch.setattr(stream, "wait", lambda self, event: None)
    with pytest.raises(AssertionError):
        test_a_stream_waits_for_an_event_of_another_stream(device)


def hold(stream):
    """Keep a stream busy until the event that this returns is set."""
    held = threading.Event()
    _held.append(held)
    devices.append(stream, lambda: held.wait(30))
    return held


def fail(stream):
    """Let a stream's work fail."""
    devices.append(stream, lambda: raise_it(InferenceFailed("broken")))


def raise_it(error):
    raise error
