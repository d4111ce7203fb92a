"""TensorRT as a library that is told exactly what it must be told, whose words reach our log and errors."""

import logging
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from onnx import helper
from support import host_cuda
from support.fake_tensorrt import Told, fake
from support.fake_tensorrt_runtime import fake_plan
from support.models import double, network
from support.tensorrt_versions import V10_3, V10_13, V11_4

from edge_runtime.backends.tensorrt import TensorrtBackend
from edge_runtime.backends.tensorrt_log import Words, make_recorder
from edge_runtime.device.cuda import CudaDevice
from edge_runtime.device.host import HostDevice
from edge_runtime.errors import BackendUnavailable, DeviceLost, EngineRejected, InferenceFailed, OutOfDeviceMemory

VERSIONS = {"10.3.0": V10_3, "10.13.3.9": V10_13, "11.4.0.106": V11_4, "1.7.1": ()}
OPEN = network([helper.make_node("Add", ["x", "x"], ["y"])], {"x": ("n", 4)}, {"y": ("n", 4)}, {})
PROFILES = [{"x": [[1, 4], [8, 4], [16, 4]]}, {"x": [[1, 4], [2, 4], [4, 4]]}, {"x": [[32, 4], [32, 4], [64, 4]]}]


@pytest.fixture
def device():
    host_cuda.load()
    host_cuda.reset(sm="8.9")
    device = CudaDevice()
    yield device
    device.close()


@pytest.fixture
def library(monkeypatch, tmp_path):
    """A backend over the library of a version, and what that was told."""

    def make(version="10.13.3.9", cache=None):
        told, name = Told(), "tensorrt_rtx" if version.startswith("1.") else "tensorrt"
        monkeypatch.setitem(sys.modules, name, fake(version, told, VERSIONS[version], name))
        return TensorrtBackend(name, cache), told.runtime

    return make


def run(session, device, stream, value=1.0):
    """One run on arrays of that value; the output."""
    buffers = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
    (given,) = session.inputs
    array = np.full(given.shape, value, given.dtype)
    out = np.zeros(session.outputs[0].shape, "float32")
    device.upload(array, buffers[given.name], stream)
    session.enqueue(buffers, stream)
    device.download(buffers[session.outputs[0].name], out, stream)
    stream.synchronize()
    return out


@pytest.mark.parametrize("version", VERSIONS)
def test_code_for_the_host_is_never_let_run(library, device, version):
    backend, told = library(version)
    backend.load(fake_plan(double()), device)
    assert told.host_code_allowed is False


@pytest.mark.parametrize("version", VERSIONS)
def test_every_context_runs_in_memory_of_its_own_that_the_device_gave(library, device, version):
    backend, told = library(version)
    session = backend.load(fake_plan(double(), scratch_bytes=1000), device)
    other = session.another()
    addresses = [context.memory[0] for context in told.contexts]
    assert len(set(addresses)) == 2 and all(address % 256 == 0 for address in addresses)
    assert [context.memory[1] for context in told.contexts] == [None if version == "10.3.0" else 1000] * 2
    assert session.device_memory_bytes == other.device_memory_bytes == 1000


def test_rtx_makes_no_graphs_of_its_own_and_compiles_before_the_first_run(library, device):
    backend, told = library("1.7.1")
    backend.load(fake_plan(double()), device)
    (context,) = told.contexts
    assert context.config.cuda_graph_strategy == "DISABLED"
    assert context.config.dynamic_shapes_kernel_specialization_strategy == "EAGER"


def test_addresses_are_told_once_for_the_same_buffers(library, device):
    backend, told = library()
    session, stream = backend.load(fake_plan(double()), device), device.stream()
    first, second = ({t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs} for _ in "ab")
    counts = []
    for buffers in (first, first, second, second, first):
        session.enqueue(buffers, stream)
        counts.append(told.contexts[0].address_calls)
    stream.synchronize()
    assert counts == [2, 2, 4, 4, 6]


def test_a_steady_state_allocates_nothing(library, device):
    backend, _ = library()
    session, stream = backend.load(fake_plan(double()), device), device.stream()
    buffers = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
    session.enqueue(buffers, stream)
    before = device.allocations
    for _ in range(20):
        session.enqueue(buffers, stream)
    stream.synchronize()
    assert device.allocations == before


def held(stream):
    """Nothing that follows on the stream is done until the event that is returned is set."""
    event = threading.Event()
    stream.host_function(lambda: event.wait(30))
    return event


def test_a_run_on_another_stream_waits_for_the_last_one_of_its_context(library, device):
    backend, _ = library()
    session, first, second = backend.load(fake_plan(double()), device), device.stream(), device.stream()
    buffers = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
    session.enqueue(buffers, first)
    gate, done = held(first), threading.Event()
    session.enqueue(buffers, first)
    session.enqueue(buffers, second)
    second.host_function(done.set)
    assert not done.wait(0.2)
    gate.set()
    second.synchronize()
    assert done.is_set()


