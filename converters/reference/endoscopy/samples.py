"""Frames as the networks see them: the daemon's own preprocessing, and the truth on the same grid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from converters.reference.endoscopy.frames import BLURRED, CLEAR, OUTSIDE, POLYP, Frame, make_frames
from converters.reference.samples import ENGINES, card_of
from edge_runtime.domain import Array, Frames, SourceImage
from edge_runtime.engines.sampling import resize_nearest
from edge_runtime.engines.views import Region
from edge_runtime.preprocess import Prepare, compile_recipe

__all__ = ["ENGINES", "card_of"]

INFORMATIVE, DETECTOR = "endoscopy-informative", "endoscopy-polyp-detector"
SMALL_DETECTOR, SEGMENTER = "endoscopy-polyp-detector-small", "endoscopy-polyp-segmenter"
WHOLE = (INFORMATIVE, DETECTOR, SMALL_DETECTOR)  # these look at whole frames
NAMES = (*WHOLE, SEGMENTER)
MARGIN = 0.25  # around a detected region, as the shipped pipeline has it

_OF_A_PATIENT = (POLYP, POLYP, CLEAR, BLURRED, POLYP, CLEAR, BLURRED, OUTSIDE)
_VL_ENDOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.1"


@dataclass(frozen=True)
class Split:
    """Patients for one purpose, eight frames of each: their seeds never meet those of another."""

    name: str
    first_seed: int
    patients: int

    def seeds(self) -> range:
        """All seeds."""
        return range(self.first_seed, self.first_seed + self.patients)


TRAINING = Split("training", 600_000, 420)
VALIDATION = Split("validation", 700_000, 50)
TEST = Split("test", 800_000, 100)


def kinds_of() -> tuple[str, ...]:
    """What the eight frames of every patient are."""
    return _OF_A_PATIENT


def frames_of(seed: int) -> list[Frame]:
    """The eight frames of a patient."""
    return make_frames(seed, _OF_A_PATIENT)


def as_image(*pictures: Array) -> Frames:
    """Pictures, uint8 (rows, columns, 3), as the daemon's image."""
    sources = tuple(SourceImage(_VL_ENDOSCOPIC, f"2.25.{k + 1}") for k in range(len(pictures)))
    return Frames(np.stack(pictures), "ES", sources)


def region_of(box: tuple[int, int, int, int]) -> Region:
    """A box of the first frame as a region."""
    return Region((0.0, float(box[0]), float(box[1])), (1.0, float(box[2]), float(box[3])))


def outline_samples(prepare: Prepare, frame: Frame, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Regions as a detector finds them, moved and sized a little wrong: uint8 (3, rows, columns) and the mask, bool."""
    rows, columns = frame.pixels.shape[:2]
    boxes = [(polyp.box, polyp.mask) for polyp in frame.polyps]
    if not boxes:
        start = rng.uniform(0.1, 0.6, 2) * (rows, columns)
        stop = start + rng.uniform(0.1, 0.3, 2) * (rows, columns)
        boxes = [((int(start[0]), int(start[1]), int(stop[0]), int(stop[1])), np.zeros((rows, columns), np.bool_))]
    for box, mask in boxes:
        start, stop = np.array(box[:2], dtype=float), np.array(box[2:], dtype=float)
        size = (stop - start) * rng.uniform(0.75, 1.35, 2)
        middle = (start + stop) / 2 + rng.uniform(-0.15, 0.15, 2) * size
        low = np.clip(middle - size / 2, 0, (rows - 4, columns - 4))
        high = np.clip(middle + size / 2, low + 4, (rows, columns))
        (place,) = prepare(as_image(frame.pixels), Region((0.0, *low.tolist()), (1.0, *high.tolist())), MARGIN)
        prepared = place.inputs[0].array[0]
        cut = resize_nearest(place.placement.cut(mask), prepared.shape[1:])
        yield np.round(prepared * 255).astype(np.uint8), cut


def cache(split: Split, folder: Path, processes: int) -> list[Path]:
    """One file a patient, made where it is missing: the inputs of every network, with their truth."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seed}.npz" for seed in split.seeds()]
    missing = [(seed, file) for seed, file in zip(split.seeds(), files, strict=True) if not file.is_file()]
    if missing:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for done, _ in enumerate(pool.map(_write, *zip(*missing, strict=True), chunksize=4), start=1):
                if done % 100 == 0:
                    print(f"{split.name}: {done} of {len(missing)} patients", flush=True)
    return files


def _write(seed: int, file: Path) -> None:
    frames, rng = frames_of(seed), np.random.default_rng(seed)
    outline = compile_recipe(card_of(SEGMENTER))
    chosen = [frame for frame in frames if frame.polyps or (frame.informative and rng.uniform() < 0.3)]
    outlines = [pair for frame in chosen for pair in outline_samples(outline, frame, rng)]
    rows, columns = frames[0].pixels.shape[:2]
    extent = np.array([rows, columns, rows, columns], dtype=np.float32)
    inputs: dict[str, Any] = {
        name: np.stack([_prepared(compile_recipe(card_of(name)), frame) for frame in frames]) for name in WHOLE
    }
    boxes = [np.array([p.box for p in frame.polyps], dtype=np.float32).reshape(-1, 4) / extent for frame in frames]
    partial_file = file.with_suffix(f".{os.getpid()}.partial")
    with partial_file.open("wb") as stream:
        np.savez(
            stream,
            informative=np.array([frame.informative for frame in frames]),
            inside=np.array([frame.inside for frame in frames]),
            boxes=np.array([len(of_frame) for of_frame in boxes]),
            box=np.concatenate(boxes),  # shares of the picture: row, column of start and stop
            crops=np.array([crop for crop, _ in outlines], dtype=np.uint8),
            outlines=np.array([mask for _, mask in outlines], dtype=np.bool_),
            **inputs,
        )
    partial_file.rename(file)


def _prepared(prepare: Prepare, frame: Frame) -> Array:
    """The network's input as grey levels, uint8 (3, rows, columns): these recipes take pixels as they are."""
    (place,) = prepare(as_image(frame.pixels), None, 0.0)
    levels: Array = np.round(place.inputs[0].array[0] * 255).astype(np.uint8)
    return levels
