"""Failures of a CUDA device, each in a process of its own on the emulated driver."""

import json
import subprocess
import sys
import textwrap

import pytest
from support import host_cuda

from edge_runtime.errors import EXIT_DEVICE_LOST

BEGIN = """
import json, logging, sys, threading, time
sys.path.insert(0, {tests!r})
logging.basicConfig()
from edge_runtime.device.probe import driver
from edge_runtime.device.settings import CudaSettings
from edge_runtime.errors import *
if {kind!r} == "pycuda":
    from support import fake_pycuda
    fake_pycuda.install()
    from edge_runtime.device.pycuda import PycudaDevice as Device
else:
    from edge_runtime.device.cuda import CudaDevice as Device
def tell(**facts): print(json.dumps(facts))
def refused(work):
    try: work()
    except EdgeRuntimeError as error:
        return [type(error).__name__, str(error), error.exit_code]
"""


def run(script, kind="cuda", code=0, faults="", path=None, **facts):
    """What a script told; it runs in a new process that finds the emulated driver, or what is at `path`."""
    environment = host_cuda.environment(faults=faults, **facts) if path is None else {"LD_LIBRARY_PATH": str(path)}
    begin = BEGIN.format(tests=str(host_cuda._ROOT / "tests"), kind=kind)
    done = subprocess.run(
        [sys.executable, "-c", begin + textwrap.dedent(script)],
        env={"PATH": "/usr/bin", **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return (told[0] if told else {}), done.stderr


@pytest.mark.parametrize("kind", ["cuda", "pycuda"])
def test_a_sticky_error_is_a_lost_device_in_every_call_that_follows(kind):
    script = """
        device = Device()
        stream, event, array = device.stream(), device.event(), device.staging((1,), "float32")
        buffer = device.empty((1,), "float32")
        first = refused(lambda: device.upload(array, buffer, stream))
        later = [refused(stream.synchronize), refused(lambda: device.empty((1,), "uint8"))]
        device.close()
        tell(errors=[first, *later])
    """
    told, said = run(script, kind, faults="cuMemcpyHtoDAsync@1=700")
    assert [(name, exit_code) for name, _, exit_code in told["errors"]] == [("DeviceLost", EXIT_DEVICE_LOST)] * 3
    assert "cuMemcpyHtoDAsync failed with CUDA_ERROR_ILLEGAL_ADDRESS; a kernel read or wrote" in told["errors"][0][1]
    assert said.count("WARNING") <= 2, "a lost device is given up once, not once a buffer"


@pytest.mark.parametrize("kind", ["cuda", "pycuda"])
def test_a_device_that_hangs_ends_the_process_with_the_exit_code_of_a_lost_device(kind):
    script = """
        device = Device(CudaSettings(hang_seconds=0.2))
        stream = device.stream()
        stream.host_function(lambda: None)
        stream.synchronize()
    """
    _, said = run(script, kind, code=EXIT_DEVICE_LOST, faults="hang:cuLaunchHostFunc@1")
    assert "the device hangs; this process ends" in said


def test_who_wants_to_know_of_a_hang_is_told_what_hangs():
    script = """
        device, told = Device(CudaSettings(hang_seconds=0.2)), threading.Event()
        device.on_hang = lambda what: (tell(what=what), sys.stdout.flush(), __import__("os")._exit(3))
        stream, event = device.stream(), device.event()
        stream.host_function(lambda: None)
        stream.record(event)
        event.synchronize()
    """
    told, _ = run(script, code=3, faults="hang:cuLaunchHostFunc@1")
    assert told == {"what": "synchronize of an event"}


@pytest.mark.parametrize("kind", ["cuda", "pycuda"])
def test_out_of_memory_says_how_much_was_asked_and_how_much_is_free(kind):
    script = """
        device = Device()
        held = device.empty((600_000,), "uint8")
        told = refused(lambda: device.empty((500_000,), "uint8"))
        del held
        device.empty((500_000,), "uint8")
        tell(error=told)
    """
    told, _ = run(script, kind, memory=1_000_000)
    name, message, _ = told["error"]
    assert name == "OutOfDeviceMemory" and "500,000 bytes were asked, 4" in message and "of 1,000,000" in message


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"faults": "cuInit@1=100"}, "cuInit failed with CUDA_ERROR_NO_DEVICE; the driver sees no NVIDIA GPU"),
        ({"faults": "cuInit@1=803"}, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH; the driver's libraries and its kernel module"),
        ({"faults": "cuInit@1=999"}, "CUDA_ERROR_UNKNOWN; see the kernel's log"),
        ({"driver_version": 12040}, "runs CUDA up to 12.4, not 12.6; update it (Jetson: JetPack 6.1 or newer)"),
        ({"devices": 0}, "the driver sees no"),
    ],
    ids=["none", "mismatch", "unknown", "too old", "no device"],
)
def test_a_driver_that_cannot_be_used_is_refused_with_what_to_do(how, words):
    told, _ = run("tell(why=str(driver()), error=refused(Device))", **how)
    name, message, exit_code = told["error"]
    assert (name, exit_code) == ("BackendUnavailable", 69) and words in message == told["why"]


