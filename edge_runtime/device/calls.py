"""What a CUresult means: the typed error of a call of the CUDA driver API, its name and what to do.

Codes are those of cuda.h; the classes are `CaptureFailed` for 900 to 908, `OutOfDeviceMemory` for 2 and `DeviceLost`
for those after which every call of the context fails in the same way (the driver API calls them sticky).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_runtime.errors import CaptureFailed, DeviceError, DeviceLost, OutOfDeviceMemory

OUT_OF_MEMORY = 2
NOT_READY = 600

NAMES: Mapping[int, str] = {
    1: "CUDA_ERROR_INVALID_VALUE",
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    4: "CUDA_ERROR_DEINITIALIZED",
    34: "CUDA_ERROR_STUB_LIBRARY",
    35: "CUDA_ERROR_INSUFFICIENT_DRIVER",
    36: "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER",
    46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    102: "CUDA_ERROR_DEVICE_NOT_LICENSED",
    200: "CUDA_ERROR_INVALID_IMAGE",
    201: "CUDA_ERROR_INVALID_CONTEXT",
    209: "CUDA_ERROR_NO_BINARY_FOR_GPU",
    214: "CUDA_ERROR_ECC_UNCORRECTABLE",
    218: "CUDA_ERROR_INVALID_PTX",
    220: "CUDA_ERROR_NVLINK_UNCORRECTABLE",
    222: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    226: "CUDA_ERROR_CONTAINED",
    300: "CUDA_ERROR_INVALID_SOURCE",
    304: "CUDA_ERROR_OPERATING_SYSTEM",
    400: "CUDA_ERROR_INVALID_HANDLE",
    401: "CUDA_ERROR_ILLEGAL_STATE",
    500: "CUDA_ERROR_NOT_FOUND",
    600: "CUDA_ERROR_NOT_READY",
    700: "CUDA_ERROR_ILLEGAL_ADDRESS",
    701: "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
    702: "CUDA_ERROR_LAUNCH_TIMEOUT",
    709: "CUDA_ERROR_CONTEXT_IS_DESTROYED",
    710: "CUDA_ERROR_ASSERT",
    714: "CUDA_ERROR_HARDWARE_STACK_ERROR",
    715: "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    716: "CUDA_ERROR_MISALIGNED_ADDRESS",
    717: "CUDA_ERROR_INVALID_ADDRESS_SPACE",
    718: "CUDA_ERROR_INVALID_PC",
    719: "CUDA_ERROR_LAUNCH_FAILED",
    721: "CUDA_ERROR_TENSOR_MEMORY_LEAK",
    800: "CUDA_ERROR_NOT_PERMITTED",
    801: "CUDA_ERROR_NOT_SUPPORTED",
    802: "CUDA_ERROR_SYSTEM_NOT_READY",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
    805: "CUDA_ERROR_MPS_CONNECTION_FAILED",
    807: "CUDA_ERROR_MPS_SERVER_NOT_READY",
    810: "CUDA_ERROR_MPS_CLIENT_TERMINATED",
    900: "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    901: "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
    902: "CUDA_ERROR_STREAM_CAPTURE_MERGE",
    903: "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
    904: "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
    905: "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
    906: "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
    907: "CUDA_ERROR_CAPTURED_EVENT",
    908: "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
    999: "CUDA_ERROR_UNKNOWN",
}
"""The codes that this program tells apart or gives advice for, and those that users meet."""

STICKY = frozenset({46, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 999})
"""Codes after which this process can use the device no more."""

_OTHER_SM = "the kernels or the engine were built for another SM than this device's; build them for this one"
_ADVICE: Mapping[int, str] = {
    OUT_OF_MEMORY: "another process may hold the device's memory: see nvidia-smi (Jetson: tegrastats)",
    3: "CUDA does not survive a fork: start the process that uses the device anew",
    34: "the libcuda.so.1 that was found is the toolkit's stub: take the toolkit's stubs folder out of LD_LIBRARY_PATH",
    35: "the NVIDIA driver is older than the CUDA libraries: update the driver",
    36: "the NVIDIA driver is older than this call: update the driver",
    46: "the device is taken by another process in exclusive mode, or it is being reset: see nvidia-smi -q -d COMPUTE",
    100: "the driver sees no NVIDIA GPU: see lspci and nvidia-smi, CUDA_VISIBLE_DEVICES, and --gpus all of a container",
    101: "there is no device of this ordinal: see nvidia-smi -L and CUDA_VISIBLE_DEVICES",
    200: _OTHER_SM,
    209: _OTHER_SM,
    214: "the device's memory has an error that cannot be corrected: see nvidia-smi -q -d ECC, reset or replace it",
    222: "the kernels were compiled by a newer CUDA than the driver knows: update the driver",
    500: "there is nothing of that name in the module",
    700: "a kernel read or wrote outside its buffers: run under compute-sanitizer",
    702: "a kernel ran longer than the display's watchdog allows: take the display off this device",
    802: "the system is not ready: on NVSwitch machines the fabric manager must run",
    803: "the driver's libraries and its kernel module are of different versions: reboot after the driver's update",
    804: "the compatibility package (cuda-compat) does not support this device: remove it or update the driver",
    805: "the MPS daemon does not answer: start nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY",
    999: "see the kernel's log (dmesg | grep -i -E 'NVRM|Xid'); after a suspend, reload the module nvidia_uvm",
}


def name_of(code: int) -> str:
    """The name of a CUresult, such as CUDA_ERROR_OUT_OF_MEMORY."""
    return NAMES.get(code, f"CUDA error {code}")


def advice_for(code: int) -> str:
    """What to do about a CUresult; empty where nothing general can be said."""
    return _ADVICE.get(code, "")


def failure(call: str, code: int, advice: str = "", name: str = "") -> DeviceError:
    """The error of a call that returned `code`, of the class that the code calls for."""
    kind: type[DeviceError] = DeviceError
    if code == OUT_OF_MEMORY:
        kind = OutOfDeviceMemory
    elif 900 <= code <= 908:
        kind = CaptureFailed
    elif code in STICKY:
        kind = DeviceLost
    return kind(call, name or name_of(code), advice or advice_for(code))


class Calls:
    """The functions of `cuda.bindings.driver` by their names, each checked.

    A function here returns what the driver's does without the CUresult: nothing, a value, or a tuple of values. One
    that the binding or the driver does not have raises DeviceError when it is called. Raises what `failure`
    makes of a code.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Callable[..., Any]:
        checked = _checked(name, getattr(self._driver, name, None))
        setattr(self, name, checked)
        return checked


def _checked(name: str, function: Callable[..., Any] | None) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        if function is None:
            raise DeviceError(name, "not in cuda.bindings", "update the package cuda-bindings")
        try:
            result = function(*arguments)
        except RuntimeError as error:  # how cuda.bindings says that the driver has no such function
            raise DeviceError(name, "not in the driver", f"{error}; update the NVIDIA driver") from error
        if code := result[0]:
            raise failure(name, int(code), name=code.name)
        if len(result) == 2:
            return result[1]
        return result[1:] or None

    return call
