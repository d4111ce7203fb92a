"""A folder of images of any kind, with its `truth.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.samples import nifti, pictures
from converters.samples.checked import CheckedSamples
from converters.samples.dicom import DicomReader, is_dicom
from converters.samples.sample import MEASURED_BY, Sample, TrueBox, Truth, check_measurable, content_sha256, grid_of
from converters.samples.truth import TRUTH_FILE, Entry, MaskEntry, read_truth
from edge_runtime.domain import Array, Image, Volume
from edge_runtime.engines.card import Card
from edge_runtime.errors import ConfigurationError

_NOT_IMAGES = (TRUTH_FILE, "DICOMDIR")


@dataclass(frozen=True)
class Item:
    """An image of the folder, and the samples that it is: one, or one for each region; None: nothing is said of it."""

    path: Path
    entries: tuple[Entry | None, ...] = (None,)


class FolderSamples(CheckedSamples):
    """The images of a folder: with `labelled` those of its truth.yaml, which must then name them all."""

    def __init__(self, card: Card, folder: Path, count: int | None, labelled: bool) -> None:
        super().__init__(card, str(folder), labelled)
        if not folder.is_dir():
            raise ConfigurationError(f"{folder}: there is no such folder of samples")
        entries = read_truth(folder)
        if labelled and not entries:
            raise ConfigurationError(
                f"{folder}: there is no {TRUTH_FILE}, so nothing says what is true of these images"
            )
        _check_labels(card, folder, entries)
        items = _items(folder, entries, labelled)
        if not items:
            raise ConfigurationError(f"{folder}: the folder holds no image")
        self._folder = folder
        self._items = _spread(items, count)
        if labelled:
            named = [entry for item in self._items for entry in item.entries if entry is not None]
            check_measurable(card, self.name, [entry.present(MEASURED_BY[card.task]) for entry in named])

    def __len__(self) -> int:
        return sum(len(item.entries) for item in self._items)

    def _samples(self) -> Iterator[Sample]:
        with DicomReader("volume" if self._card.input.kind == "volume" else "frames") as dicom:
            for item in self._items:
                yield from self._of(item, dicom)

    def _of(self, item: Item, dicom: DicomReader) -> Iterator[Sample]:
        image = read_image(item.path, dicom)
        sha256, name = content_sha256(image), str(item.path)
        for entry in item.entries:
            truth = None if entry is None else self._truth(entry, image)
            region = None if entry is None or entry.region is None else entry.region.region
            yield Sample(name, sha256, image, truth, region)

    def _truth(self, entry: Entry, image: Image) -> Truth:
        boxes = None if entry.boxes is None else tuple(TrueBox(box.label, box.region) for box in entry.boxes)
        if boxes and entry.file.lower().endswith(pictures.VIDEO_SUFFIXES):
            raise ConfigurationError(
                f"{self._folder / entry.file}: of a video, only some frames are looked at; put boxes on single pictures"
            )
        if entry.in_a_plane and grid_of(image)[0] > 1:
            raise ConfigurationError(
                f"{self._folder / entry.file}: this image is {grid_of(image)}; a box in it is (slice, row, column)"
            )
        masks = None if entry.masks is None else self._masks(entry.masks, image)
        return Truth(None if entry.positive is None else frozenset(entry.positive), boxes, masks)

    def _masks(self, entries: Sequence[MaskEntry], image: Image) -> dict[str, Array]:
        masks: dict[str, Array] = {}
        for entry in entries:
            mask = read_mask(self._folder / entry.file, image)
            masks[entry.label] = mask | masks[entry.label] if entry.label in masks else mask
        return masks


def read_image(path: Path, dicom: DicomReader) -> Image:
    """One image.

    Raises:
        ConfigurationError: it is none, or is damaged; names the file.
        BackendUnavailable: the package that reads it is missing.
    """
    if path.is_dir() or is_dicom(path):
        return dicom.read(path)
    name = path.name.lower()
    if name.endswith(nifti.SUFFIXES):
        return nifti.read_nifti(path)
    if name.endswith(pictures.VIDEO_SUFFIXES):
        return pictures.read_video(path)
    return pictures.read_npy(path) if name.endswith(".npy") else pictures.read_picture(path)


def read_mask(path: Path, image: Image) -> Array:
    """A mask on the image's grid, bool.

    Raises:
        ConfigurationError: it lies on another grid, or cannot be read; names the file.
    """
    name = path.name.lower()
    if name.endswith(nifti.SUFFIXES) and isinstance(image, Volume):
        return nifti.on_grid(path, nifti.read_nifti(path), image)
    grid = grid_of(image)
    if name.endswith(".npy"):
        array = pictures.read_array(path)
    elif isinstance(image, Volume):
        raise ConfigurationError(f"{path}: the mask of a volume is NIfTI or .npy")
    else:
        pixels = pictures.read_picture(path).pixels
        array = np.max(pixels, axis=-1) if pixels.ndim == 4 else pixels
    array = array[None] if array.ndim == 2 else array
    if array.shape != grid:
        raise ConfigurationError(f"{path}: the mask lies on another grid: {array.shape}; the image: {grid}")
    mask: Array = array != 0
    return mask


def _check_labels(card: Card, folder: Path, entries: Sequence[Entry]) -> None:
    known = [label.name for label in card.labels]
    for index, entry in enumerate(entries):
        for label in sorted(frozenset().union(*(entry.present(kind) for kind in MEASURED_BY.values()))):
            if label not in known:
                raise ConfigurationError(
                    f"{folder / TRUTH_FILE}: samples[{index}] ({entry.file}): card {card.name} has no label {label!r}; "
                    f"it has: {', '.join(known)}"
                )


def _items(folder: Path, entries: Sequence[Entry], labelled: bool) -> list[Item]:
    """The images of the folder, each with what is said of it; of a labelled folder something must be said of each."""
    by_path: dict[Path, list[Entry | None]] = {}
    for entry in entries:
        by_path.setdefault(folder / entry.file, []).append(entry)
    masks = {folder / mask.file for entry in entries for mask in entry.masks or ()}
    unnamed = [path for path in _images(folder) if not any(p in by_path or p in masks for p in (path, *path.parents))
               and not any(path in named.parents for named in by_path)]  # fmt: skip
    if labelled and unnamed:
        raise ConfigurationError(
            f"{unnamed[0]}: {TRUTH_FILE} says nothing of this file; name it there or move it away"
            + (f" ({len(unnamed)} files or folders in all)" if len(unnamed) > 1 else "")
        )
    named = [Item(path, tuple(by_path[path])) for path in sorted(by_path)]
    return sorted(named + [Item(path) for path in unnamed], key=lambda item: item.path)


def _images(folder: Path) -> list[Path]:
    """Every file, in the order of names; but the files of a DICOM series stand for the folder that they lie in."""
    found: dict[Path, None] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file() or path.name in _NOT_IMAGES:
            continue
        found[path.parent if path.parent != folder and is_dicom(path) else path] = None
    return list(found)


def _spread(items: Sequence[Item], count: int | None) -> list[Item]:
    """At most `count` of the items, evenly spread: names often sort by what is in the images."""
    kept = len(items) if count is None else min(count, len(items))
    return [items[k * len(items) // kept] for k in range(kept)]
