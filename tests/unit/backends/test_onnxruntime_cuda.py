"""ONNX Runtime's CUDA provider: on our stream, with our options, and never silently on the processor."""

import numpy as np
import onnxruntime
import pytest
from support import host_cuda
from support.fake_onnxruntime_cuda import Told, providers, session_class
from support.models import double

from edge_runtime.backends import onnxruntime_cuda
from edge_runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend, provider_options
from edge_runtime.backends.smoke_network import SMOKE_INPUT, SMOKE_NETWORK
from edge_runtime.device.cuda import CudaDevice
from edge_runtime.device.host import HostDevice
from edge_runtime.errors import BackendUnavailable, EngineRejected, InferenceFailed, OutOfDeviceMemory


@pytest.fixture
def device():
    host_cuda.load()
    host_cuda.reset(sm="8.9")
    device = CudaDevice()
    yield device
    device.close()


@pytest.fixture
def told(monkeypatch):
    """What the library is told, and what it is to do."""
    found = Told()
    monkeypatch.setattr(onnxruntime, "InferenceSession", session_class(found))
    monkeypatch.setattr(onnxruntime, "get_available_providers", providers)
    return found


def run(session, device, stream):
    buffers = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
    given, out = np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32)
    device.upload(given, buffers["x"], stream)
    session.enqueue(buffers, stream)
    device.download(buffers["y"], out, stream)
    stream.synchronize()
    return out.tolist()


def test_each_stream_has_a_session_of_its_own_made_once(device, told):
    session = OnnxRuntimeCudaBackend().load(double(), device)
    first, second = device.stream(), device.stream()
    told.options.clear()
    for stream in (first, second, first, second):
        assert run(session, device, stream) == [[2, 2, 2, 2]]
    assert [int(options["user_compute_stream"]) for options in told.options] == [first.handle, second.handle]


def test_the_options_keep_memory_from_growing_and_numbers_as_they_were_measured():
    options = provider_options(1, 77, 1 << 30)
    assert options == {
        "device_id": "1", "user_compute_stream": "77", "gpu_mem_limit": str(1 << 30), "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "1",
    }  # fmt: skip
    assert "gpu_mem_limit" not in provider_options(0, 77, 0)


def test_the_entries_are_those_that_the_library_reads():
    """The library that is installed refuses what contradicts the entry, so it reads it by this name."""
    options = onnxruntime_cuda._session_options(onnxruntime_cuda.SESSION_ENTRIES)
    options.log_severity_level = 4
    with pytest.raises(Exception, match="disabled fallback to the CPU EP"):
        onnxruntime.InferenceSession(double(), options, providers=["CPUExecutionProvider"])


def test_a_provider_that_answers_wrongly_is_refused_before_any_engine(device, told):
    told.factor = 1.01
    with pytest.raises(BackendUnavailable, match=r"computes wrongly on Emulated GPU .*differs from the processor by"):
        OnnxRuntimeCudaBackend().load(double(), device)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"falls_back": True}, BackendUnavailable, "fell back to CPUExecutionProvider: .*engines.device to cpu"),
        ({"fails": "CUDNN_STATUS_NOT_SUPPORTED"}, BackendUnavailable, "does not work on .*CUDNN_STATUS_NOT_SUPPORTED"),
        ({"refuses": "libcudnn.so.9: cannot open"}, BackendUnavailable, "does not work on .*libcudnn.so.9"),
        ({"refuses": "Failed to allocate memory for requested buffer"}, OutOfDeviceMemory, "Failed to allocate"),
    ],
)  # fmt: skip
def test_a_provider_that_is_listed_and_does_not_work_is_refused_with_the_librarys_words(
    device, told, change, kind, message
):
    for name, value in change.items():
        setattr(told, name, value)
    with pytest.raises(kind, match=message):
        OnnxRuntimeCudaBackend().load(double(), device)


def test_a_node_that_the_provider_leaves_to_the_processor_refuses_the_engine(device, told):
    told.left_to_the_processor = ("Mul",)
    with pytest.raises(BackendUnavailable, match="does not run every node of this network; build it for TensorRT"):
        OnnxRuntimeCudaBackend().load(double(), device)


def test_the_network_that_tries_the_provider_is_tried_once(device, told):
    backend = OnnxRuntimeCudaBackend()
    backend.load(double(), device)
    made = len(told.options)
    backend.load(double(), device)
    assert len(told.options) == made + 1


def test_a_run_that_fails_says_why_and_the_next_one_runs(device, told):
    session, stream = OnnxRuntimeCudaBackend().load(double(), device), device.stream()
    told.fails = "CUDA failure 700"
    with pytest.raises(InferenceFailed, match="failed in a run: CUDA failure 700"):
        run(session, device, stream)
    assert run(session, device, stream) == [[2, 2, 2, 2]]


def test_bytes_that_are_no_network_are_rejected(device, told):
    with pytest.raises(EngineRejected, match=r"ONNX Runtime .* does not take this engine"):
        OnnxRuntimeCudaBackend().load(b"none", device)


def test_the_build_for_processors_and_the_host_are_refused():
    with pytest.raises(BackendUnavailable, match="runs on a GPU, not on cpu"):
        OnnxRuntimeCudaBackend().load(double(), HostDevice())


def test_the_installed_build_has_no_provider(device):
    with pytest.raises(BackendUnavailable, match=r"is built without CUDA; see docs/gpu.md"):
        OnnxRuntimeCudaBackend().load(double(), device)


def test_the_network_that_tries_the_provider_is_a_convolution():
    session = onnxruntime.InferenceSession(SMOKE_NETWORK, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": SMOKE_INPUT})
    weights = (np.arange(36) % 7 - 3).reshape(2, 2, 3, 3) / 8
    corner = (SMOKE_INPUT[0, :, :2, :2] * weights[:, :, 1:, 1:]).sum(axis=(1, 2, 3))
    assert found.shape == (1, 2, 8, 8)
    np.testing.assert_allclose(found[0, :, 0, 0], np.maximum(corner, 0), atol=1e-6)
