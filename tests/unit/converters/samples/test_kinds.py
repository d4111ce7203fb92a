"""Every kind of image comes out as the daemon would see it, and is known by its pixels."""

from __future__ import annotations

import sys

import av
import numpy as np
import pytest
from PIL import Image
from support.dicom_objects import SECONDARY_CAPTURE, ct_series, multi_frame, picture, save, save_series
from support.samples import VOLUME, card_of, noise, opened, save_nifti, save_picture

from edge_runtime.domain import Frames, Volume
from edge_runtime.errors import BackendUnavailable

pytestmark = pytest.mark.slow

RLE = "1.2.840.10008.1.2.5"


def only(card, folder):
    (sample,) = opened(card, folder)
    return sample


def test_a_picture_becomes_one_frame(tmp_path):
    pixels, colour = noise((6, 7)), noise((6, 7, 3))
    save_picture(tmp_path / "grey" / "a.png", pixels)
    save_picture(tmp_path / "colour" / "a.png", colour)
    deep = noise((6, 7)).astype(np.uint16) * 300
    save_picture(tmp_path / "deep" / "a.png", deep)
    card = card_of(tmp_path / "cards")
    assert isinstance(only(card, tmp_path / "grey").image, Frames)
    assert np.array_equal(only(card, tmp_path / "grey").image.pixels, pixels[None].astype(np.float32))
    assert np.array_equal(only(card, tmp_path / "colour").image.pixels, colour[None])
    assert np.array_equal(only(card, tmp_path / "deep").image.pixels, deep[None].astype(np.float32))


def test_a_picture_is_turned_as_its_camera_says_and_its_transparency_dropped(tmp_path):
    pixels = noise((6, 7, 4))
    save_picture(tmp_path / "one" / "a.png", pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    (tmp_path / "two").mkdir()
    Image.fromarray(pixels[..., 0]).save(tmp_path / "two" / "a.png", exif=exif)
    card = card_of(tmp_path / "cards")
    assert np.array_equal(only(card, tmp_path / "one").image.pixels, pixels[None, ..., :3])
    assert np.array_equal(only(card, tmp_path / "two").image.pixels[0], np.rot90(pixels[..., 0], -1))


def test_a_folder_with_one_dicom_series_is_one_volume(tmp_path):
    stored = noise((5, 8, 8)).astype(float) - 50
    save_series(ct_series(stored), tmp_path / "set" / "patient" / "study")
    sample = only(card_of(tmp_path / "cards", shape=VOLUME), tmp_path / "set")
    assert sample.name.endswith("study")
    assert isinstance(sample.image, Volume)
    assert np.array_equal(sample.image.voxels, stored.astype(np.float32))
    assert sample.image.geometry.spacing_mm == (5.0, 0.5, 0.5)


def test_kinds_are_mixed_and_come_in_the_order_of_names(tmp_path):
    folder = tmp_path / "set"
    save(picture(noise((8, 8), 1), sop_class=SECONDARY_CAPTURE), folder / "b.dcm")
    save(multi_frame(noise((3, 8, 8), 2)), folder / "d" / "clip.dcm")
    save_picture(folder / "a.png", noise((8, 8), 3))
    np.save(folder / "c.npy", noise((2, 8, 8), 4).astype(np.float32))
    (folder / ".hidden").write_text("x")
    (folder / "DICOMDIR").write_text("x")
    samples = list(opened(card_of(tmp_path / "cards"), folder))
    assert [s.name.removeprefix(f"{folder}/") for s in samples] == ["a.png", "b.dcm", "c.npy", "d"]
    assert [len(s.image.pixels) for s in samples] == [1, 1, 2, 3]


def test_the_same_image_has_the_same_identity_under_another_name_syntax_or_format(tmp_path):
    stored = noise((4, 8, 9)).astype(float)
    folder = tmp_path / "set"
    save_series(ct_series(stored, origin_mm=(-10, -20, 30), spacing_mm=(5.0, 0.5, 0.7)), folder / "one")
    save_series(ct_series(stored, spacing_mm=(5.0, 0.5, 0.7), name="other"), folder / "two", RLE)
    affine = np.diag([-0.7, -0.5, 5.0, 1.0])  # column, row, slice in RAS
    save_nifti(folder / "three.nii.gz", stored.transpose(2, 1, 0).astype(np.int16), affine)
    turned = np.diag([0.7, -0.5, 5.0, 1.0])
    save_nifti(folder / "four.nii", stored.transpose(2, 1, 0)[::-1].astype(np.float32), turned)
    card = card_of(tmp_path / "cards", shape=VOLUME)
    assert len({sample.sha256 for sample in opened(card, folder)}) == 1
    save_series(ct_series(stored, spacing_mm=(4.0, 0.5, 0.7)), folder / "other spacing")
    save_series(ct_series(stored[::-1], spacing_mm=(5.0, 0.5, 0.7)), folder / "upside down")
    assert len(opened(card, folder).identities()) == 3


def test_a_png_of_a_dicom_picture_has_its_identity(tmp_path):
    pixels = noise((8, 8))
    save(picture(pixels, ImagerPixelSpacing=["0.2", "0.2"]), tmp_path / "set" / "a.dcm")
    save_picture(tmp_path / "set" / "b.png", pixels)
    assert len(opened(card_of(tmp_path / "cards"), tmp_path / "set").identities()) == 1


def test_a_grey_picture_has_its_identity_when_it_is_saved_in_colour(tmp_path):
    pixels = noise((8, 8))
    save_picture(tmp_path / "set" / "a.png", pixels)
    save_picture(tmp_path / "set" / "b.png", np.stack([pixels] * 3, axis=-1))
    assert len(opened(card_of(tmp_path / "cards"), tmp_path / "set").identities()) == 1


def test_of_a_video_every_nth_frame_is_looked_at(tmp_path):
    (tmp_path / "set").mkdir()
    with av.open(str(tmp_path / "set" / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj444p"
        for index in range(70):
            picture = np.full((32, 32, 3), (3 * index, 0, 200), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    pixels = only(card_of(tmp_path / "cards"), tmp_path / "set").image.pixels
    assert pixels.shape == (24, 32, 32, 3)  # every third
    assert np.allclose(pixels[:, 0, 0, 0], 9 * np.arange(24), atol=8)
    assert np.allclose(pixels[:, 0, 0, 2], 200, atol=8)


def test_a_video_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BackendUnavailable, match=r"a\.mp4.*pip install .edge-runtime\[video\]"):
        list(opened(card_of(tmp_path / "cards"), tmp_path / "set"))


def test_a_count_takes_samples_evenly_from_the_whole_folder(tmp_path):
    for index in range(10):
        save_picture(tmp_path / "set" / f"{index}.png", noise((4, 4), index))
    samples = opened(card_of(tmp_path / "cards"), tmp_path / "set", count=4)
    assert [sample.name[-5] for sample in samples] == ["0", "2", "5", "7"]
    assert len(samples) == 4
