"""Folders of samples for tests: images, labels, and cards that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import yaml
from PIL import Image
from support import models

from converters.samples import SampleSet, open_samples
from edge_runtime.engines.card import Card, Samples, read_card

VOLUME, FRAME = (1, 1, 4, 8, 8), (1, 1, 8, 8)


def card_of(folder: Path, task: str = "classification", shape: tuple[int, ...] = FRAME, **changes: Any) -> Card:
    """The card of a tiny network, written below the folder."""
    return read_card(models.write_card(folder, models.card(task, shape, **changes)))[0]


def noise(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Values of 0 to 100."""
    return np.random.default_rng(seed).integers(0, 100, shape, dtype=np.uint8)


def save_picture(path: Path, pixels: np.ndarray) -> Path:
    """A PNG or JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A NIfTI file of an array (i, j, k)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def write_truth(folder: Path, *entries: dict[str, Any]) -> Path:
    """The folder's truth.yaml; returns the folder."""
    (folder / "truth.yaml").write_text(yaml.safe_dump({"samples": list(entries)}))
    return folder


def opened(card: Card, folder: Path, labelled: bool = False, count: int | None = None) -> SampleSet:
    """The set of a folder."""
    return open_samples(card, Samples(path=str(folder), count=count), folder, labelled)
