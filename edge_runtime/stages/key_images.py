"""Slices to be shown with the masks drawn on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_runtime.domain import Array, Frames, Image, KeyImage, Mask

_MOST = 4
_WINDOW_QUANTILES = (0.005, 0.995)


def key_images(image: Image, masks: Sequence[Mask], window: tuple[float, float] | None = None) -> tuple[KeyImage, ...]:
    """Up to four slices or frames spread through the extent of the masks; the middle one where there is no mask.

    Grey values are shown through `window`, centre and width as the source gives them (PS3.3 C.11.2.1.2), else between
    the 0.5 % and 99.5 % quantiles of the whole image. Colours stay as they are.
    """
    planes: Array = image.pixels if isinstance(image, Frames) else image.voxels
    indices = _spread(masks, len(planes))
    if planes.ndim == 4:
        return tuple(KeyImage(i, planes[i].copy()) for i in indices)
    low, high = _quantiles(planes) if window is None else (window[0] - window[1] / 2, window[0] + window[1] / 2)
    scale = 255.0 / (high - low) if high > low else 0.0
    return tuple(KeyImage(i, np.round(np.clip((planes[i] - low) * scale, 0, 255)).astype(np.uint8)) for i in indices)


def _quantiles(planes: Array) -> tuple[float, float]:
    step = max(1, planes.size // 1_000_000)
    low, high = np.quantile(planes.reshape(-1)[::step], _WINDOW_QUANTILES).tolist()
    return low, high


def _spread(masks: Sequence[Mask], count: int) -> list[int]:
    hit = np.zeros(count, dtype=np.bool_)
    for mask in masks:
        hit |= mask.voxels.any(axis=(1, 2))
    filled = np.flatnonzero(hit)
    if not filled.size:
        return [count // 2]
    positions = (np.arange(_MOST) + 0.5) / _MOST * filled.size
    return sorted({int(filled[int(p)]) for p in positions})
