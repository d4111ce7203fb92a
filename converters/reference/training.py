"""Train the networks on phantoms. Classifier and detector learn the same features together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.reference import losses
from converters.reference.networks import Classifier, Detector, Segmenter, most_suspicious
from converters.reference.samples import CELL, clipped
from edge_runtime.domain import Array

TRIAGE_EPOCHS, OUTLINE_EPOCHS = 8, 4
_TRIAGE_BATCH, _OUTLINE_BATCH = 2, 4
_RATE = 2.5e-3
_PRESENT = 0.1  # share of blood in some cell of what a part of a window must show to be positive
_TRIAGE_CROP, _OUTLINE_CROP = (32, 88, 72), (16, 64, 64)
_SEED = 1
_TELL_SECONDS = 30.0

Step = Callable[[list[int], np.random.Generator], Tensor]


def train_triage(files: list[Path], epochs: int = TRIAGE_EPOCHS) -> tuple[Classifier, Detector]:
    """Classifier and detector, with the same features; in evaluation mode."""
    windows = list(_windows(files))
    torch.manual_seed(_SEED)
    detector, classifier = Detector(), Classifier()
    classifier.features = detector.features
    for head in (detector.score, classifier.score):
        nn.init.constant_(head[-1].bias, -3.0)  # haemorrhages are rare
    both = nn.ModuleList([detector, classifier.score]).to(memory_format=torch.channels_last_3d)

    def step(chosen: list[int], rng: np.random.Generator) -> Tensor:
        images, boxes, blood = zip(*(_triage_crop(*windows[index], rng) for index in chosen), strict=True)
        features, cells = detector.features(_batch(images)), _batch(blood)
        present = (cells.amax(dim=(2, 3, 4)) > _PRESENT).float()
        heats, targets = losses.heat(list(boxes), features.shape[2:])
        suspicion = classifier.score(features)
        return (
            losses.focal(detector.score(features), heats)
            + 2 * losses.box_loss(detector.boxes(features), targets, heats)
            + losses.presence(suspicion, cells)
            + functional.binary_cross_entropy_with_logits(most_suspicious(suspicion), present)
        )

    _fit("classifier and detector", both, step, len(windows), epochs, _TRIAGE_BATCH)
    return classifier.eval(), detector.eval()


def train_segmenter(files: list[Path], epochs: int = OUTLINE_EPOCHS) -> Segmenter:
    """The segmenter, in evaluation mode."""
    crops = [crop for file in files for crop in _crops(file)]
    torch.manual_seed(_SEED)
    network = Segmenter()
    network.to(memory_format=torch.channels_last_3d)

    def step(chosen: list[int], rng: np.random.Generator) -> Tensor:
        images, blood = zip(*(_outline_crop(*crops[index], rng) for index in chosen), strict=True)
        return losses.overlap(network(_batch(images)), _batch(blood))

    _fit("segmenter", network, step, len(crops), epochs, _OUTLINE_BATCH)
    network.eval()
    return network


def _fit(name: str, network: nn.Module, step: Step, count: int, epochs: int, batch: int) -> None:
    """Every sample once an epoch, in batches, with a learning rate that rises and falls once."""
    rng, began, told = np.random.default_rng(_SEED), time.monotonic(), 0.0
    network.train()
    weights = list(network.parameters())
    steps = count // batch
    optimizer = torch.optim.AdamW(weights, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, epochs * steps, pct_start=0.15)
    for epoch in range(epochs):
        order, recent = rng.permutation(count), []
        for index in range(steps):
            loss = step(order[index * batch : (index + 1) * batch].tolist(), rng)
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


def _windows(files: list[Path]) -> Iterator[tuple[Array, Array, Array]]:
    """Triage windows with their boxes and cells; windows with nothing but air are left out."""
    for file in files:
        with np.load(file) as arrays:
            ends = np.cumsum(arrays["boxes"])
            for image, end, count, cells in zip(arrays["images"], ends, arrays["boxes"], arrays["cells"], strict=True):
                if (image > 0).mean() > 0.02:
                    yield image, arrays["box"][end - count : end], cells


def _crops(file: Path) -> list[tuple[Array, Array]]:
    with np.load(file) as arrays:
        return list(zip(arrays["crops"], arrays["blood"], strict=True))


def _triage_crop(image: Array, boxes: Array, cells: Array, rng: np.random.Generator) -> tuple[Array, Tensor, Array]:
    """A part of a window, which may be mirrored; the boxes and the share of blood in its cells."""
    grid = tuple(n // c for n, c in zip(_TRIAGE_CROP, CELL, strict=True))
    first = [int(rng.integers(n - m + 1)) for n, m in zip(cells.shape, grid, strict=True)]
    start = [a * c for a, c in zip(first, CELL, strict=True)]
    part = image[tuple(slice(a, a + n) for a, n in zip(start, _TRIAGE_CROP, strict=True))]
    blood = cells[tuple(slice(a, a + n) for a, n in zip(first, grid, strict=True))]
    seen = [clipped(box - np.tile(start, 2), _TRIAGE_CROP) for box in boxes]
    kept = np.array([box for box in seen if box is not None], dtype=np.float32).reshape(-1, 6)
    if rng.uniform() < 0.5:
        part, blood = part[:, :, ::-1], blood[:, :, ::-1]
        kept[:, [2, 5]] = _TRIAGE_CROP[2] - kept[:, [5, 2]]
    return _varied(part, rng), torch.from_numpy(kept), blood


def _outline_crop(image: Array, blood: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A part of a window, mostly around some blood, which may be mirrored."""
    aim = np.array(image.shape) * rng.uniform(0, 1, 3)
    where = np.flatnonzero(blood)
    if where.size and rng.uniform() < 0.8:
        aim = np.array(np.unravel_index(rng.choice(where), blood.shape)) + rng.uniform(-16, 16, 3)
    limit = np.array(image.shape) - _OUTLINE_CROP
    start = np.clip(np.round(aim - np.array(_OUTLINE_CROP) / 2), 0, limit).astype(int)
    box = tuple(slice(a, a + c) for a, c in zip(start.tolist(), _OUTLINE_CROP, strict=True))
    mirror = -1 if rng.uniform() < 0.5 else 1
    return _varied(image[box][:, :, ::mirror], rng), blood[box][:, :, ::mirror].astype(np.float32)


def _varied(image: Array, rng: np.random.Generator) -> Array:
    """Another scanner: a little brighter or darker, more or less contrast, more noise."""
    varied = image.astype(np.float32) * np.float32(rng.uniform(0.95, 1.05)) + np.float32(rng.normal(0, 0.012))
    if rng.uniform() < 0.5:
        varied += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.03))
    clipped_to_window: Array = np.clip(varied, 0, 1)
    return clipped_to_window


def _batch(arrays: Any) -> Tensor:
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(arrays)[:, None], dtype=np.float32))
    return stacked.contiguous(memory_format=torch.channels_last_3d)
