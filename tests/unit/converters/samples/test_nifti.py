"""A NIfTI volume lies where its affine says, and masks find their voxels whatever the order of the axes."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.samples import opened, save_nifti

from converters.samples import inputs
from converters.samples.nifti import on_grid, read_nifti
from edge_runtime.engines.card import read_card
from edge_runtime.errors import ConfigurationError
from edge_runtime.preprocess import compile_recipe

ENGINES = Path(__file__).parents[4] / "engines"
SHAPE = (3, 4, 5)

rotations = st.tuples(
    st.permutations(range(3)), st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3), st.floats(-0.3, 0.3)
).map(lambda drawn: np.eye(3)[list(drawn[0])] * drawn[1] @ _tilted(drawn[2]))
spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)
origins = st.tuples(*[st.floats(-200, 200)] * 3)


def _tilted(angle):
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def affine_of(rotation, spacing, origin):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation * spacing, origin
    return affine


@settings(max_examples=25)
@given(rotations, spacings, origins)
def test_each_voxel_lies_where_nibabel_says(tmp_path_factory, rotation, spacing, origin):
    array = np.arange(60, dtype=np.float32).reshape(SHAPE)
    path = save_nifti(tmp_path_factory.mktemp("n") / "a.nii", array, affine_of(rotation, spacing, origin))
    volume = read_nifti(path)
    stored = nibabel.load(path).affine
    assert volume.voxels.shape == SHAPE[::-1]
    for i, j, k in itertools.product((0, 2), (0, 3), (0, 4)):
        ras = nibabel.affines.apply_affine(stored, (i, j, k))
        assert volume.voxels[k, j, i] == array[i, j, k]
        assert np.allclose(volume.geometry.position_mm((k, j, i)), ras * (-1, -1, 1), atol=1e-3)


@settings(max_examples=25)
@given(rotations, spacings, origins, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_a_mask_is_found_on_the_image_whatever_the_order_of_its_axes(
    tmp_path_factory, rotation, spacing, origin, order, flips
):
    folder = tmp_path_factory.mktemp("n")
    affine = affine_of(rotation, spacing, origin)
    image = read_nifti(save_nifti(folder / "a.nii", np.zeros(SHAPE, np.float32), affine))
    mask = np.random.default_rng(1).integers(0, 2, SHAPE).astype(np.uint8)
    turn = np.array([[axis, -1 if flip else 1] for axis, flip in zip(order, flips, strict=True)])
    turned = nibabel.apply_orientation(mask, turn)
    lies = affine @ nibabel.orientations.inv_ornt_aff(turn, SHAPE)
    path = save_nifti(folder / "m.nii.gz", turned, lies)
    assert np.array_equal(on_grid(path, read_nifti(path), image), mask.transpose(2, 1, 0) != 0)


@pytest.mark.parametrize(("shape", "shift"), [((3, 4, 6), 0.0), (SHAPE, 0.5)])
def test_a_mask_of_another_grid_is_refused(tmp_path, shape, shift):
    image = read_nifti(save_nifti(tmp_path / "a.nii", np.zeros(SHAPE, np.float32)))
    path = save_nifti(tmp_path / "m.nii", np.zeros(shape, np.uint8), affine_of(np.eye(3), 1.0, (shift, 0, 0)))
    with pytest.raises(ConfigurationError, match=r"m\.nii: the mask lies on another grid.*Resample it"):
        on_grid(path, read_nifti(path), image)


def test_what_does_not_say_how_it_lies_is_refused(tmp_path):
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.float32), None)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(ConfigurationError, match="does not say how it lies in space"):
        read_nifti(tmp_path / "a.nii")


def test_a_sheared_grid_four_axes_and_damage_are_refused(tmp_path):
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    with pytest.raises(ConfigurationError, match="no rectangular grid"):
        read_nifti(save_nifti(tmp_path / "a.nii", np.zeros(SHAPE, np.float32), sheared))
    with pytest.raises(ConfigurationError, match="has three axes"):
        read_nifti(save_nifti(tmp_path / "b.nii", np.zeros((*SHAPE, 2), np.float32)))
    whole = save_nifti(tmp_path / "c.nii.gz", np.random.default_rng(1).normal(size=(20, 20, 20))).read_bytes()
    for name, data in (("d.nii.gz", whole[: len(whole) // 2]), ("e.nii", b"nothing of the kind"), ("f.nii", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigurationError, match=rf"{name}: cannot be read as NIfTI"):
            read_nifti(tmp_path / name)


def test_complex_voxels_and_a_header_that_lies_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="its voxels are complex numbers"):
        read_nifti(save_nifti(tmp_path / "a.nii", np.ones(SHAPE, np.complex64)))
    whole = bytearray(save_nifti(tmp_path / "b.nii", np.zeros(SHAPE, np.float32)).read_bytes())
    for place, number in ((70, 9999), (40, 9)):  # the type of the voxels; the number of axes
        lying = whole.copy()
        lying[place : place + 2] = number.to_bytes(2, "little")
        (tmp_path / "c.nii").write_bytes(lying)
        with pytest.raises(ConfigurationError, match=r"c\.nii: cannot be read as NIfTI"):
            read_nifti(tmp_path / "c.nii")


def test_the_mr_networks_see_a_nifti_head_as_they_see_its_slices(tmp_path):
    mr_brain = pytest.importorskip("support.mr_brain")
    if not (mr_brain.TEMPLATES / "ch2.nii.gz").is_file():
        pytest.skip("needs Debian's mricron-data")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "ch2.nii.gz").symlink_to(mr_brain.TEMPLATES / "ch2.nii.gz")
    card, _ = read_card(ENGINES / "mr-brain-locator")
    (found,) = inputs(card, opened(card, tmp_path / "set"))
    slices = mr_brain.head_volume(mr_brain.read_head().image, "sagittal")
    (place,) = compile_recipe(card)(slices, None, 0.0)
    assert np.array_equal(found, place.inputs[0].array)
