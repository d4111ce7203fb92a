"""Train the networks on computed frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.reference.endoscopy import losses, samples
from converters.reference.endoscopy.networks import Classifier, Detector, Segmenter, SmallDetector
from converters.reference.losses import overlap
from edge_runtime.domain import Array

EPOCHS = {samples.INFORMATIVE: 4, samples.DETECTOR: 7, samples.SMALL_DETECTOR: 10, samples.SEGMENTER: 6}
NETWORKS: dict[str, type[nn.Module]] = {
    samples.INFORMATIVE: Classifier,
    samples.DETECTOR: Detector,
    samples.SMALL_DETECTOR: SmallDetector,
    samples.SEGMENTER: Segmenter,
}
_BATCH, _RATE, _SEED, _TELL_SECONDS = 8, 3e-3, 1, 20.0

Step = Callable[[list[int], np.random.Generator], Tensor]


def train(name: str, files: list[Path], epochs: int | None = None) -> nn.Module:
    """The network of an engine, in evaluation mode."""
    torch.manual_seed(_SEED)
    network = NETWORKS[name]().to(memory_format=torch.channels_last)
    read = {samples.INFORMATIVE: _informative_step, samples.SEGMENTER: _outline_step}.get(name, _box_step)
    step, count = read(name, network, files)
    _fit(name, network, step, count, epochs or EPOCHS[name])
    return network.eval()


def _informative_step(name: str, network: nn.Module, files: list[Path]) -> tuple[Step, int]:
    images, truth = _read(files, name), _read(files, "informative").astype(np.float32)

    def step(chosen: list[int], rng: np.random.Generator) -> Tensor:
        varied = [_varied(_flipped(images[k], *_flips(rng)), rng) for k in chosen]
        return functional.binary_cross_entropy_with_logits(network(_batch(varied))[:, 0], _tensor(truth[chosen]))

    return step, len(truth)


def _box_step(name: str, network: Any, files: list[Path]) -> tuple[Step, int]:
    """Blurred frames of a tunnel are left out: nobody can say whether they hold a polyp."""
    images, counts, every = _read(files, name), _read(files, "boxes"), _read(files, "box")
    kept = np.flatnonzero(_read(files, "informative") | ~_read(files, "inside"))
    ends = np.cumsum(counts)
    nn.init.constant_(network.score[-1].bias, -3.0)  # polyps are rare
    rows, columns = images.shape[2:]

    def boxes(index: int, up: bool, left: bool) -> Tensor:
        """Centre and size in pixels, of the frame as it is flipped."""
        r0, c0, r1, c1 = every[ends[index] - counts[index] : ends[index]].T
        y, x = (r0 + r1) / 2, (c0 + c1) / 2
        y, x = 1 - y if up else y, 1 - x if left else x
        return _tensor(np.stack([x * columns, y * rows, (c1 - c0) * columns, (r1 - r0) * rows], axis=1))

    def step(chosen: list[int], rng: np.random.Generator) -> Tensor:
        flips = [_flips(rng) for _ in chosen]
        varied = [_varied(_flipped(images[kept[k]], *f), rng) for k, f in zip(chosen, flips, strict=True)]
        found, scores = network.cells(_batch(varied))
        truth = [boxes(kept[k], *f) for k, f in zip(chosen, flips, strict=True)]
        heats, targets = losses.heat(truth, scores.shape[2:], network.cell)
        return losses.focal(scores, heats) + 2 * losses.box_loss(found, targets, heats)

    return step, len(kept)


def _outline_step(_name: str, network: nn.Module, files: list[Path]) -> tuple[Step, int]:
    images, masks = _read(files, "crops"), _read(files, "outlines")

    def step(chosen: list[int], rng: np.random.Generator) -> Tensor:
        flips = [_flips(rng) for _ in chosen]
        varied = [_varied(_flipped(images[k], *f), rng) for k, f in zip(chosen, flips, strict=True)]
        truth = [_flipped(masks[k][None], *f) for k, f in zip(chosen, flips, strict=True)]
        return overlap(network(_batch(varied)), _tensor(np.stack(truth).astype(np.float32)))

    return step, len(images)


def _fit(name: str, network: nn.Module, step: Step, count: int, epochs: int) -> None:
    """Every sample once an epoch, in batches, with a learning rate that rises and falls once."""
    rng, began, told = np.random.default_rng(_SEED), time.monotonic(), 0.0
    network.train()
    weights = list(network.parameters())
    steps = count // _BATCH
    optimizer = torch.optim.AdamW(weights, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, epochs * steps, pct_start=0.15)
    for epoch in range(epochs):
        order, recent = rng.permutation(count), []
        for index in range(steps):
            loss = step(order[index * _BATCH : (index + 1) * _BATCH].tolist(), rng)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
            schedule.step()
            recent.append(float(loss.detach()))
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                done = f"epoch {epoch + 1} of {epochs}, step {index + 1} of {steps}"
                print(f"{name}: {done}, loss {np.mean(recent[-50:]):.3f}, {told - began:.0f} s", flush=True)


def _read(files: list[Path], key: str) -> Array:
    parts = []
    for file in files:
        with np.load(file) as arrays:
            parts.append(arrays[key])
    return np.concatenate([part for part in parts if len(part)])


def _flips(rng: np.random.Generator) -> tuple[bool, bool]:
    """Upside down, and left for right: a tunnel has no upright."""
    return bool(rng.uniform() < 0.5), bool(rng.uniform() < 0.5)


def _flipped(image: Array, up: bool, left: bool) -> Array:
    return image[:, :: -1 if up else 1, :: -1 if left else 1]


def _varied(image: Array, rng: np.random.Generator) -> Array:
    """Another scope: brighter or darker, of another colour, with more noise; float32 in 0..1."""
    varied = image.astype(np.float32) * np.float32(rng.uniform(0.8, 1.2) / 255)
    varied *= rng.uniform(0.9, 1.1, (3, 1, 1)).astype(np.float32)
    varied += np.float32(rng.normal(0, 0.015))
    if rng.uniform() < 0.4:
        varied += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.025))
    clipped: Array = np.clip(varied, 0, 1)
    return clipped


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _batch(arrays: list[Array]) -> Tensor:
    return _tensor(np.stack(arrays)).contiguous(memory_format=torch.channels_last)
