"""The wall holds what was put on it, and the camera sees it where geometry says."""

from __future__ import annotations

import numpy as np
import pytest

from converters.reference.endoscopy.camera import VIEW, Camera, look
from converters.reference.endoscopy.growths import LOOK_ALIKES, Growth, Kind, add_growth, draw_growth
from converters.reference.endoscopy.noise import smooth
from converters.reference.endoscopy.tunnel import COLUMNS, LABEL, TEXELS, Tunnel, draw_tunnel


def bare(length: float = 12.0) -> Tunnel:
    """A tunnel without folds or growths."""
    rows = round(length * TEXELS)
    surface = np.zeros((rows, COLUMNS, 7), np.float32)
    surface[..., :3] = 0.5
    return Tunnel(np.zeros((rows, COLUMNS), np.float32), surface, ())


def painted(growth: Growth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    relief, labels = np.zeros((300, COLUMNS), np.float32), np.zeros((300, COLUMNS), np.float32)
    colour = np.full((300, COLUMNS, 3), 0.5, np.float32)
    add_growth(np.random.default_rng(1), growth, relief, colour, labels, 3)
    return relief, colour, labels


def test_a_bare_tunnel_is_met_where_a_ray_is_one_radius_from_the_axis():
    depth = look(bare(), Camera(1.0, focal=0.4), 90, 120).depth
    y, x = np.mgrid[:90, :120] + 0.5
    slope = np.hypot(y - 45, x - 60) / (120 * 0.4)
    assert depth == pytest.approx(np.clip(1 / slope, 0.22, VIEW), rel=0.02)


def test_a_fold_hides_what_is_behind_it():
    tunnel = bare()
    tunnel.relief[round(3.0 * TEXELS) : round(3.1 * TEXELS)] = 0.4
    depth = look(tunnel, Camera(1.0, focal=0.4), 90, 120).depth
    hidden = (depth > 2.15) & (depth < 3.3)  # from the fold on, the wall is seen again where 0.6 / 2 = 1 / 3.33
    assert not hidden.any()
    assert ((depth > 1.9) & (depth < 2.15)).any() and (depth > 3.4).any()


def test_a_polyp_rises_within_its_outline_and_is_marked_there():
    relief, colour, labels = painted(Growth(Kind.POLYP, 1.2, 1.0, 0.3))
    inside = labels == 3
    assert set(np.unique(labels)) == {0, 3}
    assert 0.5 < np.count_nonzero(inside) / (np.pi * (0.3 * TEXELS) ** 2) < 1.6
    assert relief[inside].mean() > 0.08 and np.abs(relief[~inside]).max() == 0
    assert np.abs(colour[inside] - 0.5).mean() > 0.02


@pytest.mark.parametrize("kind", LOOK_ALIKES)
def test_a_look_alike_changes_the_wall_where_it_is_marked(kind):
    relief, colour, labels = painted(Growth(kind, 1.2, 1.0, 0.3))
    assert np.count_nonzero(labels == 3) == pytest.approx(np.pi * (0.3 * TEXELS) ** 2, rel=0.05)
    assert relief.max() > 0.01 or np.abs(colour - 0.5).max() > 0.05


def test_a_growth_over_the_seam_of_the_unrolled_wall_is_whole():
    _, _, over = painted(Growth(Kind.POLYP, 1.2, 0.0, 0.3))
    _, _, away = painted(Growth(Kind.POLYP, 1.2, np.pi, 0.3))
    assert np.count_nonzero(over) == np.count_nonzero(away)
    assert over[:, 0].any() and over[:, -1].any()


def test_nothing_is_painted_over_a_polyp():
    rng = np.random.default_rng(2)
    growths = [Growth(Kind.POLYP, 2.0, 1.0, 0.3), Growth(Kind.STOOL, 2.0, 1.0, 0.4)]
    surface = draw_tunnel(rng, 4.0, growths).surface
    polyp = surface[surface[..., LABEL] == 1]
    assert len(polyp) > 100
    assert np.median(polyp[:, 2] / polyp[:, 0]) > 0.3  # stool has hardly any blue


def test_growths_have_sizes_and_places_of_their_own():
    rng = np.random.default_rng(3)
    drawn = [draw_growth(rng, kind, 1.0) for kind in Kind for _ in range(5)]
    assert len({growth.radius for growth in drawn}) == len(drawn)
    assert all(0.05 < growth.radius < 0.5 and 0 <= growth.around < 2 * np.pi for growth in drawn)


def test_smooth_fields_go_around_without_a_seam():
    field = smooth(np.random.default_rng(4), (200, 768), (20, 20))
    steps = np.abs(np.diff(field, axis=1))
    assert np.abs(field[:, 0] - field[:, -1]).max() < 2 * steps.max()
    assert field.std() == pytest.approx(1, abs=0.35)
