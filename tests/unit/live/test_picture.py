"""What is published for the page: never older than it may be, never of another frame, never backwards."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.dicom_peers import RecordingMetrics
from support.live_results import RAN, SKIPPED, frame_result, number_of, numbered, polyp
from support.spools import make_config

from edge_runtime.config import Pipeline, Stage, Video
from edge_runtime.frames.channels import PICTURE_BYTES, create_channels
from edge_runtime.frames.slot import SlotReader
from edge_runtime.live import picture
from edge_runtime.live.drawing import LARGEST, draw
from edge_runtime.live.picture import Screen, payload_of

VIDEO = Video("tower-1", "endoscopy", url="x", display_age_seconds=0.5)


class Clock:
    def __init__(self, *times: float) -> None:
        self.times = list(times)

    def __call__(self) -> float:
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


@pytest.fixture
def channels(tmp_path):
    pipeline = Pipeline("endoscopy", (Stage("boxes", "e"),))
    made = create_channels(replace(make_config(tmp_path), pipelines=(pipeline,), destinations=(), video=(VIDEO,)))
    yield made.sources["tower-1"]
    made.close()


@pytest.fixture
def metrics():
    return RecordingMetrics()


def published(channels):
    """JSON and JPEG of the newest picture, with the number of the frame in it; None where there is none."""
    lease = SlotReader(channels.picture).newest()
    if lease is None:
        return None
    content = lease.pixels.tobytes()
    end = 4 + int.from_bytes(content[:4], "little")
    image = np.asarray(Image.open(io.BytesIO(content[end:])))
    return json.loads(content[4:end]), image, number_of(image), lease.header


def outcomes(metrics):
    return {key[2]: count for key, count in metrics.counts.items() if key[0] == "edge_live_pictures_total"}


def test_the_slot_holds_the_words_and_the_picture_of_one_frame(channels, metrics):
    result = frame_result(
        sequence=5, captured_at=100.0, concluded_at=100.03, stages=(RAN, SKIPPED), findings=(polyp(10, 20, 60, 90),)
    )
    shown = Screen(VIDEO, channels, metrics, Clock(100.04)).show(result, numbered(123))
    said, image, number, header = published(channels)
    assert number == 123 and image.shape == shown.shape
    assert header.captured_at == 100.0 and header.captured_unix == result.captured_unix
    plain = ("source", "pipeline", "sequence", "captured_at", "concluded_at", "deadline_seconds", "complete", "rows")
    assert {key: said[key] for key in plain} == {
        "source": "tower-1", "pipeline": "endoscopy", "sequence": 5, "captured_at": 100.0, "concluded_at": 100.03,
        "deadline_seconds": 0.05, "complete": False, "rows": 360,
    }  # fmt: skip
    assert said["display_age_seconds"] == 0.5 and said["columns"] == 640 and said["notes"] == []
    assert said["stages"][1] == {
        "stage": "outline", "outcome": "skipped", "reason": "too_slow", "seconds": 0.0, "engine": "endoscopy-boxes",
    }  # fmt: skip
    assert said["findings"] == [{"stage": "boxes", "label": "polyp", "answer": "positive", "probability": 0.93}]
    assert outcomes(metrics) == {"drawn": 1}
    assert metrics.observed == {"edge_frame_display_seconds": 1}


def test_a_picture_that_is_too_old_is_not_even_drawn(channels, metrics, monkeypatch):
    monkeypatch.setattr(picture, "draw", lambda *_: pytest.fail("drawn"))
    screen = Screen(VIDEO, channels, metrics, Clock(100.501))
    assert screen.show(frame_result(captured_at=100.0, concluded_at=100.03), numbered(1)) is None
    assert published(channels) is None
    assert outcomes(metrics) == {"stale": 1} and not metrics.observed


def test_a_picture_that_became_too_old_while_it_was_drawn_is_not_published(channels, metrics):
    screen = Screen(VIDEO, channels, metrics, Clock(100.49, 100.495, 100.501))
    assert screen.show(frame_result(captured_at=100.0, concluded_at=100.03), numbered(1)) is None
    assert published(channels) is None
    assert outcomes(metrics) == {"stale": 1}


def test_pictures_never_go_backwards(channels, metrics):
    screen = Screen(VIDEO, channels, metrics, Clock(100.04))
    for sequence in (3, 2, 3):
        screen.show(frame_result(sequence=sequence, captured_at=100.0, concluded_at=100.03), numbered(sequence))
    assert published(channels)[2] == 3
    assert outcomes(metrics) == {"drawn": 1, "overwritten": 2}


def test_the_largest_picture_of_noise_fits_into_the_slot():
    rows = columns = LARGEST
    noise = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    result = frame_result(rows=rows, columns=columns, findings=tuple(polyp(i, i, i + 9, i + 9) for i in range(300)))
    assert len(payload_of(result, draw(noise, result, result.captured_at), 0.5)) < PICTURE_BYTES
