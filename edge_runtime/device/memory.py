"""What is taken of a device and when it is given back: never in the middle of work, at the latest at `close`."""

from __future__ import annotations

import gc
import itertools
import logging
import math
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np

from edge_runtime.device.binding import Binding
from edge_runtime.domain import Array
from edge_runtime.errors import DeviceError, DeviceLost, OutOfDeviceMemory

log = logging.getLogger("edge_runtime.device")

Destroy = Callable[[Any], None]


class Pinned:
    """Pinned memory of the host, as NumPy sees it. An array of it keeps this object alive."""

    def __init__(self, address: int, size_bytes: int, keeps: object = None) -> None:
        self.keeps = keeps
        self.__array_interface__ = {"data": (address, False), "shape": (size_bytes,), "typestr": "|u1", "version": 3}


def is_pinned(array: Array) -> bool:
    """Whether an array is one of `Device.staging` or `Device.view`, or a part of one."""
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, Pinned)


def host_address(array: Array) -> int:
    """Of an array's first element."""
    return int(array.__array_interface__["data"][0])


class GpuBuffer:
    """Memory of the device, of fixed shape and element type. `array`: the same memory on the host, where mapped."""

    __slots__ = ("__weakref__", "address", "array", "dtype", "host_address", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: str, address: int, array: Array | None) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype).name
        self.address = address
        self.array = array
        self.host_address = 0 if array is None else host_address(array)


class Holdings:
    """What one device holds of the driver: each thing with its owner in Python and the call that gives it back.

    An owner that is garbage only makes a note of it here, because a driver's call in a finalizer may come in the middle
    of a capture or of another thread's work. `collect` gives back what was noted; `close` gives back everything, except
    pinned memory that an array still uses: that, and with the last of it the context, goes when the next device is
    opened after the array is gone.
    """

    _left: ClassVar[list[Holdings]] = []  # of closed devices, with pinned memory that arrays use

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._held: dict[int, tuple[Destroy, Any, bool]] = {}
        self._noted: deque[int] = deque()
        self._keys = itertools.count()
        self._lost = False

    @classmethod
    def collect_left(cls) -> None:
        """Give back what closed devices left to arrays that are gone by now."""
        for holdings in cls._left.copy():
            if holdings.garbage:
                holdings._try(_make_current, holdings._binding)
                holdings.collect()
                holdings._release_if_empty()

    def hold(self, owner: object, destroy: Destroy, handle: Any, outlives: bool = False) -> None:
        """Keep a handle until its owner is garbage. `outlives`: the owner may go on after `close`."""
        key = next(self._keys)
        self._held[key] = (destroy, handle, outlives)
        weakref.finalize(owner, self._noted.append, key).atexit = False

    @property
    def garbage(self) -> bool:
        """Whether `collect` has anything to give back."""
        return bool(self._noted)

    def collect(self) -> None:
        """Give back what has no owner any more. No stream may have work with it."""
        with suppress(IndexError):  # another thread may take the last
            while True:
                self._give_back(self._noted.popleft())

    def close(self) -> None:
        """Give everything back; the context too, once nothing of it is used."""
        for key in sorted(self._held, reverse=True):
            _, _, outlives = self._held.get(key, (None, None, True))  # what a graph kept may go with the graph
            if not outlives or key in self._noted:
                self._give_back(key)
        self._left.append(self)
        self._release_if_empty()

    def _give_back(self, key: int) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._try(held[0], held[1])

    def _release_if_empty(self) -> None:
        if not self._held:
            self._left.remove(self)
            self._try(lambda _: self._binding.release(), None)

    def _try(self, destroy: Destroy, handle: Any) -> None:
        if self._lost:
            return  # the process is about to end, and with it all that it holds
        try:
            destroy(handle)
        except DeviceError as error:
            self._lost = isinstance(error, DeviceLost)
            log.warning("could not be given back to the device", extra={"event": {"error": str(error)}})


def _make_current(binding: Binding) -> None:
    binding.make_current()


class Memory:
    """Memory of the device and pinned memory of the host, taken when an engine is loaded."""

    def __init__(self, binding: Binding, holdings: Holdings, collect: Callable[[bool], None]) -> None:
        self._binding, self._holdings, self._collect = binding, holdings, collect
        self._registered: weakref.WeakValueDictionary[tuple[int, int], Pinned] = weakref.WeakValueDictionary()
        self.allocations = 0

    def buffer(self, shape: tuple[int, ...], dtype: str) -> GpuBuffer:
        """Device memory; on a device that maps host memory, pinned memory that both see. Raises OutOfDeviceMemory."""
        if self._binding.maps_host_memory:
            array, address = self._pinned(shape, dtype, mapped=True)
            return GpuBuffer(shape, dtype, address, array)
        size_bytes = _size_bytes(shape, dtype)
        handle, address = self._take(lambda: self._binding.allocate(size_bytes), size_bytes)
        buffer = GpuBuffer(shape, dtype, address, None)
        self._holdings.hold(buffer, self._binding.free, handle)
        return buffer

    def staging(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Pinned memory of the host."""
        return self._pinned(shape, dtype, mapped=self._binding.maps_host_memory)[0]

    def registered(self, array: Array) -> Array:
        """The same memory, pinned for as long as anything refers to what is returned. Raises DeviceError."""
        key = (host_address(array), array.nbytes)
        memory = self._registered.get(key)
        if memory is None:
            self._collect(False)
            memory = Pinned(*key, keeps=array)
            self._holdings.hold(memory, self._binding.unregister, self._binding.register(*key))
            self._registered[key] = memory
        return np.asarray(memory).view(array.dtype).reshape(array.shape)

    def _pinned(self, shape: tuple[int, ...], dtype: str, mapped: bool) -> tuple[Array, int]:
        size_bytes = _size_bytes(shape, dtype)
        block = self._take(lambda: self._binding.pin(size_bytes, mapped), size_bytes)
        memory = Pinned(block.address, size_bytes)
        self._holdings.hold(memory, self._binding.unpin, block.handle, outlives=True)
        count = math.prod(shape)
        array = np.asarray(memory)[: count * np.dtype(dtype).itemsize].view(dtype).reshape(shape)
        return array, block.device_address

    def _take(self, allocate: Callable[[], Any], size_bytes: int) -> Any:
        self.allocations += 1
        self._collect(False)
        try:
            return allocate()
        except OutOfDeviceMemory:
            gc.collect()
            self._collect(True)
        try:
            return allocate()
        except OutOfDeviceMemory as error:
            free, total = self._binding.memory()
            raise OutOfDeviceMemory(
                error.call, error.code,
                f"{size_bytes:,} bytes were asked, {free:,} of {total:,} bytes are free; use fewer or smaller engines, "
                "or end what else uses the device (nvidia-smi; Jetson: tegrastats)",
            ) from error  # fmt: skip


def _size_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """At least one: the driver gives no empty memory."""
    return max(1, math.prod(shape) * np.dtype(dtype).itemsize)
