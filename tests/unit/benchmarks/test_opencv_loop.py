"""The peer's own decoding, without a camera."""

import queue

import numpy as np
import pytest

pytest.importorskip("cv2")

from benchmarks.peers import opencv_loop as peer


class Made:
    """A network whose output is given."""

    def __init__(self, output, size=(180, 320)):
        self.output, self.size, self.seen = np.asarray(output, np.float32), size, []

    def __call__(self, frame):
        self.seen.append(frame.shape)
        return self.output


FRAME = np.zeros((360, 640, 3), np.uint8)


def test_the_newest_frame_is_kept_and_given_once():
    frames = peer.Newest()
    frames.put("a")
    frames.put("b")
    assert frames.get() == "b"
    frames.put("c")
    assert frames.get() == "c"


def test_boxes_are_scaled_to_the_frame_and_the_best_stays_of_two_that_overlap():
    detector = Made([[100, 102, 200, 300], [50, 50, 90, 90], [40] * 4, [20] * 4, [3, 2, 4, -1]])
    assert peer.find(detector, FRAME) == [[160, 360, 200, 440], [80, 160, 120, 240]]
    assert peer.find(Made([[100], [50], [40], [20], [-1]]), FRAME) == []


def test_the_outline_is_counted_within_the_box_and_its_margin():
    segmenter = Made(np.full((1, 96, 96), 4.0))
    assert peer.outline(segmenter, FRAME, [100, 200, 140, 280]) == 60 * 120
    assert segmenter.seen == [(60, 120, 3)]
    assert peer.outline(segmenter, FRAME, [0, 0, 40, 80]) == 50 * 100, "cut at the edge of the frame"


def test_a_negative_frame_asks_neither_detector_nor_segmenter():
    reader = Made([4, -4, 4] + [-4] * 13)
    detector, segmenter = Made([[160], [90], [40], [20], [4]]), Made(np.full((1, 96, 96), 4.0))
    said = peer.analyse([reader, Made([4.0]), detector, segmenter], FRAME)
    assert (said["number"], said["boxes"], len(said["pixels"])) == (5, [[160, 280, 200, 360]], 1)
    said = peer.analyse([reader, Made([-4.0]), detector, segmenter], FRAME)
    assert (said["boxes"], said["pixels"], len(detector.seen)) == ([], [], 1)


def test_a_camera_that_gives_no_frame_ends_the_script(monkeypatch):
    class Nothing:
        def set(self, *_):
            return True

        def read(self):
            return False, None

    def ended(code):
        raise SystemExit(code)

    monkeypatch.setattr(peer.cv2, "VideoCapture", lambda *_: Nothing())
    monkeypatch.setattr(peer.os, "_exit", ended)
    with pytest.raises(SystemExit) as found:
        peer.read("rtsp://nowhere", queue.Queue())
    assert found.value.code == 1
