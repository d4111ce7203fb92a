"""The kernels, loaded on a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_runtime.device.base import Argument, Device, Kernel, Stream
from edge_runtime.errors import BackendUnavailable
from edge_runtime.kernels.compile import image

_BLOCK = (32, 4, 1)
_LINE = (128, 1, 1)


class Kernels:
    """Every kernel of the project on one device. `cache`: the folder that keeps them compiled, None: nothing is kept.

    Raises:
        BackendUnavailable: the device runs no kernels, is too old for them, or NVRTC is missing.
        DeviceError: they did not compile, or the device refused them.
    """

    def __init__(self, device: Device, cache: Path | None) -> None:
        capability = device.facts.compute_capability
        if capability is None or not device.abilities.kernels:
            raise BackendUnavailable(f"{device.name} runs no kernels")
        self.device = device
        self._module = device.load_module(image(capability, cache))
        self._kernels: dict[str, Kernel] = {}

    def kernel(self, name: str) -> Kernel:
        """The kernel of that name; raises DeviceError where there is none."""
        if name not in self._kernels:
            self._kernels[name] = self._module.kernel(name)
        return self._kernels[name]

    def launch(self, name: str, threads: tuple[int, int, int], arguments: Sequence[Argument], stream: Stream) -> None:
        """Append at least `threads` (x, y, z) of a kernel, rounded up to whole blocks, to a stream."""
        block = _LINE if threads[1] == threads[2] == 1 else _BLOCK
        grid = (-(-threads[0] // block[0]), -(-threads[1] // block[1]), -(-threads[2] // block[2]))
        self.kernel(name).launch(grid, block, arguments, stream)
