import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.assemble.decoded import DecodedObject, ImageFacts, Plane
from edge_runtime.assemble.volume import REASONS, assemble, stated_count
from edge_runtime.domain import Frames, Volume
from edge_runtime.errors import AssemblyRefused

FACTS = ImageFacts(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    sop_instance_uid="2.25.1",
    patient_key="a" * 64,
    modality="CT",
    image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
    multi_frame=False,
    instance_number=1,
    images_in_acquisition=None,
    frame_of_reference_uid="2.25.9",
    photometric_interpretation="MONOCHROME2",
    in_modality_units=True,
    square_pixels=True,
    spacing_mm=(0.5, 0.75),
    spacing_plane="patient",
    frame_seconds=None,
    window=None,
    burned_in_annotation=False,
)
AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def plane(position, orientation=AXIAL, spacing=(0.5, 0.75)):
    row, column = (tuple(float(c) for c in vector) for vector in orientation)
    return Plane(tuple(float(c) for c in position), row, column, spacing, 1.0, (1.0, 0.0))


def obj(index, position=None, orientation=AXIAL, shape=(3, 4), frames=None, planes=None, spacing=(0.5, 0.75), **facts):
    pixels = np.full((1, *shape), index, np.float32) if frames is None else frames
    planes = (
        (plane((0, 0, 2.0 * index) if position is None else position, orientation, spacing),)
        if planes is None
        else planes
    )
    own = {"sop_instance_uid": f"2.25.{100 + index}", "instance_number": 50 - index, **facts}
    return DecodedObject(dataclasses.replace(FACTS, **own), tuple(planes), pixels)


def stack(count=6, **options):
    return [obj(k, **options) for k in range(count)]


def refusal(objects, kind="volume", **options):
    with pytest.raises(AssemblyRefused) as caught:
        assemble(objects, kind, **options)
    assert caught.value.reason in REASONS
    return caught.value.reason


def rotation(a, b, c):
    (sa, ca), (sb, cb), (sc, cc) = ((math.sin(t), math.cos(t)) for t in (a, b, c))
    x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return x @ y @ z


angles = st.floats(-math.pi, math.pi)
oblique = st.tuples(angles, angles, angles).map(lambda t: rotation(*t))


