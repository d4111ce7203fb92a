"""What every backend must do, whatever library it stands on."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import pytest
from support import fake_onnxruntime_cuda, host_cuda
from support.fake_tensorrt import Told, fake
from support.fake_tensorrt_runtime import fake_plan
from support.models import double, lookup, network
from support.tensorrt_versions import V10_3, V10_13, V11_4

from edge_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edge_runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend
from edge_runtime.backends.tensorrt import TensorrtBackend
from edge_runtime.device.cuda import CudaDevice
from edge_runtime.device.host import HostDevice
from edge_runtime.errors import EngineError, EngineRejected, InferenceFailed


@dataclass
class Loaded:
    """A backend, its device, a stream, and what makes an engine of an ONNX network."""

    backend: Any
    device: Any
    stream: Any
    engine: Any
    violations: list


def on_the_processor():
    device = HostDevice(1)
    return Loaded(OnnxRuntimeBackend(), device, device.stream(), bytes, [])


def tensorrt(monkeypatch, tmp_path, version, without=(), name="tensorrt"):
    told = Told()
    monkeypatch.setitem(sys.modules, name, fake(version, told, without, name))
    device = emulated()
    backend = TensorrtBackend(name, tmp_path)
    return Loaded(backend, device, device.stream(), fake_plan, told.runtime.violations)


def onnxruntime_cuda(monkeypatch):
    session = fake_onnxruntime_cuda.session_class(fake_onnxruntime_cuda.Told())
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", fake_onnxruntime_cuda.providers)
    device = emulated()
    return Loaded(OnnxRuntimeCudaBackend(), device, device.stream(), bytes, [])


def emulated():
    host_cuda.load()
    host_cuda.reset(sm="8.9")
    return CudaDevice()


BACKENDS = {
    "onnxruntime": lambda *_: on_the_processor(),
    "tensorrt 10.3": lambda *given: tensorrt(*given, "10.3.0", V10_3),
    "tensorrt 10.13": lambda *given: tensorrt(*given, "10.13.3.9", V10_13),
    "tensorrt 11.4": lambda *given: tensorrt(*given, "11.4.0.106", V11_4),
    "tensorrt_rtx": lambda *given: tensorrt(*given, "1.7.1", (), "tensorrt_rtx"),
    "onnxruntime cuda": lambda monkeypatch, _: onnxruntime_cuda(monkeypatch),
}


@pytest.fixture(params=list(BACKENDS))
def loaded(request, monkeypatch, tmp_path):
    found = BACKENDS[request.param](monkeypatch, tmp_path)
    yield found
    found.device.close()
    assert found.violations == []


def run(session, loaded, values):
    device, stream = loaded.device, loaded.stream
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
    session = loaded.backend.load(loaded.engine(double()), loaded.device)
    assert run(session, loaded, [1, 2, 3, 4]) == [2, 4, 6, 8]
    assert run(session, loaded, [5, 5, 5, 5]) == [10, 10, 10, 10]


def test_a_session_tells_its_tensors(loaded):
    session = loaded.backend.load(loaded.engine(double((1, 2, 3))), loaded.device)
    assert [(t.name, t.shape, t.dtype) for t in session.inputs] == [("x", (1, 2, 3), "float32")]
    assert [(t.name, t.shape, t.dtype) for t in session.outputs] == [("y", (1, 2, 3), "float32")]
    assert loaded.backend.version[0].isdigit()
    assert session.device_memory_bytes >= 0


@pytest.mark.parametrize("name", ["x", "y"])
def test_wrong_bindings_are_refused_before_anything_runs(loaded, name):
    device = loaded.device
    session = loaded.backend.load(loaded.engine(double()), device)
    wrong = {
        "float64": {name: device.empty((1, 4), "float64")},
        "4, 1": {name: device.empty((4, 1), "float32")},
        "no buffer": {name: None},
        "no tensor 'z'": {"z": device.empty((1, 4), "float32")},
    }
    for message, change in wrong.items():
        with pytest.raises(EngineError, match=message):
            session.enqueue(bind(session, device, **change), loaded.stream)
    loaded.stream.synchronize()
    assert run(session, loaded, [1, 1, 1, 1]) == [2, 2, 2, 2]


def test_a_closed_session_takes_no_run_and_closes_twice(loaded):
    session = loaded.backend.load(loaded.engine(double()), loaded.device)
    bindings = bind(session, loaded.device)
    session.close()
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.enqueue(bindings, loaded.stream)


def test_a_run_that_was_enqueued_before_the_close_still_ends(loaded):
    device, stream = loaded.device, loaded.stream
    session = loaded.backend.load(loaded.engine(double()), device)
    bindings, ones = bind(session, device), np.ones((1, 4), np.float32)
    device.upload(ones, bindings["x"], stream)
    session.enqueue(bindings, stream)
    session.close()
    out = np.zeros((1, 4), np.float32)
    device.download(bindings["y"], out, stream)
    stream.synchronize()
    assert out.tolist() == [[2, 2, 2, 2]]


def test_a_failure_in_flight_surfaces_at_synchronize_and_the_session_lives_on():
    """Of the processor: a kernel that fails on a GPU takes the whole process's hold on it away."""
    loaded = on_the_processor()
    session = loaded.backend.load(lookup(), loaded.device)
    assert run(session, loaded, [1]) == [6]
    with pytest.raises(InferenceFailed):
        run(session, loaded, [99])
    loaded.stream.reset()
    assert run(session, loaded, [2]) == [7]
    loaded.device.close()


