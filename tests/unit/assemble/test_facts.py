"""What assembly decides by, read from plain, multi-frame and enhanced objects."""

import numpy as np
import pytest
from pydicom.sequence import Sequence
from support.dicom_objects import (
    CORONAL,
    SECONDARY_CAPTURE,
    ct_series,
    enhanced,
    mr_series,
    multi_frame,
    picture,
    save,
    ultrasound_region,
)

from edge_runtime.assemble.volume import assemble

GREY = np.zeros((4, 6), np.uint16)
CLIP = np.zeros((3, 4, 6), np.uint8)


def facts(decode, data_set):
    return decode(data_set).facts


def test_a_ct_slice_says_where_it_lies(decode):
    decoded = decode(ct_series(np.zeros((3, 4, 6), int), spacing_mm=(5, 0.5, 0.75), origin_mm=(1, 2, 3))[2])
    (plane,) = decoded.planes
    assert plane.position_mm == (1, 2, 13)
    assert plane.row_direction == (1, 0, 0) and plane.column_direction == (0, 1, 0)
    assert plane.spacing_mm == (0.5, 0.75) and plane.thickness_mm == 1.25
    assert plane.rescale == (1, -1024)
    assert (decoded.facts.modality, decoded.facts.multi_frame, decoded.facts.spacing_plane) == ("CT", False, "patient")


@pytest.mark.parametrize("orientation", [CORONAL, ((0.8, 0.6, 0.0), (0.0, 0.0, -1.0))])
def test_an_enhanced_object_and_its_slices_make_the_same_volume(decode, orientation):
    voxels = np.arange(5 * 4 * 6).reshape(5, 4, 6)
    options = {"orientation": orientation, "origin_mm": (7, 8, 9), "spacing_mm": (2.5, 0.5, 0.75)}
    single = assemble([decode(s) for s in ct_series(voxels - 1024, **options)], "volume")
    together = decode(enhanced(voxels.astype(np.uint16), order=[3, 1, 0, 4, 2], **options))
    volume = assemble([together], "volume")
    assert np.array_equal(volume.voxels, single.voxels)
    assert volume.geometry.directions == single.geometry.directions
    assert volume.geometry.origin_mm == single.geometry.origin_mm
    assert volume.geometry.spacing_mm == pytest.approx(single.geometry.spacing_mm)
    assert [source.frame_number for source in volume.sources] == [3, 2, 5, 1, 4]


def test_each_frame_of_an_enhanced_object_has_its_own_rescale(decode):
    voxels = np.full((3, 2, 2), 10, np.uint16)
    decoded = decode(enhanced(voxels, rescales=[(1, 0), (2, 0), (0.5, 100)]))
    assert decoded.frames[:, 0, 0].tolist() == [10, 20, 105]


def test_an_enhanced_object_with_too_few_frame_groups_has_frames_without_position(decode):
    data_set = enhanced(np.zeros((3, 2, 2), np.uint16))
    data_set.PerFrameFunctionalGroupsSequence = Sequence(list(data_set.PerFrameFunctionalGroupsSequence)[:2])
    assert [plane.position_mm is None for plane in decode(data_set).planes] == [False, False, True]


@pytest.mark.parametrize(
    "attributes, spacing, plane",
    [
        ({}, None, None),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "detector"),
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "detector"),
        ({"PixelSpacing": [0.3, 0.3], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "detector"),
        ({"PixelSpacing": [0.3, 0.3], "PixelSpacingCalibrationType": "FIDUCIAL"}, (0.3, 0.3), "patient"),
        ({"PixelSpacing": [0.0, 0.3]}, None, None),
        ({"modality": "SC", "sop_class": SECONDARY_CAPTURE, "NominalScannedPixelSpacing": [1, 2]}, (1, 2), "detector"),
    ],
)
def test_the_spacing_of_a_projection_says_in_which_plane_it_holds(decode, attributes, spacing, plane):
    found = facts(decode, picture(GREY, **attributes))
    assert (found.spacing_mm, found.spacing_plane) == (spacing, plane)


@pytest.mark.parametrize(
    "regions, spacing",
    [
        ([], None),
        ([ultrasound_region((0.05, 0.02))], (0.2, 0.5)),
        ([ultrasound_region((-0.05, -0.02))], (0.2, 0.5)),
        ([ultrasound_region(units=4)], None),
        ([ultrasound_region(spatial_format=2)], None),
        ([ultrasound_region(), ultrasound_region()], (0.5, 0.5)),
        ([ultrasound_region(), ultrasound_region((0.06, 0.06))], None),
        ([ultrasound_region((0.0, 0.05))], None),
    ],
)
def test_ultrasound_has_millimetres_only_where_all_regions_agree_on_centimetres(decode, regions, spacing):
    found = facts(decode, multi_frame(CLIP, SequenceOfUltrasoundRegions=Sequence(regions), PixelSpacing=[9, 9]))
    assert found.spacing_mm == (pytest.approx(spacing) if spacing else None)
    assert found.spacing_plane == ("patient" if spacing else None)


@pytest.mark.parametrize(
    "attributes, seconds",
    [
        ({}, None),
        ({"FrameTime": "40"}, 0.04),
        ({"FrameTime": "0"}, None),
        ({"FrameTimeVector": ["0", "20", "20"]}, 0.02),
        ({"FrameTimeVector": ["0", "20", "90"]}, None),
        ({"FrameTimeVector": ["0", "20", "90"], "CineRate": "50"}, 0.02),
        ({"CineRate": "25"}, 0.04),
    ],
)
def test_the_time_between_frames_is_that_of_frame_time_then_vector_then_rate(decode, attributes, seconds):
    found = facts(decode, multi_frame(CLIP, **attributes))
    assert found.frame_seconds == (pytest.approx(seconds) if seconds else None)
    assert found.multi_frame


def test_window_aspect_and_stated_count_are_read(decode):
    attributes = {"WindowCenter": [40, 600], "WindowWidth": [80, 2000], "ImagesInAcquisition": 60}
    found = facts(decode, picture(GREY, PixelAspectRatio=[1, 2], **attributes))
    assert found.window == (40, 80) and found.images_in_acquisition == 60 and not found.square_pixels
    assert facts(decode, picture(GREY, PixelAspectRatio=[1, 1])).square_pixels


def test_values_that_are_no_numbers_count_as_absent(decode, tmp_path):
    path = save(mr_series(np.zeros((1, 2, 2)), spacing_mm=(1, 0.625, 0.625))[0], tmp_path / "a.dcm")
    content = path.read_bytes()
    assert content.count(b"0.625") == 2
    path.write_bytes(content.replace(b"0.625", b"0.6x5").replace(b"-20\\30", b"nan\\30"))
    (plane,) = decode(path).planes
    assert plane.spacing_mm is None and plane.position_mm is None and plane.row_direction == (1, 0, 0)