def test_a_machine_without_a_driver_is_told_so(tmp_path):
    (tmp_path / "libcuda.so.1").write_text("no library")
    told, _ = run("tell(error=refused(Device))", path=tmp_path)
    assert told["error"][0] == "BackendUnavailable" and "libcuda.so.1 cannot be loaded" in told["error"][1]


def test_an_ordinal_that_is_not_there_is_refused_with_those_that_are():
    told, _ = run("tell(error=refused(lambda: Device(CudaSettings(ordinal=2))))", devices=2, name="Emulated")
    assert told["error"][1] == "there is no CUDA device 2; there are: 0: Emulated, 1: Emulated"


def test_a_context_that_is_active_already_keeps_its_way_to_wait_and_the_log_says_so():
    script = """
        first = Device(CudaSettings(wait="spin"))
        Device(CudaSettings(wait="spin")).close()
        sys.stderr.write("now\\n")
        Device(CudaSettings(wait="blocking")).close()
        first.close()
    """
    _, said = run(script)
    before, _, after = said.partition("now")
    assert "in use in this process already" not in before and "in use in this process already" in after


@pytest.mark.parametrize("kind", ["cuda", "pycuda"])
def test_the_steady_state_takes_no_memory_from_the_driver(kind, tmp_path):
    script = """
        device = Device()
        stream, event = device.stream(), device.event()
        array, buffer = device.staging((4,), "float32"), device.empty((4,), "float32")
        def frame():
            device.upload(array, buffer, stream); device.download(buffer, array, stream)
            stream.record(event); event.synchronize()
        frame()
        from pathlib import Path
        before = len(Path({log!r}).read_text().splitlines())
        for _ in range(10): frame()
        after = Path({log!r}).read_text().splitlines()[before:]
        tell(calls=sorted(set(line.split()[0] for line in after)), count=len(after))
    """
    told, _ = run(textwrap.dedent(script).replace("{log!r}", repr(str(tmp_path / "log"))), kind, log=tmp_path / "log")
    assert told["count"] == 40, told


@pytest.mark.parametrize("kind", ["cuda", "pycuda"])
def test_pinned_memory_goes_after_its_array_and_the_context_after_it(kind, tmp_path):
    script = """
        from pathlib import Path
        log = Path({log!r})
        def given_back():
            names = [line.split()[0] for line in log.read_text().splitlines()]
            return [names.count("cuMemFreeHost"), names.count("cuDevicePrimaryCtxRelease")]
        device = Device()
        kept, dropped = device.staging((1,), "uint8"), device.staging((1,), "uint8")
        del dropped
        device.close()
        closed = given_back()
        del kept
        second = Device()
        opened = given_back()
        second.close()
        tell(closed=closed, opened=opened, second=given_back())
    """
    told, _ = run(textwrap.dedent(script).replace("{log!r}", repr(str(tmp_path / "log"))), kind, log=tmp_path / "log")
    assert told == {"closed": [1, 0], "opened": [2, 1], "second": [2, 2]}
