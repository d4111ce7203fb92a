"""A phantom is the head that its seed says, and its truth is what lies in the image."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest

from converters.reference.artefacts import Confounder
from converters.reference.hemorrhage import Kind
from converters.reference.phantom import NEGATIVE, POSITIVE, Phantom, make_phantom

pytestmark = pytest.mark.slow

KINDS = [kind.value for kind in Kind]
EXPECTED = {
    "shape": (33, 128, 128),
    "volume_ml": 37.224,
    "mean_hu": -542.25,
    "confounders": ["calcification", "motion"],
}


@lru_cache
def phantom(seed: int, kind: str) -> Phantom:
    return make_phantom(seed, kind, matrix=128)


@pytest.mark.parametrize("kind", KINDS)
def test_a_phantom_of_a_kind_has_one_haemorrhage_of_it_with_the_volume_that_was_planted(kind):
    (lesion,) = phantom(3, kind).lesions
    geometry = phantom(3, kind).image.geometry
    assert lesion.kind.value == kind
    assert lesion.volume_ml == pytest.approx(np.count_nonzero(lesion.mask) * geometry.voxel_ml)
    assert lesion.volume_ml == pytest.approx(lesion.planned_ml, rel=0.35, abs=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_haemorrhage_fills_its_box_and_no_voxel_beyond(kind):
    (lesion,) = phantom(3, kind).lesions
    inside = lesion.mask[lesion.box.slices]
    assert np.count_nonzero(inside) == np.count_nonzero(lesion.mask) > 0
    for axis in range(3):
        planes = inside.any(axis=tuple(k for k in range(3) if k != axis))
        assert planes[0] and planes[-1]
    assert lesion.diameter_mm > 3


def test_planted_volumes_are_kept_on_average_over_many_phantoms():
    found = [lesion for seed in range(8) for lesion in phantom(seed, POSITIVE).lesions]
    assert len(found) >= 8
    ratios = [lesion.volume_ml / lesion.planned_ml for lesion in found]
    assert np.median(ratios) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_blood_is_brighter_than_the_brain_beside_it_and_darker_than_bone(kind):
    image, (lesion,) = phantom(3, kind).image.voxels, phantom(3, kind).lesions
    middle = float(np.median(image[lesion.mask]))
    brain = (image > 10) & (image < 45) & ~lesion.mask
    assert np.median(image[brain]) + 8 < middle < 95


def test_a_negative_has_no_mask_and_no_haemorrhage_whatever_else_is_in_it():
    seen = set()
    for seed in range(8):
        made = phantom(seed, NEGATIVE)
        assert made.lesions == ()
        assert not made.truth.any()
        seen |= set(made.confounders)
    assert seen == set(Confounder)


def test_hard_negatives_are_in_positives_too_and_never_marked_as_blood():
    made = [phantom(seed, POSITIVE) for seed in range(8)]
    assert set().union(*(p.confounders for p in made)) == set(Confounder)
    for lesion, image in ((lesion, one.image.voxels) for one in made for lesion in one.lesions):
        # Calcium and metal are brighter. Where blood lies at the skull, bone is in part of the same voxels.
        assert 40 < np.percentile(image[lesion.mask], 30) < 95


def test_the_same_seed_gives_the_same_head_and_another_seed_another():
    first, again = phantom(5, POSITIVE), make_phantom(5, POSITIVE, matrix=128)
    assert np.array_equal(first.image.voxels, again.image.voxels)
    assert np.array_equal(first.truth, again.truth)
    assert first.image.geometry == again.image.geometry
    other = phantom(6, POSITIVE)
    assert other.image.voxels.shape != first.image.voxels.shape or not np.allclose(
        other.image.voxels, first.image.voxels
    )


def test_a_seed_means_the_same_head_on_every_machine():
    """Summary numbers, with room for another library's last digits; a change of the generator must be on purpose."""
    made = phantom(7, "intraparenchymal")
    (lesion,) = made.lesions
    image = made.image.voxels
    assert image.shape == EXPECTED["shape"]
    assert lesion.volume_ml == pytest.approx(EXPECTED["volume_ml"], rel=0.02)
    assert float(image.mean()) == pytest.approx(EXPECTED["mean_hu"], abs=1.0)
    assert [kind.value for kind in made.confounders] == EXPECTED["confounders"]


def test_tissues_have_the_hounsfield_units_of_a_head():
    image = phantom(1, NEGATIVE).image.voxels
    share = {
        name: float(((image >= low) & (image < high)).mean())
        for name, low, high in (("air", -1100, -900), ("brain", 15, 50), ("bone", 500, 3100))
    }
    assert 0.3 < share["air"] < 0.85
    assert 0.08 < share["brain"] < 0.4
    assert 0.02 < share["bone"] < 0.2
    assert image.min() >= -1024 and image.max() <= 3071
    assert np.array_equal(image, np.round(image))  # as a scanner stores them


def test_protocols_vary_within_what_scanners_do():
    scans = [phantom(seed, NEGATIVE).scan for seed in range(8)]
    assert all(24 <= s.slices <= 60 and 2.5 <= s.thickness_mm <= 6 for s in scans)
    assert len({s.superior_first for s in scans}) == 2
    assert len({round(s.thickness_mm) for s in scans}) > 2
    fine = make_phantom(0, NEGATIVE, matrix=64, slices=30).scan
    assert fine.slices == 30 and fine.matrix == 64


def test_the_first_slice_is_where_the_geometry_says():
    made = next(p for p in (phantom(seed, NEGATIVE) for seed in range(8)) if p.scan.superior_first)
    geometry = made.image.geometry
    first, last = (geometry.position_mm((float(k), 0.0, 0.0))[2] for k in (0, geometry.shape[0] - 1))
    assert first > last
    vertex, base = made.image.voxels[1] > -500, made.image.voxels[-2] > -500
    assert np.count_nonzero(vertex) < np.count_nonzero(base)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind is one of"):
        make_phantom(1, "ischemia")


def test_phantoms_cannot_be_changed():
    made = phantom(3, "subdural")
    with pytest.raises(ValueError, match="read-only"):
        made.lesions[0].mask[0, 0, 0] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 4


@pytest.mark.parametrize("module", ["phantom", "evaluation"])
def test_phantoms_and_evaluation_need_no_torch(module):
    code = f"import sys, converters.reference.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