def fill(device, session, lanes, sessions):
    """Enqueue ten runs over lanes in turn; each with an input of its own. Returns the outputs."""
    kept = []
    for number in range(10):
        lane, one = lanes[number % len(lanes)], sessions[number % len(sessions)]
        bindings, out = bind(session, device), np.zeros((1, 4), np.float32)
        given = np.full((1, 4), number, np.float32)
        device.upload(given, bindings["x"], lane)
        one.enqueue(bindings, lane)
        device.download(bindings["y"], out, lane)
        kept.append((out, given, bindings))
    for lane in lanes:
        lane.synchronize()
    return [float(out[0, 0]) for out, _, _ in kept]


def test_runs_on_two_streams_keep_their_own_results(loaded):
    session = loaded.backend.load(loaded.engine(double()), loaded.device)
    lanes = (loaded.stream, loaded.device.stream())
    assert fill(loaded.device, session, lanes, (session,)) == [2.0 * i for i in range(10)]


def test_another_session_runs_beside_the_first_and_outlives_it(loaded):
    session = loaded.backend.load(loaded.engine(double()), loaded.device)
    other = session.another()
    assert (other.inputs, other.outputs) == (session.inputs, session.outputs)
    lanes = (loaded.stream, loaded.device.stream())
    assert fill(loaded.device, session, lanes, (session, other)) == [2.0 * i for i in range(10)]
    if other is not session:
        session.close()
    assert run(other, loaded, [4, 4, 4, 4]) == [8, 8, 8, 8]


def test_what_ran_once_can_be_captured_or_says_why_not(loaded):
    device, stream = loaded.device, loaded.stream
    session = loaded.backend.load(loaded.engine(double()), device)
    run(session, loaded, [0, 0, 0, 0])
    if session.not_capturable:
        return
    bindings, given, out = bind(session, device), device.staging((1, 4), "float32"), device.staging((1, 4), "float32")

    def work():
        device.upload(given, bindings["x"], stream)
        session.enqueue(bindings, stream)
        device.download(bindings["y"], out, stream)

    graph = device.capture(stream, work)
    for value in (3, 5):
        given[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert out.tolist() == [[2 * value] * 4]
    graph.close()


@pytest.mark.parametrize("data", [b"", b"no engine", double()[:-20]], ids=["empty", "text", "cut"])
def test_bytes_that_are_no_engine_are_rejected(loaded, data):
    with pytest.raises(EngineRejected):
        loaded.backend.load(data, loaded.device)


def test_a_cut_engine_is_rejected(loaded):
    with pytest.raises(EngineRejected):
        loaded.backend.load(loaded.engine(double())[:-20], loaded.device)


def test_an_engine_without_fixed_shapes_is_rejected(loaded):
    from onnx import helper

    free = network([helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 4)}, {"y": ("n", 4)}, {})
    with pytest.raises(EngineRejected, match="fixed shapes"):
        loaded.backend.load(loaded.engine(free), loaded.device)
