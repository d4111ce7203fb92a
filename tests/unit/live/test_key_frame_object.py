"""The frame as Secondary Capture: times in the zone of the study, pixels as they were, no more said than is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.key_frames import picture, video_config

from edge_runtime.config import Video
from edge_runtime.examination import Examination, Moment, begin
from edge_runtime.live.key_frame_object import is_lossy, key_frame_data_set
from edge_runtime.patient_and_study import attributes_from, decode, encode
from edge_runtime.spool.layout import Layout

CAPTURED = 1_790_000_000.25


def made(folder: Path, zone: str | None = None, **changes: object):
    dataset = decode(attributes_from({"PatientID": "P-1", "StudyInstanceUID": "2.25.7"}))
    if zone is not None:
        dataset.TimezoneOffsetFromUTC = zone
    now = Moment(CAPTURED - 60, 0.0, "boot")
    examination: Examination = begin(Layout(folder), "tower-1", encode(dataset), 4, now)
    arguments = {"number": 3, "captured_unix": CAPTURED, "stored_unix": CAPTURED + 1, "sop_instance_uid": "2.25.9",
                 "device_serial": "EDGE", **changes}  # fmt: skip
    return decode(key_frame_data_set(examination, video_config(folder).video[0], picture(), **arguments))


@pytest.mark.parametrize(
    ("zone", "offset", "time", "date"),
    [
        (None, "+0000", "141320.250000", "20260921"),
        ("+0200", "+0200", "161320.250000", "20260921"),
        ("+1200", "+1200", "021320.250000", "20260922"),
        ("CET", "+0000", "141320.250000", "20260921"),
    ],
)
def test_times_are_those_of_the_capture_in_the_zone_of_the_study(tmp_path, zone, offset, time, date):
    dataset = made(tmp_path, zone)
    assert dataset.TimezoneOffsetFromUTC == offset
    for name in ("Content", "Acquisition"):
        assert (dataset[f"{name}Date"].value, dataset[f"{name}Time"].value) == (date, time)
    assert dataset.AcquisitionDateTime == f"{date}{time}{offset}"
    assert dataset.SeriesTime != dataset.ContentTime != dataset.InstanceCreationTime


def test_the_pixels_are_those_of_the_frame_with_an_even_length(tmp_path):
    dataset = made(tmp_path)
    assert (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation) == (
        *picture().shape[:2], 3, "RGB",
    )  # fmt: skip
    assert len(dataset.PixelData) == picture().nbytes + 1
    assert np.array_equal(np.frombuffer(dataset.PixelData, np.uint8)[: picture().nbytes], picture().ravel())


@pytest.mark.parametrize(
    ("url", "lossy"), [("rtsp://camera/1", True), ("/srv/clip.mp4", True), ("/dev/video0", False), (None, True)]
)
def test_a_picture_that_came_compressed_says_so_and_of_a_camera_nothing_is_known(url, lossy):
    video = Video(name="tower-1", pipeline="p", url=url, command=None if url else "decode")
    assert is_lossy(video) is lossy
    assert is_lossy(replace(video, name="other")) is lossy
