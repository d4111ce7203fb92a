"""The frames that the scenarios of live video show: computed, and the same for the same number."""

from __future__ import annotations

import numpy as np

from edge_runtime.domain import Array

ROWS, COLUMNS = 360, 640
_FIRST_SEED = 990_000
"""Patients that no network was trained on."""


def disc_frames(count: int) -> Array:
    """Noise in which a bright disc moves on a circle. uint8, (frames, 360, 640, 3), RGB."""
    made = np.empty((count, ROWS, COLUMNS, 3), np.uint8)
    rows, columns = np.ogrid[:ROWS, :COLUMNS]
    for number in range(count):
        random = np.random.default_rng(number)
        angle = 2 * np.pi * number / count
        row, column = ROWS / 2 + 90 * np.sin(angle), COLUMNS / 2 + 200 * np.cos(angle)
        inside = np.clip((56 - np.hypot(rows - row, columns - column)) / 4, 0, 1)
        grey = 60 + 8 * random.normal(0, 1, (ROWS, COLUMNS)) + 150 * inside
        made[number] = np.clip(grey, 0, 255).astype(np.uint8)[..., None]
    return made


def endoscopy_frames(count: int) -> Array:
    """Phantoms of endoscopy, each with a polyp in view. uint8, (frames, 360, 640, 3), RGB."""
    from converters.reference.endoscopy.frames import POLYP, make_frame

    pictures = (make_frame(_FIRST_SEED + number, POLYP, ROWS, COLUMNS).pixels for number in range(count))
    return np.stack(list(pictures))
