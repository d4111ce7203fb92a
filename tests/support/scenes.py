"""Pictures and volumes that a network learns within seconds: bright discs (or balls) and rings in noise.

They are written as a user's samples are: PNG or NIfTI with a truth.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import yaml
from PIL import Image

RADIUS = {
    ("classification", 2): 0.25,
    ("classification", 3): 0.4,
    ("detection", 2): 0.12,
    ("detection", 3): 0.22,
    ("segmentation", 2): 0.12,
    ("segmentation", 3): 0.2,
}
"""Of a disc or ball, by task and axes, as a share of the shortest side; they differ by a twentieth either way."""

_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # columns to Left, rows to Posterior, slices to Superior; 1 mm


@dataclass(frozen=True, eq=False)
class Scene:
    """pixels: uint8. `discs`: centre and radius, (row, column) or (slice, row, column). mask: the discs' pixels."""

    pixels: np.ndarray
    discs: tuple[tuple[tuple[float, ...], float], ...]
    mask: np.ndarray


def make_scene(seed: int, shape: tuple[int, ...], share: float, discs: int, rings: int) -> Scene:
    """A scene, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in shape), indexing="ij"))
    pixels = rng.normal(60, 12, shape) + rng.uniform(-15, 15) + rng.uniform(-0.1, 0.1) * (grid[0] - shape[0] / 2)
    mask, kept, taken = np.zeros(shape, dtype=bool), [], []
    for number in range(discs + rings):
        radius = share * min(shape) * rng.uniform(0.95, 1.05)
        centre = _free_place(rng, shape, radius, taken)
        if centre is None:
            continue
        taken.append((centre, radius))
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)))
        inside = distance < radius
        if number < discs:
            mask |= inside
            kept.append((tuple(map(float, centre)), float(radius)))
        else:
            inside &= distance > 0.85 * radius
        pixels[inside] += rng.uniform(90, 120)
    return Scene(np.clip(pixels, 0, 255).astype(np.uint8), tuple(kept), mask)


def _free_place(rng: Any, shape: tuple[int, ...], radius: float, taken: list[Any]) -> np.ndarray | None:
    """A centre well apart from what is there; None where chance finds none."""
    for _ in range(50):
        centre = np.array([rng.uniform(radius + 1, n - radius - 1) for n in shape])
        if all(np.linalg.norm(centre - other) > 1.2 * (radius + r) for other, r in taken):
            return centre
    return None


def make_scenes(task: str, shape: tuple[int, ...], seeds: range) -> list[Scene]:
    """Of a classification, every other one holds a disc, the others a ring; of all else, each one or two discs."""
    share = RADIUS[task, len(shape)]
    if task == "classification":
        return [make_scene(seed, shape, share, seed % 2, 1 - seed % 2) for seed in seeds]
    return [make_scene(seed, shape, share, 1 + seed % 2, 0) for seed in seeds]


def write_scenes(folder: Path, task: str, label: str, scenes: list[Scene]) -> None:
    """A folder of samples with its truth.yaml."""
    folder.mkdir(parents=True)
    entries = []
    for number, scene in enumerate(scenes):
        plane = scene.pixels.ndim == 2
        file = f"{number:03d}.png" if plane else f"{number:03d}.nii.gz"
        if plane:
            Image.fromarray(scene.pixels).save(folder / file)
        else:
            nibabel.save(nibabel.Nifti1Image(scene.pixels.T, _AFFINE), folder / file)
        entry: dict[str, Any] = {"file": file}
        if task == "classification":
            entry["positive"] = [label] if scene.discs else []
        elif task == "detection":
            corners = [([c - r for c in centre], [c + r for c in centre]) for centre, r in scene.discs]
            entry["boxes"] = [{"label": label, "start": a, "stop": b} for a, b in corners]
        else:
            np.save(folder / f"{number:03d}-mask.npy", scene.mask)
            entry["masks"] = [{"label": label, "file": f"{number:03d}-mask.npy"}]
        entries.append(entry)
    (folder / "truth.yaml").write_text(yaml.safe_dump({"samples": entries}))
