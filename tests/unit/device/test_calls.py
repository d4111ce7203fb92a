"""Codes of the driver become typed errors, and the names are those of the driver's own binding."""

import pytest
from cuda.bindings import driver

from edge_runtime.device import calls
from edge_runtime.errors import CaptureFailed, DeviceError, DeviceLost, OutOfDeviceMemory


@pytest.mark.parametrize(
    ("code", "kind"),
    [(1, DeviceError), (2, OutOfDeviceMemory), (209, DeviceError), (900, CaptureFailed), (907, CaptureFailed),
     (700, DeviceLost), (719, DeviceLost), (999, DeviceLost)],
)  # fmt: skip
def test_a_code_has_its_class_and_the_name_of_the_call(code, kind):
    error = calls.failure("cuSomething", code)
    assert type(error) is kind and error.call == "cuSomething" and error.code == calls.NAMES[code]


def test_every_name_is_the_drivers():
    known = {int(code): code.name for code in driver.CUresult}
    runtime_only = {35: "CUDA_ERROR_INSUFFICIENT_DRIVER"}
    assert all(known.get(code, runtime_only.get(code)) == name for code, name in calls.NAMES.items())
    assert set(calls._ADVICE) <= set(calls.NAMES) and set(calls.NAMES) >= calls.STICKY


def test_a_function_that_the_binding_or_the_driver_lacks_says_what_to_update():
    class Binding:
        @staticmethod
        def cuOld():
            raise RuntimeError('Function "cuOld" not found')

    with pytest.raises(DeviceError, match=r"cuNew failed with not in cuda\.bindings; update the package"):
        calls.Calls(Binding).cuNew()
    with pytest.raises(DeviceError, match=r"cuOld failed with not in the driver.*update the NVIDIA driver"):
        calls.Calls(Binding).cuOld()


def test_what_a_call_returns_comes_without_the_code():
    ok = driver.CUresult.CUDA_SUCCESS
    table = type("Binding", (), {"a": lambda: (ok,), "b": lambda: (ok, 5), "c": lambda: (ok, 1, 2),
                                 "d": lambda: (driver.CUresult.CUDA_ERROR_INVALID_VALUE,)})  # fmt: skip
    call = calls.Calls(table)
    assert (call.a(), call.b(), call.c()) == (None, 5, (1, 2))
    with pytest.raises(DeviceError, match="d failed with CUDA_ERROR_INVALID_VALUE"):
        call.d()