@given(
    turn=oblique,
    count=st.integers(2, 12),
    spacing=st.floats(0.3, 10),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_voxel_lies_where_its_slice_says_in_any_orientation_and_order_of_arrival(
    turn, count, spacing, origin, seed
):
    row, column = turn[:, 0], turn[:, 1]
    normal = np.cross(row, column)
    objects = [obj(k, np.array(origin) + k * spacing * normal, (row, column)) for k in range(count)]
    volume = assemble(objects, "volume")
    shuffled = random.Random(seed).sample(objects, count)
    again = assemble(shuffled, "volume")
    assert again.geometry == volume.geometry and again.sources == volume.sources
    assert np.array_equal(again.voxels, volume.voxels)
    for k in range(count):
        assert (volume.voxels[k] == k).all()
        assert volume.sources[k].sop_instance_uid == f"2.25.{100 + k}"
        for i, j in ((0, 0), (2, 3)):
            position = objects[k].planes[0].position_mm + row * 0.75 * j + column * 0.5 * i  # PS3.3 C.7.6.2.1.1
            assert np.allclose(volume.geometry.position_mm((k, i, j)), position, atol=1e-6 * (1 + np.abs(origin).max()))
    assert volume.geometry.spacing_mm == pytest.approx((spacing, 0.5, 0.75))


@given(count=st.integers(4, 30), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_stack_without_one_of_its_inner_slices_is_never_a_volume(count, data):
    objects = stack(count)
    del objects[data.draw(st.integers(1, count - 2))]
    assert refusal(objects) in ("missing_slices", "uneven_spacing")


@given(count=st.integers(2, 30), shift=st.floats(-0.05, 0.05), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_stack_with_one_slice_twice_is_never_a_volume(count, shift, data):
    k = data.draw(st.integers(0, count - 1))
    assert refusal([*stack(count), obj(99, (0, 0, 2.0 * k + shift))]) in (
        "doubled_slices",
        "missing_slices",
        "too_few_slices",
    )


@given(count=st.integers(3, 20), jitter=st.floats(0.3, 0.6), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_slice_off_the_regular_grid_is_never_a_volume(count, jitter, data):
    objects = stack(count)
    k = data.draw(st.integers(0, count - 1))
    objects[k] = obj(k, (0, 0, 2.0 * k + jitter))
    assert refusal(objects) in ("uneven_spacing", "missing_slices", "doubled_slices")


def test_noise_of_a_hundredth_of_the_spacing_still_makes_a_volume():
    objects = [obj(k, (0, 0, 2.0 * k + 0.02 * (-1) ** k)) for k in range(6)]
    assert assemble(objects, "volume").geometry.spacing_mm[0] == pytest.approx(2.0, abs=0.01)


def test_the_axes_of_an_axial_series_are_the_patients_and_right_handed_as_column_row_slice():
    geometry = assemble(stack(), "volume").geometry
    assert geometry.directions == ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    along_slice, along_row_index, along_column_index = (np.array(d) for d in geometry.directions)
    assert np.array_equal(np.cross(along_column_index, along_row_index), along_slice)


def test_a_gantry_tilt_is_refused():
    assert refusal([obj(k, (0, 0.3 * k, 2.0 * k)) for k in range(6)]) == "oblique_shear"


def test_doubled_and_missing_slices_have_their_own_reasons():
    assert refusal([*stack(), obj(9, (0, 0, 4.0))]) == "doubled_slices"
    assert refusal([o for k, o in enumerate(stack(8)) if k != 4]) == "missing_slices"
    assert refusal([obj(k, (0, 0, z)) for k, z in enumerate((0, 2, 4, 6.5, 8.5))]) == "uneven_spacing"


@pytest.mark.parametrize(
    "expected, changed",
    [
        ("mixed_orientation", {"orientation": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))}),
        ("mixed_size", {"shape": (3, 5)}),
        ("mixed_spacing", {"spacing": (0.5, 0.8)}),
        ("missing_spacing", {"spacing": None}),
        ("mixed_frame_of_reference", {"frame_of_reference_uid": "2.25.10"}),
        ("mixed_patients", {"patient_key": "b" * 64}),
        ("mixed_modality", {"modality": "MR"}),
        ("conflicting_instances", {"sop_instance_uid": "2.25.100"}),
        ("localizer", {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}),
        ("missing_rescale", {"in_modality_units": False}),
        ("missing_geometry", {"planes": [Plane()]}),
        ("missing_geometry", {"orientation": ((1.0, 0.0, 0.0), (0.5, 0.5, 0.0))}),
        ("missing_geometry", {"orientation": ((2.0, 0.0, 0.0), (0.0, 1.0, 0.0))}),
        ("mixed_colour", {"frames": np.zeros((1, 3, 4, 3), np.uint8)}),
    ],
)
def test_one_slice_that_does_not_fit_refuses_the_volume_with_its_reason(expected, changed):
    assert refusal([*stack(5), obj(5, **changed)]) == expected


def test_what_makes_no_volume_at_all_is_refused():
    assert refusal([]) == "no_images"
    assert refusal(stack(1)) == "too_few_slices"
    assert refusal([obj(k, frames=np.zeros((1, 3, 4, 3), np.uint8)) for k in range(3)]) == "colour_volume"
    assert refusal(stack(6), maximum_bytes=6 * 3 * 4 * 4 - 1) == "too_large"


def test_an_mr_series_needs_no_rescale():
    assert assemble(stack(modality="MR", in_modality_units=False), "volume").modality == "MR"


def test_the_frames_of_one_object_make_a_volume_and_are_named_by_number():
    order = [2, 0, 1]
    frames = np.stack([np.full((3, 4), k, np.float32) for k in order])
    one = obj(0, frames=frames, planes=[plane((0, 0, 2.0 * k)) for k in order], multi_frame=True)
    volume = assemble([one], "volume")
    assert isinstance(volume, Volume)
    assert [source.frame_number for source in volume.sources] == [2, 3, 1]
    assert volume.voxels[:, 0, 0].tolist() == [0, 1, 2]


def test_a_clip_keeps_its_order_its_time_and_its_spacing():
    frames = np.arange(4 * 3 * 4 * 3, dtype=np.uint8).reshape(4, 3, 4, 3)
    clip = obj(0, frames=frames, planes=[Plane()] * 4, multi_frame=True, frame_seconds=0.04, modality="US")
    result = assemble([clip], "frames")
    assert isinstance(result, Frames)
    assert np.array_equal(result.pixels, frames)
    assert (result.frame_seconds, result.spacing_mm, result.spacing_plane) == (0.04, (0.5, 0.75), "patient")
    assert [source.frame_number for source in result.sources] == [1, 2, 3, 4]


def test_pictures_come_in_the_order_of_their_instance_numbers():
    pictures = [obj(k, modality="DX", planes=[Plane()]) for k in range(3)]
    result = assemble(pictures, "frames")
    assert [source.sop_instance_uid for source in result.sources] == ["2.25.102", "2.25.101", "2.25.100"]
    assert result.pixels[:, 0, 0].tolist() == [2, 1, 0]
    assert result.sources[0].frame_number is None


@pytest.mark.parametrize(
    "expected, changed",
    [
        ("mixed_size", {"shape": (3, 5)}),
        ("mixed_spacing", {"spacing_mm": (1.0, 1.0)}),
        ("mixed_spacing", {"spacing_plane": "detector"}),
        ("mixed_patients", {"patient_key": "b" * 64}),
        ("not_square", {"square_pixels": False, "spacing_mm": None, "spacing_plane": None}),
    ],
)
def test_one_picture_that_does_not_fit_refuses_the_frames_with_its_reason(expected, changed):
    assert refusal([obj(0), obj(1, **changed)], "frames") == expected


def test_the_stated_count_is_known_only_when_all_agree():
    assert stated_count(stack(3, images_in_acquisition=60)) == 60
    assert stated_count(stack(3)) is None
    assert stated_count([*stack(3, images_in_acquisition=60), obj(3, images_in_acquisition=61)]) is None
