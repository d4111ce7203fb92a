"""A day's analysis of a series: the networks in ONNX Runtime, NumPy and SciPy around them, the answer delivered.

The day's script and Orthanc's plugin share it. It shares no code with the daemon.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np
import onnxruntime
from scipy import ndimage

from benchmarks.peers.day_answer import deliver, stack, write_captures, write_seg, write_sr

MARGIN = 0.1
EVERYWHERE = np.ones((3, 3, 3))


class Analysis:
    """The networks, loaded: a locator of the brain and a segmenter within its box."""

    def __init__(self, networks: Sequence[str], destination: str) -> None:
        self._locator, self._segmenter = (load(path) for path in networks)
        self._destination = destination

    def answer(self, series: list[Any]) -> dict[str, float]:
        """Analyse a series and deliver what was found; the seconds of each step."""
        marks = [time.monotonic()]
        series, volume, back, voxel_ml = stack(series)
        marks.append(time.monotonic())
        found = segment(self._locator, self._segmenter, volume)
        mask = nibabel.apply_orientation(found, back).astype(bool)
        marks.append(time.monotonic())
        volume_ml = float(mask.sum()) * voxel_ml
        seg = write_seg(series, mask)
        results = [seg, write_sr(series, seg, volume_ml), *write_captures(series, mask)]
        marks.append(time.monotonic())
        deliver(results, self._destination, {"brain_ml": volume_ml})
        marks.append(time.monotonic())
        names = ("decode", "infer", "write", "send")
        return {name: b - a for name, a, b in zip(names, marks[:-1], marks[1:], strict=True)}


def load(path: str) -> Any:
    """A session on all cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def resize(array: Any, shape: Sequence[int]) -> Any:
    """Nearest neighbour, as torch's nearest-exact."""
    grids = [np.minimum(((np.arange(n) + 0.5) * s / n).astype(int), s - 1)
             for n, s in zip(shape, array.shape, strict=True)]  # fmt: skip
    return array[np.ix_(*grids)]


def normalize(array: Any, low: float, high: float) -> Any:
    """Window to 0..1, then mean 0.449 and deviation 0.226, with the axes of batch and channel."""
    array = np.clip((array - low) / (high - low), 0, 1)
    array = (array - array.mean()) / array.std() * 0.226 + 0.449
    return array.astype(np.float32)[None, None]


def infer(session: Any, array: Any) -> Any:
    """True where the brain's probability is above a half."""
    return session.run(None, {session.get_inputs()[0].name: array})[0][0, 1] > 0.5


def largest(mask: Any) -> Any:
    """The largest connected part."""
    labels, count = ndimage.label(mask, structure=EVERYWHERE)
    return mask if count < 2 else labels == np.bincount(labels.ravel())[1:].argmax() + 1


def segment(locator: Any, segmenter: Any, volume: Any) -> Any:
    """The brain's mask of a volume in RAS order."""
    side = locator.get_inputs()[0].shape[-1]
    small = resize(volume, (side,) * 3)
    low, high = np.quantile(small, [0.005, 0.995])
    found = largest(infer(locator, normalize(small, low, high)))
    box = []
    for axis, extent in enumerate(volume.shape):
        share = found.mean(axis=tuple(k for k in range(3) if k != axis))
        hit = np.flatnonzero(share > 0.02) * extent / side
        a, b = hit[0], hit[-1] + extent / side
        centre, size = round((a + b) / 2), round((1 + 2 * MARGIN) * (b - a))
        box.append(slice(max(0, int(centre - size / 2)), min(extent, int(centre + size / 2))))
    cut = volume[tuple(box)]
    big = segmenter.get_inputs()[0].shape[-1]
    inside = resize(infer(segmenter, normalize(resize(cut, (big,) * 3), low, high)), cut.shape)
    mask = np.zeros(volume.shape, bool)
    mask[tuple(box)] = ndimage.binary_fill_holes(largest(inside))
    return mask
