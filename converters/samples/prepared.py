"""Samples prepared once, on disk: what the network sees, and what is true where it looks. One image in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.samples.opening import places
from converters.samples.sample import Sample, TrueBox, grid_of
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.views import Placement, Tile
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.preprocess import compile_recipe


@dataclass(frozen=True)
class PreparedPlace:
    """The whole image, a region of it, or a frame: its inputs as files (`.npy`, float32)."""

    placement: Placement
    files: tuple[tuple[Path, Tile | None], ...]

    def inputs(self) -> Iterator[tuple[Array, Tile | None]]:
        """Each input, read when it is reached, with the window that it is."""
        for file, tile in self.files:
            yield np.load(file), tile


@dataclass(frozen=True, eq=False)
class PreparedSample:
    """A sample without its image. Masks are files (`.npy`, bool) of the part `looked_at` of the image's grid."""

    name: str
    grid: tuple[int, int, int]
    looked_at: tuple[slice, slice, slice]
    places: tuple[PreparedPlace, ...]
    positive: frozenset[str]
    boxes: tuple[TrueBox, ...]
    masks: Mapping[str, Path]

    def mask(self, label: str) -> Array:
        """What is true of `looked_at`, bool."""
        if label not in self.masks:
            return np.zeros([s.stop - s.start for s in self.looked_at], dtype=np.bool_)
        mask: Array = np.load(self.masks[label])
        return mask


def prepare_samples(card: Card, samples: Iterable[Sample], folder: Path) -> Iterator[PreparedSample]:
    """Prepare labelled samples one by one; files are written below `folder`.

    Raises:
        ConfigurationError: a sample cannot be read, or the recipe does not take it; names the sample.
    """
    prepare = compile_recipe(card)
    folder.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        written: list[PreparedPlace] = []
        for place in places(prepare, sample):
            files: list[tuple[Path, Tile | None]] = []
            for prepared in place.inputs:
                file = folder / f"{number}-{len(written)}-{len(files)}.npy"
                _save(file, prepared.array)
                files.append((file, prepared.tile))
            written.append(PreparedPlace(place.placement, tuple(files)))
        yield _without_image(card, sample, tuple(written), folder / f"{number}")
        del sample


def _without_image(card: Card, sample: Sample, written: tuple[PreparedPlace, ...], stem: Path) -> PreparedSample:
    grid, truth = grid_of(sample.image), sample.truth
    assert truth is not None
    box = None if sample.region is None else sample.region.box(grid)
    looked_at = (slice(0, grid[0]), slice(0, grid[1]), slice(0, grid[2])) if box is None else box.slices
    masks = {}
    for label, mask in (truth.masks or {}).items() if card.task == "segmentation" else ():
        seen = mask[looked_at]
        if seen.any():
            masks[label] = stem.with_name(f"{stem.name}-{label}.npy")
            _save(masks[label], seen)
    return PreparedSample(
        sample.name, grid, looked_at, written, truth.positive or frozenset(), truth.boxes or (), masks
    )


def _save(file: Path, array: Array) -> None:
    try:
        np.save(file, array)
    except OSError as error:
        raise EdgeRuntimeError(
            f"{file.parent}: the prepared samples cannot be written: {error}; free space, or set TMPDIR to another disk"
        ) from error
