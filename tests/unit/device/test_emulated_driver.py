"""The emulated CUDA driver itself, through NVIDIA's own binding: what the other tests rely on."""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver
from support import host_cuda

THREAD_LOCAL = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
GLOBAL = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL
NON_BLOCKING = int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
KERNELS = """
extern "C" {
void edge_host_add(const unsigned*, const unsigned*, void** arguments) {
  int* at = *(int**)arguments[0];
  int count = *(int*)arguments[1], value = *(int*)arguments[2];
  for (int i = 0; i < count; ++i) at[i] += value;
}
unsigned char edge_host_add_sizes[] = {8, 4, 4, 0};
}
"""
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """The result of a call that must succeed."""
    code, *results = function(*arguments)
    assert code == driver.CUresult.CUDA_SUCCESS, (function.__name__, code)
    return results[0] if len(results) == 1 else tuple(results)


def code(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> str:
    """The name of what a call returned."""
    return str(function(*arguments)[0].name).removeprefix("CUDA_ERROR_")


def begin(**settings: Any) -> None:
    """A new driver, with the primary context of device 0 current."""
    host_cuda.reset(**settings)
    call(driver.cuInit, 0)
    call(driver.cuCtxSetCurrent, call(driver.cuDevicePrimaryCtxRetain, call(driver.cuDeviceGet, 0)))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    begin()
    yield
    host_cuda.reset()


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "kernels.cpp").write_text(KERNELS)
    subprocess.run(["g++", "-shared", "-fPIC", "kernels.cpp", "-o", "kernels.so"], cwd=folder, check=True)
    return folder / "kernels.so"


class Gate:
    """A host function that holds its stream until `open`."""

    def __init__(self) -> None:
        self.entered, self._opened = threading.Event(), threading.Event()
        self._function = HOST_FUNCTION(self._hold)

    def put(self, on: Any) -> "Gate":
        call(driver.cuLaunchHostFunc, on, ctypes.cast(self._function, ctypes.c_void_p).value, 0)
        return self

    def open(self) -> None:
        self._opened.set()

    def _hold(self, _: Any) -> None:
        self.entered.set()
        self._opened.wait(60)


def stream() -> Any:
    return call(driver.cuStreamCreate, NON_BLOCKING)


def event(flags: int = 0) -> Any:
    return call(driver.cuEventCreate, flags)


def device_array(values: np.ndarray) -> Any:
    address = call(driver.cuMemAlloc, values.nbytes)
    call(driver.cuMemcpyHtoD, address, values.ctypes.data, values.nbytes)
    return address


def host_array(address: Any, count: int) -> np.ndarray:
    values = np.zeros(count, np.int32)
    call(driver.cuMemcpyDtoH, values.ctypes.data, address, values.nbytes)
    return values


def pinned(count: int) -> np.ndarray:
    address = call(driver.cuMemHostAlloc, count * 4, 0)
    return np.frombuffer((ctypes.c_int32 * count).from_address(address), np.int32)


def captured(on: Any, work: Callable[[], Any]) -> Any:
    call(driver.cuStreamBeginCapture, on, THREAD_LOCAL)
    work()
    graph = call(driver.cuStreamEndCapture, on)
    executable = call(driver.cuGraphInstantiate, graph, 0)
    call(driver.cuGraphDestroy, graph)
    return executable


def add_kernel(kernels: Path, **settings: Any) -> Any:
    begin(kernels=kernels, **settings)
    return call(driver.cuModuleGetFunction, call(driver.cuModuleLoadData, b"\x7fELF"), b"add")


def launch_add(function: Any, at: Any, count: int, value: int, on: Any) -> tuple[Any, ...]:
    arguments = ((int(at), count, value), (ctypes.c_void_p, ctypes.c_int, ctypes.c_int))
    return driver.cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, on, arguments, 0)


