"""Launches every kernel a few times, for a sanitizer to look at; the last line tells which were launched.

python -m benchmarks.gpu.each_kernel
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.live.networks import CLASSIFIER, DETECTOR, SEGMENTER, small_card
from edge_runtime.device.base import Argument, Buffer, Device, Stream
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.views import Region
from edge_runtime.errors import EXIT_DONE, EXIT_FAILURE
from edge_runtime.kernels import Kernels
from edge_runtime.kernels.compile import sources
from edge_runtime.postprocess.on_device import decoding
from edge_runtime.preprocess.on_device import frame_preparation

_SHAPE = (33, 47)  # of the networks' input; not a multiple of a block
_BOXES = 70
_PICTURES = (((37, 61, 3), "uint8"), ((41, 39), "uint16"), ((35, 64), "int16"))
_REGIONS = (None, Region((0.0, 2.0, 3.0), (1.0, 30.5, 33.25)))


class Counted(Kernels):
    """The kernels, and which of them were launched."""

    def __init__(self, device: Device) -> None:
        super().__init__(device, None)
        self.launched: set[str] = set()

    def launch(self, name: str, threads: tuple[int, int, int], arguments: Sequence[Argument], stream: Stream) -> None:
        """See `Kernels.launch`."""
        self.launched.add(name)
        super().launch(name, threads, arguments, stream)


def main() -> int:
    """Launch them on the first device."""
    from edge_runtime.device.cuda import CudaDevice

    device = CudaDevice()
    kernels = Counted(device)
    with tempfile.TemporaryDirectory() as work:
        for name in (CLASSIFIER, DETECTOR, SEGMENTER):
            card = small_card(name, _SHAPE, _BOXES, Path(work, name))
            for shape, dtype in _PICTURES:
                for region in _REGIONS:
                    _frame(kernels, card, _picture(shape, dtype), region)
    device.close()
    left_out = sorted(_all() - kernels.launched)
    print(f"launched: {', '.join(sorted(kernels.launched))}; not launched: {', '.join(left_out) or 'none'}")
    return EXIT_DONE if kernels.launched else EXIT_FAILURE


def _all() -> set[str]:
    """The names of the kernels in the sources."""
    return {name for text in sources().values() for name in re.findall(r"^EDGE_KERNEL\((\w+)", text.decode(), re.M)}


def _picture(shape: tuple[int, ...], dtype: str) -> Array:
    limits = np.iinfo(dtype)
    found: Array = np.random.default_rng(1).integers(limits.min, limits.max, shape, dtype=dtype)
    return found


def _frame(kernels: Counted, card: Card, picture: Array, region: Region | None) -> None:
    """A picture's way to a network's input; then the way of an output, noise, to the answers."""
    device, stream = kernels.device, kernels.device.stream()
    preparation = frame_preparation(card, kernels)
    decoder = decoding(card, kernels, None)
    if isinstance(preparation, str) or isinstance(decoder, str):
        raise ValueError(f"{card.name} is not done on the device: {preparation}, {decoder}")
    placement, block = preparation.place(picture.shape, picture.dtype.name, region, 0.25)
    into = device.empty(card.input.shape, card.input.dtype)
    preparation.enqueue(_up(device, picture, stream), _up(device, _bytes(block), stream), into, stream)
    output = np.random.default_rng(2).normal(0, 3, card.output.shape).astype(card.output.dtype)
    tensors = decoder.result_tensors((picture.shape[0], picture.shape[1]))
    results, found = [device.empty(*one) for one in tensors], [device.staging(*one) for one in tensors]
    scratch = [device.empty(*one) for one in decoder.scratch_tensors()]
    parameters = _up(device, _bytes(decoder.place(placement)), stream)
    decoder.enqueue(_up(device, output, stream), parameters, results, scratch, stream)
    for buffer, array in zip(results, found, strict=True):
        device.download(buffer, array, stream)
    stream.synchronize()
    stream.close()


def _bytes(block: Array) -> Array:
    return block.view(np.uint8).reshape(-1)


def _up(device: Device, array: Array, stream: Stream) -> Buffer:
    """A copy on the device, which is there at once."""
    pinned, buffer = device.staging(array.shape, array.dtype.name), device.empty(array.shape, array.dtype.name)
    pinned[...] = array
    device.upload(pinned, buffer, stream)
    stream.synchronize()
    return buffer


if __name__ == "__main__":
    sys.exit(main())
