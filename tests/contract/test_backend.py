"""What every backend must do, whatever library it stands on."""

import numpy as np
import pytest
from support.models import double, lookup, network

from edge_runtime.backends.registry import BACKENDS, load_backend, load_device
from edge_runtime.errors import EngineError, EngineRejected, InferenceFailed


@pytest.fixture(params=list(BACKENDS))
def loaded(request):
    """The backend, its device, and a stream."""
    device = load_device(request.param, threads=1)
    yield load_backend(request.param), device, device.stream()
    device.close()


def run(session, device, stream, values):
    array = np.asarray([values], dtype=np.float32)
    bindings = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
    device.upload(array, bindings["x"], stream)
    session.enqueue(bindings, stream)
    out = np.zeros(session.outputs[0].shape, dtype=np.float32)
    device.download(bindings["y"], out, stream)
    stream.synchronize()
    return out[0].tolist()


def bind(session, device, **changes):
    bindings = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
    bindings.update(changes)
    return {name: buffer for name, buffer in bindings.items() if buffer is not None}


def test_a_run_writes_into_the_bound_output(loaded):
    backend, device, stream = loaded
    session = backend.load(double(), device)
    assert run(session, device, stream, [1, 2, 3, 4]) == [2, 4, 6, 8]
    assert run(session, device, stream, [5, 5, 5, 5]) == [10, 10, 10, 10]


def test_a_session_tells_its_tensors(loaded):
    backend, device, _ = loaded
    session = backend.load(double((1, 2, 3)), device)
    assert [(t.name, t.shape, t.dtype) for t in session.inputs] == [("x", (1, 2, 3), "float32")]
    assert [(t.name, t.shape, t.dtype) for t in session.outputs] == [("y", (1, 2, 3), "float32")]
    assert backend.version[0].isdigit()


@pytest.mark.parametrize("name", ["x", "y"])
def test_wrong_bindings_are_refused_before_anything_runs(loaded, name):
    backend, device, stream = loaded
    session = backend.load(double(), device)
    wrong = {
        "float64": {name: device.empty((1, 4), "float64")},
        "4, 1": {name: device.empty((4, 1), "float32")},
        "no buffer": {name: None},
        "no tensor 'z'": {"z": device.empty((1, 4), "float32")},
    }
    for message, change in wrong.items():
        with pytest.raises(EngineError, match=message):
            session.enqueue(bind(session, device, **change), stream)
    stream.synchronize()


def test_a_closed_session_takes_no_run_and_closes_twice(loaded):
    backend, device, stream = loaded
    session = backend.load(double(), device)
    bindings = bind(session, device)
    session.close()
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.enqueue(bindings, stream)


def test_a_run_that_was_enqueued_before_the_close_still_ends(loaded):
    backend, device, stream = loaded
    session = backend.load(double(), device)
    bindings = bind(session, device)
    device.upload(np.ones((1, 4), np.float32), bindings["x"], stream)
    session.enqueue(bindings, stream)
    session.close()
    out = np.zeros((1, 4), np.float32)
    device.download(bindings["y"], out, stream)
    stream.synchronize()
    assert out.tolist() == [[2, 2, 2, 2]]


def test_a_failure_in_flight_surfaces_at_synchronize_and_the_session_lives_on(loaded):
    backend, device, stream = loaded
    session = backend.load(lookup(), device)
    assert run(session, device, stream, [1]) == [6]
    with pytest.raises(InferenceFailed):
        run(session, device, stream, [99])
    stream.reset()
    assert run(session, device, stream, [2]) == [7]


def test_runs_on_two_streams_keep_their_own_results(loaded):
    backend, device, stream = loaded
    session, other = backend.load(double(), device), device.stream()
    results = []
    for lane in (stream, other) * 5:
        bindings, out = bind(session, device), np.zeros((1, 4), np.float32)
        device.upload(np.full((1, 4), len(results), np.float32), bindings["x"], lane)
        session.enqueue(bindings, lane)
        device.download(bindings["y"], out, lane)
        results.append(out)
    stream.synchronize()
    other.synchronize()
    assert [float(out[0, 0]) for out in results] == [2.0 * i for i in range(10)]


@pytest.mark.parametrize("data", [b"", b"no engine", double()[:-20]], ids=["empty", "text", "cut"])
def test_bytes_that_are_no_engine_are_rejected(loaded, data):
    backend, device, _ = loaded
    with pytest.raises(EngineRejected):
        backend.load(data, device)


def test_an_engine_without_fixed_shapes_is_rejected(loaded):
    backend, device, _ = loaded
    from onnx import helper

    free = network([helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 4)}, {"y": ("n", 4)}, {})
    with pytest.raises(EngineRejected, match="fixed shapes"):
        backend.load(free, device)
