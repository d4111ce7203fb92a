"""A folder that cannot be used says which file is wrong and what to do; labels reach the right sample."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from support.dicom_objects import ct_series, save, save_series
from support.samples import VOLUME, card_of, noise, opened, save_nifti, save_picture, write_truth

from converters.samples import inputs, refuse_leakage
from edge_runtime.errors import ConfigurationError

POSITIVE, NEGATIVE = {"file": "a.png", "positive": ["brain"]}, {"file": "b.png", "positive": []}


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("a", "b")):
        save_picture(tmp_path / "set" / f"{name}.png", noise((8, 8), number))
    return tmp_path / "set"


@pytest.fixture
def card(tmp_path):
    return card_of(tmp_path / "cards")


def refused(card, folder, *mentions, labelled=True):
    with pytest.raises(ConfigurationError) as caught:
        list(inputs(card, opened(card, folder, labelled)))
    for mention in mentions:
        assert str(mention) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_reach_their_samples(card, folder):
    first, second = opened(card, write_truth(folder, NEGATIVE, POSITIVE), labelled=True)
    assert (first.name, first.truth.positive) == (str(folder / "a.png"), {"brain"})
    assert (second.name, second.truth.positive) == (str(folder / "b.png"), frozenset())


def test_a_calibration_folder_needs_no_labels_and_may_have_some(card, folder):
    assert [s.truth for s in opened(card, folder)] == [None, None]
    assert [s.truth is None for s in opened(card, write_truth(folder, POSITIVE))] == [False, True]


def test_a_missing_or_empty_folder_is_refused(card, tmp_path):
    refused(card, tmp_path / "none", "none: there is no such folder", labelled=False)
    (tmp_path / "empty").mkdir()
    refused(card, tmp_path / "empty", "empty: the folder holds no image", labelled=False)


def test_a_file_that_is_no_image_is_named(card, folder):
    (folder / "notes.txt").write_text("not an image")
    refused(card, folder, folder / "notes.txt", "no image", "move it away", labelled=False)


@pytest.mark.parametrize("name", ["c.png", "c.jpg"])
def test_a_truncated_picture_is_named(card, folder, name):
    data = save_picture(folder / name, noise((64, 64))).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    refused(card, folder, folder / name, "damaged", labelled=False)


def test_a_holdout_without_truth_is_refused(card, folder):
    refused(card, folder, folder, "there is no truth.yaml")


def test_an_unknown_key_of_the_truth_is_named_with_its_line(card, folder):
    (folder / "truth.yaml").write_text("samples:\n  - file: a.png\n    positiv: [brain]\n")
    refused(card, folder, "truth.yaml:3", "positiv", "did you mean 'positive'")


def test_a_truth_that_names_a_missing_file_is_refused(card, folder):
    refused(card, write_truth(folder, POSITIVE, {"file": "z.png", "positive": []}), "samples[1]", "there is no z.png")


def test_a_label_that_the_card_has_not_is_refused(card, folder):
    wrong = {"file": "b.png", "positive": ["brian"]}
    refused(card, write_truth(folder, POSITIVE, wrong), "samples[1] (b.png)", "no label 'brian'", "brain")


@pytest.mark.parametrize(("entries", "message"), [
    ([POSITIVE, {**NEGATIVE, "positive": ["brain"]}], "brain is in all 2 samples"),
    ([NEGATIVE, {**POSITIVE, "positive": []}], "brain is in none of the 2 samples"),
])  # fmt: skip
def test_a_holdout_of_one_class_is_refused(card, folder, entries, message):
    refused(card, write_truth(folder, *entries), message)


def test_an_image_of_a_holdout_that_the_truth_leaves_out_is_named(card, folder):
    refused(card, write_truth(folder, POSITIVE), folder / "b.png", "says nothing of this file")


def test_a_sample_without_what_the_task_is_measured_by_is_named(card, folder):
    third = save_picture(folder / "c.png", noise((8, 8), 5))
    truth = write_truth(folder, POSITIVE, NEGATIVE, {"file": "c.png", "boxes": []})
    refused(card, truth, third, "`positive`")


def test_a_box_beyond_the_image_and_one_of_no_extent_are_refused(tmp_path, folder):
    card = card_of(tmp_path / "cards", "detection")
    beyond = {"file": "a.png", "boxes": [{"label": "brain", "start": [0, 0], "stop": [8, 9]}]}
    empty = {"file": "b.png", "boxes": []}
    refused(card, write_truth(folder, beyond, empty), folder / "a.png", "reaches beyond the image")
    beyond["boxes"][0]["stop"] = [0, 9]
    refused(card, write_truth(folder, beyond, empty), "truth.yaml:", "samples[0].boxes[0].stop", "beyond start")


def test_a_file_that_stands_twice_is_refused(card, folder):
    refused(card, write_truth(folder, POSITIVE, NEGATIVE, {**POSITIVE, "positive": []}), "samples[2]", "stands twice")


def test_a_box_in_a_volume_needs_its_slices(tmp_path):
    card, folder = card_of(tmp_path / "cards", "detection", VOLUME), tmp_path / "set"
    path = save_nifti(folder / "a.nii", noise((8, 8, 8)).astype(np.float32))
    boxes = [{"label": "brain", "start": [0, 0], "stop": [4, 4]}]
    refused(card, write_truth(folder, {"file": "a.nii", "boxes": boxes}), path, "(slice, row, column)")


def test_a_mask_of_another_grid_is_named(tmp_path, folder):
    card = card_of(tmp_path / "cards", "segmentation")
    save_picture(folder / "m.png", noise((8, 9)))
    truth = [{"file": "a.png", "masks": [{"label": "brain", "file": "m.png"}]}, {"file": "b.png", "masks": []}]
    refused(card, write_truth(folder, *truth), folder / "m.png", "another grid", "(1, 8, 9)")


def test_masks_and_regions_of_one_image_are_read_with_it(tmp_path):
    card, folder = card_of(tmp_path / "cards", "segmentation", VOLUME), tmp_path / "set"
    save_nifti(folder / "a.nii.gz", noise((8, 9, 6)).astype(np.float32))
    mask = (noise((8, 9, 6), 2) > 50).astype(np.uint8)
    save_nifti(folder / "m.nii.gz", mask)
    regions = [{"start": [0, 0, 0], "stop": [2, 9, 8]}, {"start": [2, 0, 0], "stop": [6, 9, 8]}]
    masks = [{"label": "brain", "file": "m.nii.gz"}]
    write_truth(folder, *({"file": "a.nii.gz", "masks": masks, "region": region} for region in regions))
    samples = list(opened(card, folder, labelled=True))
    assert [sample.region.start for sample in samples] == [(0.0, 0.0, 0.0), (2.0, 0.0, 0.0)]
    assert samples[0].image is samples[1].image
    assert np.array_equal(samples[0].truth.masks["brain"], mask.transpose(2, 1, 0) != 0)


def test_a_corrupt_slice_of_a_series_is_named(tmp_path):
    card = card_of(tmp_path / "cards", shape=VOLUME)
    files = save_series(ct_series(noise((4, 8, 8)).astype(float)), tmp_path / "set" / "case")
    files[2].write_bytes(files[2].read_bytes()[:-40])
    refused(card, tmp_path / "set", files[2], "truncated", labelled=False)


def test_a_folder_with_two_series_and_one_with_a_hole_are_named(tmp_path):
    card, case = card_of(tmp_path / "cards", shape=VOLUME), tmp_path / "set" / "case"
    series = ct_series(noise((4, 8, 8)).astype(float))
    save_series([series[0], series[1], series[3]], case)
    refused(card, tmp_path / "set", case, "missing_slices", labelled=False)
    save(ct_series(noise((4, 8, 8)).astype(float), name="other")[2], case / "other.dcm")
    refused(card, tmp_path / "set", case, "other.dcm is of another series", labelled=False)


def test_loose_slices_are_told_to_go_into_a_folder(tmp_path):
    card = card_of(tmp_path / "cards", shape=VOLUME)
    files = save_series(ct_series(noise((4, 8, 8)).astype(float)), tmp_path / "set")
    refused(card, tmp_path / "set", files[0], "into a folder of their own", labelled=False)


def test_an_image_that_the_recipe_does_not_take_is_named(tmp_path, folder):
    refused(card_of(tmp_path / "cards", shape=VOLUME), folder, folder / "a.png", "takes a volume", labelled=False)


def test_an_image_that_is_not_what_the_card_expects_is_named(tmp_path):
    expect = {"what": "a head", "range": [0.0, 100.0], "volume_ml": [100.0, 2000.0]}
    card = card_of(tmp_path / "cards", shape=VOLUME, expect=expect)
    path = save_nifti(tmp_path / "set" / "foot.nii.gz", noise((8, 8, 8)).astype(np.float32))
    refused(card, tmp_path / "set", path, "does not look like a head", labelled=False)


@pytest.mark.parametrize("name", ["p.png", "a" * 5000])
def test_a_truth_that_names_a_pipe_or_what_no_file_is_called_is_refused(card, folder, name):
    os.mkfifo(folder / "p.png")
    refused(card, write_truth(folder, {**NEGATIVE, "file": name}), "there is no")


def test_an_array_that_is_none_is_named(card, folder):
    huge = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 99999999, 99999999), }".ljust(117) + b"\n"
    with io.BytesIO() as stream:
        np.savez(stream, a=np.zeros(3))
        archive = stream.getvalue()
    for data in (archive, b"\x93NUMPY\x01\x00\x76\x00" + huge, b"\x93NUMPY\x01\x00\x76\x00" + b"[" * 117 + b"\n"):
        (folder / "c.npy").write_bytes(data)
        refused(card, folder, folder / "c.npy", "cannot be read as .npy", labelled=False)


@pytest.mark.parametrize(("labelled", "hashes"), [(True, 2), (False, 1)])
def test_the_hash_of_a_labelled_set_tells_what_is_true(tmp_path, labelled, hashes):
    card, folder, seen = card_of(tmp_path / "cards", shape=(1, 1, 8, 8)), tmp_path / "set", set()
    for name in "ab":
        save_picture(folder / f"{name}.png", noise((8, 8), ord(name)).astype(np.uint8))
    for positive in ("a", "b"):
        write_truth(folder, *({"file": f"{n}.png", "positive": ["brain"] * (n == positive)} for n in "ab"))
        seen.add(opened(card, folder, labelled=labelled).sha256())
    assert len(seen) == hashes


def test_the_hash_of_a_set_tells_the_regions_that_are_looked_at(tmp_path, folder):
    card = card_of(tmp_path / "cards")
    hashes = set()
    for stop in (4, 5):
        entry = {**NEGATIVE, "region": {"start": [0, 0], "stop": [stop, stop]}}
        hashes.add(opened(card, write_truth(folder, entry, POSITIVE), labelled=True).sha256())
    assert len(hashes) == 2


def test_a_copy_under_another_name_in_both_sets_is_leakage(card, folder, tmp_path):
    holdout = tmp_path / "holdout"
    save_picture(holdout / "c.png", noise((8, 8), 7))
    first, second = opened(card, folder), opened(card, holdout)
    refuse_leakage(first, second)
    save_picture(holdout / "another name.png", noise((8, 8), 1))
    with pytest.raises(ConfigurationError, match=r"b\.png of the calibration set.*another name\.png of the hold-out"):
        refuse_leakage(first, opened(card, holdout))


def test_the_hash_of_a_set_is_that_of_its_images_whatever_their_names(card, folder, tmp_path):
    before = opened(card, folder).sha256()
    (folder / "a.png").rename(folder / "z.png")
    assert opened(card, folder).sha256() == before
    save_picture(folder / "z.png", noise((8, 8), 9))
    assert opened(card, folder).sha256() != before
