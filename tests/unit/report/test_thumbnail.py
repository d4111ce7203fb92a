"""The small picture for the page: only where nothing can be burned into it, and without a word."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from support.report_sources import volume_case

from edge_runtime.domain import KeyImage
from edge_runtime.report.drawing import colour
from edge_runtime.report.thumbnail import says_no, thumbnail, write_thumbnail


def note(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "thumbnail.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture
def case(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "job").mkdir()
    return volume_case(tmp_path / "images")


def change(path: Path, value: str | None) -> None:
    data_set = pydicom.dcmread(path)
    del data_set.BurnedInAnnotation
    if value is not None:
        data_set.BurnedInAnnotation = value
    data_set.save_as(path)


def test_a_picture_is_made_where_every_image_says_no(case, tmp_path: Path) -> None:
    assert write_thumbnail(case.result, case.originals, "burned_in_annotation_no", tmp_path / "job")
    assert note(tmp_path / "job") == {
        "schema_version": 1, "made": True, "burned_in_annotation_no": True, "reason": "",
    }  # fmt: skip
    with Image.open(tmp_path / "job" / "thumbnail.png") as image:
        assert image.format == "PNG" and max(image.size) <= 192
        assert image.info == {}  # no text chunk
    assert (tmp_path / "job" / "thumbnail.png").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", ["YES", "", "MAYBE", None])
def test_one_image_that_does_not_say_no_is_enough_for_none(case, tmp_path: Path, value: str | None) -> None:
    change(list(case.originals.values())[-1], value)
    assert not write_thumbnail(case.result, case.originals, "burned_in_annotation_no", tmp_path / "job")
    assert not (tmp_path / "job" / "thumbnail.png").exists()
    assert "Burned In Annotation" in str(note(tmp_path / "job")["reason"])


def test_an_image_that_is_gone_or_broken_does_not_say_no(case, tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"nothing")
    good = next(iter(case.originals.values()))
    assert says_no([good])
    assert not says_no([good, None]) and not says_no([good, tmp_path / "broken"]) and not says_no([])
    assert not says_no([good, tmp_path / "absent"])


def test_the_configuration_may_allow_all_or_none(case, tmp_path: Path) -> None:
    change(next(iter(case.originals.values())), "YES")
    assert not write_thumbnail(case.result, case.originals, "never", tmp_path / "job")
    assert list((tmp_path / "job").iterdir()) == []
    assert write_thumbnail(case.result, case.originals, "always", tmp_path / "job")
    assert note(tmp_path / "job")["burned_in_annotation_no"] is False


def test_it_is_the_middle_key_image_made_small_with_the_outline_of_the_mask(case) -> None:
    from dataclasses import replace

    key = case.result.key_images[0]
    rows, columns = key.pixels.shape
    pixels = thumbnail(case.result)
    assert pixels is not None and pixels.shape == (rows, columns, 3)
    coloured = (pixels[..., 0] != pixels[..., 1]).sum()
    assert 0 < coloured < rows * columns / 2
    large = replace(case.result, key_images=(KeyImage(0, np.zeros((1000, 500), np.uint8)),))
    small = thumbnail(large)
    assert small is not None and small.shape == (192, 96, 3)
    assert thumbnail(replace(case.result, key_images=())) is None


def test_of_a_key_image_in_colour_it_keeps_the_colours_and_draws_the_outline(case) -> None:
    rows, columns = case.result.key_images[0].pixels.shape
    pixels = np.zeros((rows, columns, 3), dtype=np.uint8)
    pixels[..., 2] = 200
    index = case.result.key_images[0].slice_index
    made = thumbnail(dataclasses.replace(case.result, key_images=(KeyImage(index, pixels),)))
    assert made is not None and made.shape == (rows, columns, 3)
    outlined = (made == colour(1)).all(axis=-1)
    assert outlined.any() and (made[~outlined] == (0, 0, 200)).all()
