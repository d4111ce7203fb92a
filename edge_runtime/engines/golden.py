"""The golden pair: a small seed that the recipe turns into an input, and samples of what came out when it was built.

The same seed, recipe, engine and library give the same output; a difference beyond the tolerance means that one of them
is not what it was.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

from edge_runtime.domain import Array, Frames, Geometry, Image, SourceImage, Volume
from edge_runtime.engines.card import Card

_SAMPLES = 8192
_SEED_EXTENT = 32


@dataclass(frozen=True, eq=False)
class Golden:
    """seed: uint8, (d, d, d) or (1, d, d). Samples: float32, every n-th element. Mean over the whole output."""

    seed: Array
    input_samples: Array
    output_samples: Array
    output_mean: float


def make_seed(card: Card) -> Array:
    """A bright, speckled ball: 0..255, the same for the same kind of input."""
    depth = _SEED_EXTENT if card.input.kind == "volume" else 1
    shape = (depth, _SEED_EXTENT, _SEED_EXTENT)
    axes = [(np.arange(n) - (n - 1) / 2) / (_SEED_EXTENT / 2) for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    ball = np.clip(2.5 - 2.5 * np.sqrt((z / 0.9) ** 2 + y**2 + (x / 0.8) ** 2), 0, 1)
    speckle = np.random.default_rng(1).uniform(0.6, 1.0, shape)
    seed: Array = np.round(255 * ball * speckle).astype(np.uint8)
    return seed


def golden_image(seed: Array) -> Image:
    """The seed as an image that a recipe can be run on: a volume of 1 mm voxels, or one frame."""
    voxels = seed.astype(np.float32)
    source = SourceImage("golden", "golden")
    if len(voxels) == 1:
        return Frames(voxels, "OT", (source,), spacing_mm=(1.0, 1.0), spacing_plane="patient")
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    geometry = Geometry(voxels.shape, (0.0, 0.0, 0.0), axes, (1.0, 1.0, 1.0))
    return Volume(voxels, geometry, "OT", (source,) * len(voxels))


def make_golden(seed: Array, prepared: Array, output: Array) -> Golden:
    """The golden pair of an input and its output."""
    return Golden(seed, samples(prepared), samples(output), float(output.mean(dtype=np.float64)))


def samples(array: Array) -> Array:
    """At most 8,192 elements, evenly spread by a stride that shares no factor with the usual extents."""
    flat = array.reshape(-1)
    step = max(1, math.ceil(flat.size / _SAMPLES))
    while step > 1 and (step % 2 == 0 or step % 3 == 0):
        step += 1
    return np.array(flat[::step], dtype=np.float32)


def golden_difference(golden: Golden, prepared: Array, output: Array) -> tuple[float, float]:
    """Largest absolute differences of input and output from the golden pair; infinite where NaN or of another size."""
    of_output = max(_difference(samples(output), golden.output_samples),
                    _difference(np.asarray(output.mean(dtype=np.float64)), np.asarray(golden.output_mean)))  # fmt: skip
    return _difference(samples(prepared), golden.input_samples), of_output


def _difference(found: Array, expected: Array) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return math.inf
    return float(np.abs(found - expected).max())


def write_golden(golden: Golden) -> bytes:
    """The bytes of `golden.npz`."""
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        seed=golden.seed,
        input_samples=golden.input_samples,
        output_samples=golden.output_samples,
        output_mean=np.float64(golden.output_mean),
    )
    return stream.getvalue()


def read_golden(data: bytes) -> Golden:
    """Read `golden.npz`.

    Raises:
        ValueError: it is none.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return Golden(
                arrays["seed"], arrays["input_samples"], arrays["output_samples"], float(arrays["output_mean"])
            )
    except (ValueError, KeyError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"the golden pair cannot be read: {error}") from error