def test_the_device_is_what_the_environment_says() -> None:
    begin(sm="8.7", integrated=True, memory=1 << 30, driver_version=12060, name="Orin", devices=2)
    device, attribute = call(driver.cuDeviceGet, 1), driver.CUdevice_attribute
    assert call(driver.cuDriverGetVersion) == 12060
    assert call(driver.cuDeviceGetCount) == 2
    assert call(driver.cuDeviceGetName, 32, device).rstrip(b"\0 ") == b"Orin"
    assert call(driver.cuDeviceTotalMem, device) == 1 << 30
    for name, value in (("COMPUTE_CAPABILITY_MAJOR", 8), ("COMPUTE_CAPABILITY_MINOR", 7), ("INTEGRATED", 1)):
        which = getattr(attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        assert call(driver.cuDeviceGetAttribute, which, device) == value
    assert code(driver.cuDeviceGet, 2) == "INVALID_DEVICE"


def test_without_a_device_or_before_init_it_says_so() -> None:
    host_cuda.reset(devices=0)
    assert code(driver.cuDeviceGetCount) == "NOT_INITIALIZED"
    assert code(driver.cuInit, 0) == "NO_DEVICE"


def test_a_thread_without_a_context_is_refused() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(code(driver.cuMemGetInfo)))
    thread.start()
    thread.join()
    assert found == ["INVALID_CONTEXT"]


def test_the_codes_have_their_names_and_texts() -> None:
    error = driver.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    assert call(driver.cuGetErrorName, error) == b"CUDA_ERROR_ILLEGAL_ADDRESS"
    assert call(driver.cuGetErrorString, error) == b"an illegal memory access was encountered"
    native = host_cuda.load()
    for known in driver.CUresult:
        name = ctypes.c_char_p()
        if native.cuGetErrorName(int(known), ctypes.byref(name)) == 0:
            assert name.value == known.name.encode()


def test_a_stream_does_its_work_in_order_and_an_event_holds_another_stream() -> None:
    first, second, reached = stream(), stream(), event()
    source, target = pinned(4), pinned(4)
    source[:], target[:] = 7, 0
    memory = call(driver.cuMemAlloc, 16)
    gate = Gate().put(first)
    call(driver.cuMemcpyHtoDAsync, memory, source.ctypes.data, 16, first)
    call(driver.cuEventRecord, reached, first)
    call(driver.cuStreamWaitEvent, second, reached, 0)
    call(driver.cuMemcpyDtoHAsync, target.ctypes.data, memory, 16, second)
    gate.entered.wait(60)
    assert code(driver.cuStreamQuery, second) == code(driver.cuEventQuery, reached) == "NOT_READY"
    assert not target.any()
    gate.open()
    call(driver.cuStreamSynchronize, second)
    assert target.tolist() == [7] * 4
    assert code(driver.cuEventQuery, reached) == "CUDA_SUCCESS"


def test_a_wait_means_the_event_as_it_was_recorded_at_that_time() -> None:
    first, second, reached = stream(), stream(), event()
    call(driver.cuEventRecord, reached, first)
    call(driver.cuEventSynchronize, reached)
    call(driver.cuStreamWaitEvent, second, reached, 0)
    gate = Gate().put(first)
    call(driver.cuEventRecord, reached, first)
    call(driver.cuStreamSynchronize, second)  # does not wait for the later record
    gate.open()
    call(driver.cuStreamSynchronize, first)


def test_time_between_events_needs_timing_and_both_events() -> None:
    on, start, end, untimed = stream(), event(), event(), event(2)
    assert code(driver.cuEventElapsedTime, start, end) == "INVALID_HANDLE"  # never recorded
    call(driver.cuEventRecord, start, on)
    call(driver.cuEventRecord, untimed, on)
    gate = Gate().put(on)
    call(driver.cuEventRecord, end, on)
    call(driver.cuEventSynchronize, untimed)
    assert code(driver.cuEventElapsedTime, start, untimed) == "INVALID_HANDLE"
    assert code(driver.cuEventElapsedTime, start, end) == "NOT_READY"
    gate.open()
    call(driver.cuStreamSynchronize, on)
    assert call(driver.cuEventElapsedTime, start, end) >= 0


