import dataclasses

import numpy as np
import pytest
from support.dicom_objects import ct_series, save

from edge_runtime.assemble.header import read_header
from edge_runtime.assemble.match import REASONS, matches
from edge_runtime.config import Match


@pytest.fixture
def header(tmp_path):
    data_set = ct_series(np.zeros((1, 2, 2), int), SeriesDescription="Head WITHOUT contrast 5mm")[0]
    return read_header(save(data_set, tmp_path / "a.dcm"))


def reason(header, slices=20, calling="CT01", called="EDGE", **match):
    return matches(header, Match(**match), slices, calling, called)


def test_an_empty_match_takes_every_series(header):
    assert reason(header) is None


@pytest.mark.parametrize(
    "match",
    [
        {"modality": ("MR", "ct")},
        {"body_part": ("head", "BRAIN")},
        {"description": "without.*5mm$"},
        {"image_type": ("axial", "ORIGINAL")},
        {"called_ae_title": ("edge",)},
        {"calling_ae_title": ("CT01", "CT02")},
        {"minimum_slices": 20},
    ],
)
def test_each_key_takes_a_series_that_has_one_of_its_values_in_any_case(header, match):
    assert reason(header, **match) is None


@pytest.mark.parametrize(
    "expected, match",
    [
        ("modality", {"modality": ("MR",)}),
        ("body_part", {"body_part": ("CHEST",)}),
        ("description", {"description": "with contrast"}),
        ("image_type", {"image_type": ("AXIAL", "DERIVED")}),
        ("called_ae_title", {"called_ae_title": ("OTHER",)}),
        ("calling_ae_title", {"calling_ae_title": ("MR01",)}),
        ("minimum_slices", {"minimum_slices": 21}),
    ],
)
def test_each_key_names_itself_when_it_does_not_fit(header, expected, match):
    assert reason(header, **match) == expected
    assert expected in REASONS


def test_an_absent_value_fits_no_demand_for_it(header):
    bare = dataclasses.replace(header, modality=None, body_part=None, series_description=None, image_type=())
    assert reason(bare) is None
    assert reason(bare, modality=("CT",)) == "modality"
    assert reason(bare, body_part=("HEAD",)) == "body_part"
    assert reason(bare, description="head") == "description"
    assert reason(bare, image_type=("AXIAL",)) == "image_type"