def test_a_context_is_freed_when_its_runs_have_ended(library, device):
    backend, _ = library()
    session, stream = backend.load(fake_plan(double()), device), device.stream()
    buffers = {t.name: device.empty(t.shape, t.dtype) for t in session.inputs + session.outputs}
    gate = held(stream)
    session.enqueue(buffers, stream)
    closing = threading.Thread(target=session.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    gate.set()
    closing.join(30)
    assert not closing.is_alive()


@pytest.mark.parametrize(("rows", "profile"), [(8, 0), (2, 1), (3, 1), (16, 0), (64, 2)])
def test_the_profile_tuned_nearest_to_the_cards_shape_is_chosen(library, device, rows, profile):
    backend, told = library()
    session = backend.load(fake_plan(OPEN, profiles=PROFILES), device, {"x": (rows, 4)})
    assert told.contexts[0].profile == profile
    assert (session.inputs[0].shape, session.outputs[0].shape) == ((rows, 4), (rows, 4))
    assert (run(session, device, device.stream(), 3.0) == 6.0).all()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [({"x": (20, 4)}, "no optimization profile"), ({"x": (2, 5)}, "expected"), ({"x": (2,)}, "expected"),
     ({}, "fixed shapes"), (None, "fixed shapes")],
)  # fmt: skip
def test_a_shape_that_no_profile_takes_is_refused(library, device, shapes, message):
    backend, _ = library()
    with pytest.raises(EngineRejected, match=message):
        backend.load(fake_plan(OPEN, profiles=PROFILES), device, shapes)


@pytest.mark.parametrize(
    ("header", "message"),
    [({"host": ["x"]}, "'x' is read or written on the host"), ({"bf16": ["y"]}, "'y' is BF16, which this backend")],
)
def test_a_tensor_that_cannot_be_bound_is_refused(library, device, header, message):
    backend, _ = library()
    with pytest.raises(EngineRejected, match=message):
        backend.load(fake_plan(double(), **header), device)


def test_auxiliary_streams_are_ours(library, device):
    backend, told = library()
    session = backend.load(fake_plan(double(), aux_streams=2), device)
    assert (run(session, device, device.stream()) == 2).all()
    assert len(set(told.contexts[0].aux)) == 2
    session.close()


def test_the_first_run_cannot_be_captured_and_says_so(library, device):
    backend, told = library("1.7.1")
    session, stream = backend.load(fake_plan(double()), device), device.stream()
    assert "has not run yet" in session.not_capturable
    run(session, device, stream)
    assert session.not_capturable == ""
    assert "has not run yet" in session.another().not_capturable
    told.not_capturable = True
    assert "tensorrt_rtx 1.7.1 says that this network cannot be captured" in session.not_capturable


def test_a_run_that_the_library_does_not_take_fails_with_its_words_once_and_the_next_runs(library, device, caplog):
    backend, told = library()
    session, stream = backend.load(fake_plan(double()), device), device.stream()
    told.fails = ("FAILED_EXECUTION", "enqueueV3: Error Code 1:\n the words")
    with pytest.raises(InferenceFailed, match=r"failed in a run: enqueueV3: Error Code 1: the words$"):
        run(session, device, stream)
    assert (run(session, device, stream) == 2).all()
    told.fails = ("FAILED_EXECUTION", "other words")
    with pytest.raises(InferenceFailed, match=r"run: other words$"):
        run(session, device, stream)
    events = [record.event for record in caplog.records if record.name == "edge_runtime.backends.tensorrt"]
    assert {"code": "FAILED_EXECUTION", "message": "other words"} in events


def test_a_run_that_fails_on_a_device_that_is_lost_says_that_the_device_is(library, device, monkeypatch):
    backend, told = library()
    session, stream = backend.load(fake_plan(double()), device), device.stream()

    def lost():
        raise DeviceLost("cuMemGetInfo", "CUDA_ERROR_ILLEGAL_ADDRESS")

    monkeypatch.setattr(device, "free_bytes", lost)
    told.fails = ("FAILED_EXECUTION", "Cuda Runtime (an illegal memory access was encountered)")
    with pytest.raises(DeviceLost):
        run(session, device, stream)


@pytest.mark.parametrize(
    ("refusal", "kind", "message"),
    [
        (("UNSPECIFIED_ERROR", "expecting library version 10.3.0.30 got 10.3.0.26"), EngineRejected,
         "tensorrt 10.13.3.9 does not take this engine: expecting library version"),
        (("FAILED_ALLOCATION", "Requested amount of GPU memory (9 bytes) could not be allocated"), OutOfDeviceMemory,
         "deserialize_cuda_engine failed"),
        (("UNSPECIFIED_ERROR", "CUDA error 2: Out of memory"), OutOfDeviceMemory, "deserialize_cuda_engine failed"),
    ],
)  # fmt: skip
def test_an_engine_that_the_library_refuses_is_rejected_with_its_words(library, device, refusal, kind, message):
    backend, told = library()
    told.refuses = refusal
    with pytest.raises(kind, match=message):
        backend.load(fake_plan(double()), device)