def test_pageable_memory_is_taken_at_the_call_and_pinned_memory_when_the_stream_gets_there() -> None:
    on, pageable, locked = stream(), np.full(4, 1, np.int32), pinned(4)
    locked[:] = 1
    targets = [call(driver.cuMemAlloc, 16) for _ in range(2)]
    gate = Gate().put(on)
    call(driver.cuMemcpyHtoDAsync, targets[0], pageable.ctypes.data, 16, on)
    call(driver.cuMemcpyHtoDAsync, targets[1], locked.ctypes.data, 16, on)
    pageable[:] = locked[:] = 2
    gate.open()
    call(driver.cuStreamSynchronize, on)
    assert host_array(targets[0], 4).tolist() == [1] * 4
    assert host_array(targets[1], 4).tolist() == [2] * 4


def test_memory_is_counted_and_runs_out() -> None:
    begin(memory=1 << 20)
    half = call(driver.cuMemAlloc, 1 << 19)
    assert call(driver.cuMemGetInfo) == (1 << 19, 1 << 20)
    assert code(driver.cuMemAlloc, (1 << 19) + 1) == "OUT_OF_MEMORY"
    call(driver.cuMemFree, half)
    assert code(driver.cuMemFree, half) == "INVALID_VALUE"
    assert call(driver.cuMemGetInfo) == (1 << 20, 1 << 20)


def test_memory_that_another_process_takes_is_missing_here(tmp_path: Path) -> None:
    begin(memory=1 << 20, memory_taken=tmp_path / "taken")
    assert call(driver.cuMemGetInfo) == (1 << 20, 1 << 20)
    (tmp_path / "taken").write_text(str(1 << 20))
    assert call(driver.cuMemGetInfo) == (0, 1 << 20)
    assert code(driver.cuMemAlloc, 1) == "OUT_OF_MEMORY"


def test_fresh_memory_is_not_zero_and_copies_stay_inside() -> None:
    memory = call(driver.cuMemAlloc, 16)
    assert host_array(memory, 4).tolist() == [np.array(0xA5A5A5A5, np.uint32).view(np.int32)] * 4
    values = np.zeros(5, np.int32)
    assert code(driver.cuMemcpyHtoD, memory, values.ctypes.data, 20) == "INVALID_VALUE"
    assert code(driver.cuMemcpyDtoH, values.ctypes.data, int(memory) + 4, 16) == "INVALID_VALUE"
    assert code(driver.cuMemcpyHtoD, values.ctypes.data, values.ctypes.data, 4) == "INVALID_VALUE"
    call(driver.cuMemsetD32, memory, 9, 4)
    assert host_array(memory, 4).tolist() == [9] * 4


def test_freeing_waits_for_the_work_that_may_use_the_memory() -> None:
    on, memory, locked = stream(), call(driver.cuMemAlloc, 16), pinned(4)
    gate = Gate().put(on)
    call(driver.cuMemcpyHtoDAsync, memory, locked.ctypes.data, 16, on)
    freed = threading.Event()

    def free() -> None:
        call(driver.cuCtxSetCurrent, call(driver.cuDevicePrimaryCtxRetain, 0))
        call(driver.cuMemFree, memory)
        freed.set()

    thread = threading.Thread(target=free)
    thread.start()
    gate.entered.wait(60)
    assert not freed.wait(0.05)
    gate.open()
    thread.join()
    assert freed.is_set()


def test_kernels_are_host_functions_and_take_their_arguments_at_the_call(kernels: Path) -> None:
    add = add_kernel(kernels)
    memory, on = device_array(np.arange(4, dtype=np.int32)), stream()
    call(launch_add, add, memory, 4, 10, on)
    call(driver.cuStreamSynchronize, on)
    assert host_array(memory, 4).tolist() == [10, 11, 12, 13]
    module = call(driver.cuModuleLoadData, b"\x7fELF")
    assert code(driver.cuModuleGetFunction, module, b"subtract") == "NOT_FOUND"
    assert code(driver.cuModuleLoadData, b".version 8.0") == "INVALID_IMAGE"


