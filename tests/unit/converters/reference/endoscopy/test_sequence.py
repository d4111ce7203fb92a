"""A sequence moves smoothly through all that a demonstration is to show, and knows what is true of each frame."""

from __future__ import annotations

import json
import sys
from functools import lru_cache

import numpy as np
import pytest

from converters.reference.endoscopy import video
from converters.reference.endoscopy.frames import Frame
from converters.reference.endoscopy.sequence import Phase, Sequence, make_sequence
from edge_runtime.errors import BackendUnavailable

ROWS, COLUMNS = 120, 160


@lru_cache
def sequence(seconds: float = 20.0) -> Sequence:
    return make_sequence(3, seconds, ROWS, COLUMNS)


@lru_cache
def sampled() -> list[tuple[Phase, Frame]]:
    """Two or three frames a second."""
    return [(sequence().phase(k), sequence().frame(k)) for k in range(0, sequence().count, 10)]


def test_it_begins_outside_goes_in_is_shaken_meets_look_alikes_and_the_wall():
    phases = list(dict.fromkeys(phase for phase, _ in sampled()))
    assert phases[:3] == [Phase.OUTSIDE, Phase.ENTRY, Phase.INSPECTION]
    assert set(phases) == set(Phase)
    assert not any(frame.inside for phase, frame in sampled() if phase is Phase.OUTSIDE)
    assert all(frame.inside for phase, frame in sampled() if phase is Phase.INSPECTION)
    assert {"stool", "bubbles"} & {name for _, frame in sampled() for name in frame.look_alikes}


def test_frames_are_informative_inside_and_not_where_they_are_shaken_or_at_the_wall():
    def share(phase: Phase) -> float:
        return float(np.mean([frame.informative for of, frame in sampled() if of is phase]))

    assert share(Phase.INSPECTION) == 1 and share(Phase.OUTSIDE) == 0
    assert share(Phase.SHAKEN) < 0.5 and share(Phase.WALL) < 0.5


def test_at_least_three_polyps_come_into_view_and_leave():
    seen = [{polyp.number for polyp in frame.polyps} for _, frame in sampled()]
    numbers = set().union(*seen)
    left = [number for number in numbers if number not in seen[-1]]
    assert len(numbers) >= 3 and len(left) >= 3
    assert not seen[0]


def test_the_picture_moves_smoothly():
    """From one frame to the next it changes less than within half a second, in the middle of an inspection."""
    first = next(k for k in range(sequence().count) if sequence().phase(k) is Phase.INSPECTION) + 30
    frames = [sequence().frame(first + k).pixels.astype(float) for k in (0, 1, 12)]
    step, half_second = (np.abs(frames[0] - frames[k]).mean() for k in (1, 2))
    assert 0.3 < step < 0.6 * half_second


def test_any_frame_can_be_asked_for_by_itself():
    made = make_sequence(3, 20.0, ROWS, COLUMNS)
    assert np.array_equal(made.frame(200).pixels, sequence().frame(200).pixels)
    with pytest.raises(IndexError, match="500 frames"):
        made.frame(500)


def test_a_long_sequence_goes_back_and_forth_in_one_tunnel():
    long = make_sequence(3, 3600.0, ROWS, COLUMNS)
    along = [long.camera(k).along for k in range(0, long.count, 50)]
    assert max(along) <= long.way and min(along) >= 0
    assert max(abs(np.diff(along))) < 1.5  # radii in two seconds
    assert np.count_nonzero(np.diff(np.sign(np.diff(along)))) > 20


def test_less_than_five_seconds_is_refused():
    with pytest.raises(ValueError, match="at least 5 seconds"):
        make_sequence(1, 4.0)


def test_a_video_has_the_frames_of_its_truth_and_a_key_frame_a_second(tmp_path):
    av = pytest.importorskip("av")
    truth = video.write_video(tmp_path / "a.mp4", 5, 2, 96, 128, 10)
    told = json.loads(truth.read_text())
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(container.decode(stream))
    assert len(frames) == len(told["frames"]) == 50
    assert (told["rows"], told["columns"], told["frames_per_second"]) == (96, 128, 10)
    assert [k for k, frame in enumerate(frames) if frame.key_frame] == list(range(0, 50, 10))
    made = make_sequence(2, 5, 96, 128, 10)
    for k in (0, 20, 40):
        assert float(frames[k].time) == pytest.approx(told["frames"][k]["seconds"], abs=1e-3)
        difference = frames[k].to_ndarray(format="rgb24").astype(float) - made.frame(k).pixels
        assert np.abs(difference).mean() < 8
        assert told["frames"][k]["informative"] == made.frame(k).informative
        assert [p["box"] for p in told["frames"][k]["polyps"]] == [list(p.box) for p in made.frame(k).polyps]


def test_a_video_of_an_odd_size_or_without_the_package_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="even"):
        video.write_video(tmp_path / "a.mp4", 5, 1, 95, 128)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BackendUnavailable, match="edge-runtime\\[video\\]"):
        video.write_video(tmp_path / "a.mp4", 5, 1, 96, 128)