def test_a_library_that_cannot_work_here_says_why(library, device):
    backend, told = library()
    told.no_driver = True
    with pytest.raises(BackendUnavailable, match="cannot work on this machine: CUDA initialization failure"):
        backend.load(fake_plan(double()), device)
    with pytest.raises(BackendUnavailable, match="runs on a GPU, not on cpu"):
        backend.load(fake_plan(double()), HostDevice())


def test_layers_are_timed_on_a_context_of_their_own(library, device):
    backend, told = library()
    session = backend.load(fake_plan(double(), layers=["conv", "relu"]), device)
    times = session.profile(3)
    assert [(time.name, time.seconds) for time in times] == [("conv", 0.00025), ("relu", 0.00025)]
    assert told.contexts[0].profiler is None and told.contexts[1].profiler is not None


def test_kernels_that_rtx_compiled_are_kept_beside_the_engine_per_gpu_and_version(library, device, tmp_path):
    engine, cache = fake_plan(double()), tmp_path / "cache"
    for compiled in (1, 0):
        backend, told = library("1.7.1", cache)
        run(backend.load(engine, device), device, device.stream())
        assert told.compiled == compiled
    (file,) = cache.iterdir()
    assert file.name.endswith("-8.9-1.7.1.rtxcache") and len(file.name.split("-")[0]) == 64
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("harm", ["damaged", "of others"])
def test_a_cache_that_cannot_be_believed_is_made_again_and_the_log_says_so(library, device, tmp_path, caplog, harm):
    engine = fake_plan(double())
    backend, _ = library("1.7.1", tmp_path)
    run(backend.load(engine, device), device, device.stream())
    (file,) = tmp_path.iterdir()
    if harm == "damaged":
        file.write_bytes(b"something else")
    else:
        file.chmod(0o666)
    backend, told = library("1.7.1", tmp_path)
    with caplog.at_level(logging.WARNING):
        run(backend.load(engine, device), device, device.stream())
    assert told.compiled == 1 and file.read_bytes() == b"kernels"
    assert "the kernels' cache" in caplog.text


def test_a_cache_that_cannot_be_written_is_told_and_harms_nothing(library, device, tmp_path, caplog):
    (tmp_path / "file").touch()
    backend, _ = library("1.7.1", tmp_path / "file" / "cache")
    assert (run(backend.load(fake_plan(double()), device), device, device.stream()) == 2).all()
    assert "each start compiles them again" in caplog.text


def test_the_librarys_messages_go_to_the_log_once_at_their_level(caplog):
    words = Words("tensorrt 10")
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            words.message(logging.WARNING, "a  plan\nfrom another device")
        words.message(logging.DEBUG, "details")
    found = [(record.levelname, record.event["message"]) for record in caplog.records]
    assert found == [("WARNING", "a plan from another device"), ("DEBUG", "details")]
    assert words.take() == "it gave no reason"


def test_the_recorder_keeps_some_errors_and_says_that_there_were_more():
    module = fake("11.4")
    words = Words("tensorrt 11")
    recorder = make_recorder(module, words)
    for number in range(12):
        recorder.report_error("UNSPECIFIED_ERROR", f"error {number}")
    assert (recorder.num_errors(), recorder.get_error_desc(0), recorder.has_overflowed()) == (8, "error 0", True)
    recorder.clear()
    assert recorder.get_num_errors() == 0 and not recorder.has_overflowed()


REAL = """
import sys
from types import SimpleNamespace

from converters.progress import Progress
from converters.targets.base import Options
from converters.targets.tensorrt_plan import build
from edge_runtime.backends.tensorrt import TensorrtBackend
from edge_runtime.device.base import Facts
from edge_runtime.errors import EngineError

plan = build("tensorrt_rtx", sys.stdin.buffer.read(), Options(compute_capabilities=("8.9",)), Progress(print)).engine
device = SimpleNamespace(name="none", facts=Facts("none", "gpu", (8, 9)), free_bytes=lambda: None)
try:
    TensorrtBackend("tensorrt_rtx").load(plan, device)
except EngineError as error:
    print("REFUSED", error)
"""


@pytest.mark.slow
def test_the_real_rtx_builds_here_and_says_why_it_cannot_load_without_a_driver():
    pytest.importorskip("tensorrt_rtx")
    done = subprocess.run([sys.executable, "-c", REAL], input=double(), capture_output=True, check=False, timeout=120)
    (said,) = [line for line in done.stdout.decode().splitlines() if line.startswith("REFUSED")] or [done.stderr]
    assert re.search(r"tensorrt_rtx 1\.\S+ does not take this engine: .*CUDA driver", str(said))
