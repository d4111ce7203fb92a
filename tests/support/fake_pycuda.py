"""A stand-in for pycuda.driver over cuda.bindings: the names that the device layer uses, with pycuda's semantics.

Streams, events and modules go with their last reference, and only in a thread that has pushed their context, as there.
"""

import ctypes
import importlib
import struct
import sys
import threading
import types
import warnings

import numpy as np
from cuda.bindings import driver


class Error(Exception):
    """As pycuda's: the call and the driver's own description of what it returned."""


_stacks = threading.local()


def _call(name, *arguments):
    code, *values = getattr(driver, name)(*arguments)
    if code:
        text = driver.cuGetErrorString(code)[1].decode()
        raise Error(f"{name} failed: {text}")
    return values[0] if len(values) == 1 else tuple(values)


def _stack():
    if not hasattr(_stacks, "contexts"):
        _stacks.contexts = []
    return _stacks.contexts


def _pushed():
    if not _stack():
        raise Error("explicit_context_dependent failed: invalid device context - no currently active context?")


class Context:
    def __init__(self, device):
        self._device, self._context, self._valid = device, _call("cuDevicePrimaryCtxRetain", device), True
        self.handle = int(self._context)

    def push(self):
        if _stack():
            _call("cuCtxPopCurrent")
        _call("cuCtxPushCurrent", self._context)
        _stack().append(self)

    @staticmethod
    def pop():
        _call("cuCtxPopCurrent")
        _stack().pop()
        if _stack():
            _call("cuCtxPushCurrent", _stack()[-1]._context)

    def detach(self):
        assert self._valid and _stack()[-1] is self, "only what is current is detached in any thread"
        _call("cuDevicePrimaryCtxRelease", self._device)
        self._valid = False
        _stack().pop()

    @staticmethod
    def synchronize():
        _call("cuCtxSynchronize")


class device_attribute:
    INTEGRATED = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED
    CAN_MAP_HOST_MEMORY = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY


class event_flags:
    BLOCKING_SYNC = int(driver.CUevent_flags.CU_EVENT_BLOCKING_SYNC)


class host_alloc_flags:
    PORTABLE, DEVICEMAP = driver.CU_MEMHOSTALLOC_PORTABLE, driver.CU_MEMHOSTALLOC_DEVICEMAP


class Device:
    def __init__(self, ordinal):
        self._device = _call("cuDeviceGet", ordinal)

    def name(self):
        return _call("cuDeviceGetName", 256, self._device).split(b"\0")[0].decode()

    def pci_bus_id(self):
        return _call("cuDeviceGetPCIBusId", 32, self._device).split(b"\0")[0].decode()

    def compute_capability(self):
        attribute = driver.CUdevice_attribute
        return tuple(
            self.get_attribute(getattr(attribute, f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{part}"))
            for part in ("MAJOR", "MINOR")
        )

    def total_memory(self):
        return _call("cuDeviceTotalMem", self._device)

    def get_attribute(self, attribute):
        return _call("cuDeviceGetAttribute", attribute, self._device)

    def retain_primary_context(self):
        return Context(self._device)


class Stream:
    def __init__(self, flags=0):
        _pushed()
        self._stream = _call("cuStreamCreate", flags)
        self.handle = int(self._stream)

    def __del__(self):
        if hasattr(self, "_stream"):
            _pushed()
            driver.cuStreamDestroy(self._stream)

    def synchronize(self):
        _call("cuStreamSynchronize", self._stream)

    def is_done(self):
        code = driver.cuStreamQuery(self._stream)[0]
        if code not in {0, 600}:
            raise Error(f"cuStreamQuery failed: {driver.cuGetErrorString(code)[1].decode()}")
        return code == 0

    def wait_for_event(self, event):
        _call("cuStreamWaitEvent", self._stream, event._event, 0)


class Event:
    def __init__(self, flags=0):
        _pushed()
        self._event = _call("cuEventCreate", flags)

    def __del__(self):
        if hasattr(self, "_event"):
            _pushed()
            driver.cuEventDestroy(self._event)

    def record(self, stream=None):
        _call("cuEventRecord", self._event, stream._stream)
        return self

    def synchronize(self):
        _call("cuEventSynchronize", self._event)
        return self

    def time_since(self, event):
        return _call("cuEventElapsedTime", event._event, self._event)


class DeviceAllocation:
    def __init__(self, size):
        _pushed()
        self._pointer = _call("cuMemAlloc", size)

    def __int__(self):
        return int(self._pointer)

    def free(self):
        _pushed()
        _call("cuMemFree", self._pointer)


class PagelockedHostAllocation:
    def __init__(self, size, flags):
        _pushed()
        self._address = int(_call("cuMemHostAlloc", size, flags))
        self.__array_interface__ = {"data": (self._address, False), "shape": (size,), "typestr": "|u1", "version": 3}

    def get_device_pointer(self):
        return int(_call("cuMemHostGetDevicePointer", self._address, 0))

    def free(self):
        _pushed()
        _call("cuMemFreeHost", self._address)


class Module:
    def __init__(self, image):
        _pushed()
        self._module = _call("cuModuleLoadData", image)

    def __del__(self):
        if hasattr(self, "_module"):
            _pushed()
            driver.cuModuleUnload(self._module)

    def get_function(self, name):
        return Function(_call("cuModuleGetFunction", self._module, name.encode()), self)


class Function:
    def __init__(self, function, module):
        self._function, self._module = function, module

    def __call__(self, *arguments, grid, block, stream):
        assert all(isinstance(argument, np.number) for argument in arguments), "np.bool_ is no np.number"
        values = [ctypes.create_string_buffer(struct.pack("@" + a.dtype.char, a)) for a in arguments]
        pointers = (ctypes.c_void_p * max(1, len(values)))(*map(ctypes.addressof, values))
        _call("cuLaunchKernel", self._function, *grid, *block, 0, stream._stream, ctypes.addressof(pointers), 0)


def init(flags=0):
    _call("cuInit", flags)


def get_driver_version():
    return _call("cuDriverGetVersion")


def mem_get_info():
    return _call("cuMemGetInfo")


def mem_alloc(size):
    return DeviceAllocation(size)


def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
    assert np.dtype(dtype) == np.uint8, "whose base is the allocation itself"
    return np.asarray(PagelockedHostAllocation(int(np.prod(shape)), mem_flags))


def memcpy_htod_async(dest, src, stream=None):
    _call("cuMemcpyHtoDAsync", dest, src.ctypes.data, src.nbytes, stream._stream)


def memcpy_dtoh_async(dest, src, stream=None):
    _call("cuMemcpyDtoHAsync", dest.ctypes.data, src, dest.nbytes, stream._stream)


def module_from_buffer(buffer):
    return Module(buffer)


def install():
    """Let `import pycuda.driver` find this module, unless the real one is there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the real one, where the driver lacks what it needs
            importlib.import_module("pycuda.driver")
    except ImportError:
        package = types.ModuleType("pycuda")
        package.driver = sys.modules[__name__]
        sys.modules["pycuda"], sys.modules["pycuda.driver"] = package, sys.modules[__name__]
