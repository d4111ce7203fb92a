"""A buffer of the device with its place in the host's memory: one and the same where they share it."""

from __future__ import annotations

from edge_runtime.device.base import Buffer, Device, Stream
from edge_runtime.domain import Array


class Mirror:
    """Memory that both sides see. `host` is pinned, or the buffer itself; copies are in stream order."""

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: str) -> None:
        self.buffer: Buffer = device.empty(shape, dtype)
        seen = device.view(self.buffer)
        self.shared = seen is not None
        self.host: Array = device.staging(shape, dtype) if seen is None else seen
        self._device = device

    def upload(self, stream: Stream) -> None:
        """Bring what the host wrote to the device."""
        if not self.shared:
            self._device.upload(self.host, self.buffer, stream)

    def download(self, stream: Stream) -> None:
        """Bring what the device wrote to the host."""
        if not self.shared:
            self._device.download(self.buffer, self.host, stream)
