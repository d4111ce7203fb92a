"""Phantoms as the networks see them: the daemon's own preprocessing, and the truth on the same grid."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from converters.reference.phantom import NEGATIVE, POSITIVE, Phantom, make_phantom
from edge_runtime.domain import Array, Volume
from edge_runtime.engines.card import Card, read_card
from edge_runtime.engines.views import Placement, Region
from edge_runtime.preprocess import compile_recipe

ENGINES = Path(__file__).parents[2] / "engines"
CLASSIFIER, DETECTOR, SEGMENTER = "ct-hemorrhage-classifier", "ct-hemorrhage-detector", "ct-hemorrhage-segmenter"
CELL = (2, 4, 4)  # voxels of a triage window in a cell of the detector's grid
MARGIN = 0.25  # around a detected region, as the shipped pipeline has it

_AIR, _BLOOD = -20.0, 130.0  # the recipe's window makes 0 and 1 of them
_COARSE, _FINE = 160, 256
_SEEN = 0.3  # the share of a box that a window must see for the box to count


@dataclass(frozen=True)
class Split:
    """Phantoms for one purpose: their seeds never meet those of another. Three of five are positive."""

    name: str
    first_seed: int
    count: int
    quick: bool = False  # three of four with a coarser matrix, which takes a third of the time

    def seeds(self) -> range:
        """All seeds."""
        return range(self.first_seed, self.first_seed + self.count)

    def phantom(self, seed: int) -> Phantom:
        """The phantom of one of the seeds."""
        kind = POSITIVE if seed % 5 < 3 else NEGATIVE
        return make_phantom(seed, kind, matrix=_COARSE if self.quick and seed % 4 else _FINE)


TRAINING = Split("training", 100_000, 1200, quick=True)
VALIDATION = Split("validation", 200_000, 100)
TEST = Split("test", 300_000, 200)


def card_of(name: str) -> Card:
    """A card of the repository."""
    return read_card(ENGINES / name)[0]


def in_grid(placement: Placement, grid: Sequence[int], start: Sequence[float], stop: Sequence[float]) -> Array:
    """A box of the source, (slice, row, column) indices, on the prepared grid: start and stop, float64 (6,)."""
    low, high = [], []
    for k, axis in enumerate(placement.axes):
        extent, scale = placement.source_shape[axis], grid[k] / placement.box_shape[k]
        a, b = (extent - stop[axis], extent - start[axis]) if placement.flipped[k] else (start[axis], stop[axis])
        low.append((a - placement.start[k]) * scale)
        high.append((b - placement.start[k]) * scale)
    return np.array(low + high)


def triage_samples(card: Card, phantom: Phantom) -> Iterator[tuple[Array, Array, Array]]:
    """Each window of the phantom with its truth.

    The window, float16; the boxes in it, float32 (n, 6), start and stop in its voxels; the share of blood in each of
    its cells, float16.
    """
    prepare = compile_recipe(card)
    (place,), (marked,) = (prepare(volume, None, 0.0) for volume in (phantom.image, _marked(phantom)))
    for prepared, blood in zip(place.inputs, marked.inputs, strict=True):
        assert prepared.tile is not None
        tile = prepared.tile
        boxes = [in_grid(place.placement, tile.grid, lesion.box.start, lesion.box.stop) - np.tile(tile.offset, 2)
                 for lesion in phantom.lesions]  # fmt: skip
        seen = [clipped(box, tile.shape) for box in boxes]
        kept = np.array([box for box in seen if box is not None], dtype=np.float32).reshape(-1, 6)
        yield prepared.array[0, 0].astype(np.float16), kept, in_cells(blood.array[0, 0]).astype(np.float16)


def in_cells(window: Array) -> Array:
    """The mean in each of the detector's cells."""
    z, y, x = (n // c for n, c in zip(window.shape, CELL, strict=True))
    means: Array = window.reshape(z, CELL[0], y, CELL[1], x, CELL[2]).mean(axis=(1, 3, 5))
    return means


def _marked(phantom: Phantom) -> Volume:
    """The truth as an image, of which the recipe makes 0 and 1."""
    truth = np.where(phantom.truth, np.float32(_BLOOD), np.float32(_AIR))
    return Volume(truth, phantom.image.geometry, "CT", phantom.image.sources)


def clipped(box: Array, shape: Sequence[int]) -> Array | None:
    """The part of a box that a window sees, or None where that is too little of it."""
    inside = np.concatenate([np.clip(box[:3], 0, shape), np.clip(box[3:], 0, shape)])
    share = np.prod((inside[3:] - inside[:3]) / (box[3:] - box[:3]))
    return inside if share >= _SEEN else None


def outline_samples(card: Card, phantom: Phantom, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Windows around haemorrhages and elsewhere, float16, and the blood in them, bool."""
    marked, prepare = _marked(phantom), compile_recipe(card)
    for region in _regions(phantom, rng):
        images, masks = (next(prepare(volume, region, MARGIN)).inputs for volume in (phantom.image, marked))
        chosen = sorted(range(len(images)), key=lambda k: -float(masks[k].array.sum()))[:2]
        for k in chosen:
            yield images[k].array[0, 0].astype(np.float16), masks[k].array[0, 0] >= 0.5


def _regions(phantom: Phantom, rng: np.random.Generator) -> Iterator[Region]:
    """What a detector may find: the boxes, moved and sized a little wrong, and now and then a place without blood."""
    shape = np.array(phantom.image.voxels.shape)
    for lesion in phantom.lesions:
        start, stop = np.array(lesion.box.start), np.array(lesion.box.stop)
        size = (stop - start) * rng.uniform(0.75, 1.35, 3)
        centre = (start + stop) / 2 + rng.uniform(-0.15, 0.15, 3) * size
        yield _region(centre, np.maximum(size, 1.0), shape)
    if not phantom.lesions or rng.uniform() < 0.3:
        size = np.array([rng.uniform(2, 8), rng.uniform(10, 50), rng.uniform(10, 50)])
        yield _region(shape * rng.uniform(0.3, 0.7, 3), size, shape)


def _region(centre: Array, size: Array, shape: Array) -> Region:
    start = np.clip(centre - size / 2, 0, shape - 1)
    stop = np.clip(centre + size / 2, start + 1, shape)
    return Region(tuple(start.tolist()), tuple(stop.tolist()))


def cache(split: Split, folder: Path, processes: int) -> list[Path]:
    """One file a seed, made where it is missing: triage windows with boxes, outline windows with masks."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seed}.npz" for seed in split.seeds()]
    missing = [(seed, file) for seed, file in zip(split.seeds(), files, strict=True) if not file.is_file()]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for done, _ in enumerate(
            pool.map(partial(_write, split), *zip(*missing, strict=True), chunksize=4) if missing else ()
        ):
            if done % 50 == 49:
                print(f"{split.name}: {done + 1} of {len(missing)} phantoms", flush=True)
    return files


def _write(split: Split, seed: int, file: Path) -> None:
    phantom, rng = split.phantom(seed), np.random.default_rng(seed)
    windows = list(triage_samples(card_of(DETECTOR), phantom))
    outlines = list(outline_samples(card_of(SEGMENTER), phantom, rng))
    partial = file.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as stream:
        np.savez(
            stream,
            images=np.array([image for image, _, _ in windows]),
            boxes=np.array([len(boxes) for _, boxes, _ in windows]),
            box=np.concatenate([boxes for _, boxes, _ in windows]),
            cells=np.array([cells for _, _, cells in windows]),
            crops=np.array([image for image, _ in outlines], dtype=np.float16),
            blood=np.array([mask for _, mask in outlines], dtype=np.bool_),
        )
    partial.rename(file)