def test_a_kernel_that_writes_behind_its_memory_breaks_the_context(
    kernels: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add = add_kernel(kernels)
    memory, on = device_array(np.zeros(4, np.int32)), stream()
    call(launch_add, add, memory, 5, 1, on)
    assert code(driver.cuStreamSynchronize, on) == "ILLEGAL_ADDRESS"
    assert "add wrote behind an allocation of 16 bytes" in capfd.readouterr().err


def test_a_captured_graph_runs_at_each_launch_and_not_before(kernels: Path) -> None:
    add = add_kernel(kernels)
    memory, on, target = device_array(np.zeros(4, np.int32)), stream(), pinned(4)

    def work() -> None:
        call(launch_add, add, memory, 4, 1, on)
        call(driver.cuMemcpyDtoHAsync, target.ctypes.data, memory, 16, on)

    executable = captured(on, work)
    assert not host_array(memory, 4).any()
    for launches in (1, 2, 3):
        call(driver.cuGraphLaunch, executable, on)
        call(driver.cuStreamSynchronize, on)
        assert target.tolist() == [launches] * 4


def test_an_event_pulls_another_stream_into_the_capture(kernels: Path) -> None:
    add = add_kernel(kernels)
    memory, first, second = device_array(np.zeros(1, np.int32)), stream(), stream()
    fork, join = event(), event()

    def work() -> None:
        call(driver.cuEventRecord, fork, first)
        call(driver.cuStreamWaitEvent, second, fork, 0)
        call(launch_add, add, memory, 1, 5, second)
        call(driver.cuEventRecord, join, second)
        call(driver.cuStreamWaitEvent, first, join, 0)

    executable = captured(first, work)
    assert call(driver.cuStreamIsCapturing, second) == driver.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE
    call(driver.cuGraphLaunch, executable, first)
    call(driver.cuStreamSynchronize, first)
    assert host_array(memory, 1).tolist() == [5]
    assert code(driver.cuEventQuery, join) == "CAPTURED_EVENT"


def test_an_external_record_marks_each_launch() -> None:
    on, start, end, external = stream(), event(), event(), 1

    def work() -> None:
        call(driver.cuEventRecordWithFlags, start, on, external)
        call(driver.cuEventRecordWithFlags, end, on, external)

    executable = captured(on, work)
    gate = Gate().put(on)
    call(driver.cuGraphLaunch, executable, on)
    assert code(driver.cuEventQuery, end) == "NOT_READY"
    gate.open()
    call(driver.cuEventSynchronize, end)
    assert call(driver.cuEventElapsedTime, start, end) >= 0


def refused_in_capture(work: Callable[[Any], str]) -> tuple[str, str]:
    """What a call returns while a stream is captured, and what the end of the capture returns then."""
    on = stream()
    call(driver.cuStreamBeginCapture, on, GLOBAL)
    found = work(on)
    ended = code(driver.cuStreamEndCapture, on)
    call(driver.cuStreamSynchronize, on)  # the stream is as it was before
    return found, ended


def test_what_cannot_be_captured_is_refused_with_its_code() -> None:
    elsewhere, other, memory = event(), stream(), call(driver.cuMemAlloc, 4)
    call(driver.cuEventRecord, elsewhere, other)
    unsupported = ("STREAM_CAPTURE_UNSUPPORTED", "STREAM_CAPTURE_INVALIDATED")
    assert refused_in_capture(lambda on: code(driver.cuStreamSynchronize, on)) == unsupported
    assert refused_in_capture(lambda _: code(driver.cuMemAlloc, 4)) == unsupported
    assert refused_in_capture(lambda _: code(driver.cuMemFree, memory)) == unsupported
    assert refused_in_capture(lambda _: code(driver.cuCtxSynchronize)) == unsupported
    isolation = ("STREAM_CAPTURE_ISOLATION", "STREAM_CAPTURE_INVALIDATED")
    assert refused_in_capture(lambda on: code(driver.cuStreamWaitEvent, on, elsewhere, 0)) == isolation


def test_a_stream_that_is_not_joined_spoils_the_capture() -> None:
    other, fork = stream(), event()
    memory = call(driver.cuMemAlloc, 4)

    def work(on: Any) -> str:
        call(driver.cuEventRecord, fork, on)
        call(driver.cuStreamWaitEvent, other, fork, 0)
        return code(driver.cuMemsetD8Async, memory, 0, 4, other)

    assert refused_in_capture(work) == ("CUDA_SUCCESS", "STREAM_CAPTURE_UNJOINED")
    call(driver.cuStreamSynchronize, other)


def test_the_legacy_stream_cannot_be_used_while_a_blocking_stream_is_captured() -> None:
    on, memory = call(driver.cuStreamCreate, 0), call(driver.cuMemAlloc, 4)
    call(driver.cuStreamBeginCapture, on, THREAD_LOCAL)
    assert code(driver.cuMemsetD8Async, memory, 0, 4, 0) == "STREAM_CAPTURE_IMPLICIT"
    assert code(driver.cuStreamEndCapture, on) == "STREAM_CAPTURE_INVALIDATED"


def test_the_nth_call_fails_and_no_other() -> None:
    begin(faults="cuMemAlloc@2=2;cuEventCreate@3*=304")
    assert [code(driver.cuMemAlloc, 4) for _ in range(3)] == ["CUDA_SUCCESS", "OUT_OF_MEMORY", "CUDA_SUCCESS"]
    found = [code(driver.cuEventCreate, 0) for _ in range(4)]
    assert found == ["CUDA_SUCCESS", "CUDA_SUCCESS", "OPERATING_SYSTEM", "OPERATING_SYSTEM"]


@pytest.mark.parametrize("kind", ["", "async:"])
def test_after_a_sticky_error_every_call_fails(kernels: Path, kind: str) -> None:
    add = add_kernel(kernels, faults=f"{kind}cuLaunchKernel@2=700")
    memory, on = device_array(np.zeros(1, np.int32)), stream()
    call(launch_add, add, memory, 1, 1, on)
    at_once = code(launch_add, add, memory, 1, 1, on)
    assert at_once == ("CUDA_SUCCESS" if kind else "ILLEGAL_ADDRESS")
    assert code(driver.cuStreamSynchronize, on) == "ILLEGAL_ADDRESS"
    assert code(driver.cuMemAlloc, 4) == code(driver.cuEventCreate, 0) == "ILLEGAL_ADDRESS"
    assert code(driver.cuDevicePrimaryCtxRetain, 0) == "ILLEGAL_ADDRESS"
    assert code(driver.cuDeviceGetCount) == "CUDA_SUCCESS"


def test_work_that_hangs_holds_its_stream_and_no_other(kernels: Path) -> None:
    add = add_kernel(kernels, faults="hang:cuLaunchKernel@1")
    memory, hung, other, reached = device_array(np.zeros(1, np.int32)), stream(), stream(), event()
    call(launch_add, add, memory, 1, 1, hung)
    call(driver.cuEventRecord, reached, hung)
    call(launch_add, add, memory, 1, 1, other)
    call(driver.cuStreamSynchronize, other)
    assert code(driver.cuEventQuery, reached) == code(driver.cuStreamQuery, hung) == "NOT_READY"
    assert host_array(memory, 1).tolist() == [1]


def test_a_device_off_the_bus_answers_nothing_more(kernels: Path) -> None:
    add = add_kernel(kernels, faults="off_the_bus@1")
    memory, on = device_array(np.zeros(1, np.int32)), stream()
    assert code(launch_add, add, memory, 1, 1, on) == "UNKNOWN"
    assert code(driver.cuDeviceGetCount) == code(driver.cuStreamSynchronize, on) == "UNKNOWN"


def test_a_fault_in_flight_comes_by_a_file_and_strikes_once(kernels: Path, tmp_path: Path) -> None:
    fault = tmp_path / "fault"
    add = add_kernel(kernels, fault_file=fault)
    memory, on = device_array(np.zeros(1, np.int32)), stream()
    call(launch_add, add, memory, 1, 1, on)
    call(driver.cuStreamSynchronize, on)
    fault.write_text("719\n")
    call(launch_add, add, memory, 1, 1, on)
    assert code(driver.cuStreamSynchronize, on) == "LAUNCH_FAILED"
    assert not fault.exists()


def test_a_kept_fault_file_strikes_each_process(kernels: Path, tmp_path: Path) -> None:
    fault = tmp_path / "fault"
    fault.write_text("keep off_the_bus\n")
    host_cuda.reset(fault_file=fault)
    assert code(driver.cuInit, 0) == "UNKNOWN"
    assert fault.exists()


def test_a_host_function_may_not_call_the_driver() -> None:
    found: list[str] = []
    function = HOST_FUNCTION(lambda _: found.append(code(driver.cuMemGetInfo)))
    on = stream()
    call(driver.cuLaunchHostFunc, on, ctypes.cast(function, ctypes.c_void_p).value, 0)
    call(driver.cuStreamSynchronize, on)
    assert found == ["NOT_PERMITTED"]


def test_the_log_has_a_line_a_call(tmp_path: Path) -> None:
    begin(log=tmp_path / "calls", faults="cuMemAlloc@1=2")
    driver.cuMemAlloc(64)
    driver.cuMemHostAlloc(32, 0)
    lines = (tmp_path / "calls").read_text().splitlines()
    assert lines[-2:] == ["cuMemAlloc bytes=64 fault=2", "cuMemHostAlloc bytes=32 flags=0"]


def test_a_released_primary_context_takes_its_memory_and_streams_with_it() -> None:
    on, device = stream(), call(driver.cuDeviceGet, 0)
    call(driver.cuMemAlloc, 4096)
    call(driver.cuDevicePrimaryCtxRelease, device)
    assert code(driver.cuMemGetInfo) == "CONTEXT_IS_DESTROYED"
    call(driver.cuCtxSetCurrent, call(driver.cuDevicePrimaryCtxRetain, device))
    free, total = call(driver.cuMemGetInfo)
    assert free == total
    assert code(driver.cuStreamSynchronize, on) == "INVALID_HANDLE"


def test_a_symbol_newer_than_the_driver_is_not_found() -> None:
    host_cuda.reset(driver_version=12000)
    native, pointer, status = host_cuda.load(), ctypes.c_void_p(), ctypes.c_int()

    def look_up(name: bytes, version: int) -> tuple[int, int, bool]:
        found = native.cuGetProcAddress_v2(
            name, ctypes.byref(pointer), version, ctypes.c_ulonglong(0), ctypes.byref(status)
        )
        return found, status.value, bool(pointer.value)

    assert look_up(b"cuMemAlloc", 3020) == (0, 0, True)
    assert look_up(b"cuStreamGetCaptureInfo", 12030) == (0, 0, True)  # its older form
    assert look_up(b"cuMemAlloc", 2000) == (500, 2, False)
    assert look_up(b"cuNoSuchCall", 13000) == (500, 1, False)


CHILD = """
import ctypes, sys, time
from cuda.bindings import driver
driver.cuInit(0)
driver.cuCtxSetCurrent(driver.cuDevicePrimaryCtxRetain(0)[1])
on = driver.cuStreamCreate(1)[1]
function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: time.sleep(0.01))
for _ in range(500):
    driver.cuLaunchHostFunc(on, ctypes.cast(function, ctypes.c_void_p).value, 0)
print(driver.cuDriverGetVersion()[1], driver.cuStreamQuery(on)[0].name, flush=True)
sys.exit(3)
"""


@pytest.mark.parametrize("faults", ["", "hang:cuLaunchHostFunc@1"])
def test_a_child_process_uses_it_and_ends_with_work_in_its_streams(faults: str) -> None:
    environment = {**os.environ, **host_cuda.environment(faults=faults, driver_version=12080)}
    command = [sys.executable, "-c", CHILD]
    child = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert (child.stdout, child.returncode, child.stderr) == ("12080 CUDA_ERROR_NOT_READY\n", 3, "")


def test_without_a_compiler_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeError, match="install g"):
        host_cuda.driver.__wrapped__()
