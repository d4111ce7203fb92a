"""What a good engineer writes in a day for live video: OpenCV reads the camera, ONNX Runtime runs the networks.

    python -m benchmarks.peers.opencv_loop URL FOLDER NUMBER CLASSIFIER DETECTOR SEGMENTER [--fifo]

The last four but for the flag: .onnx files. A thread reads the camera and keeps the newest frame; with --fifo it puts
every frame into a queue. Each result is a line in FOLDER/results.jsonl. It shares no code with the daemon, and knows
nothing of deadlines.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay")

import cv2
import numpy as np
import onnxruntime

THRESHOLD, OVERLAP, MARGIN, MOST_BOXES = 0.5, 0.1, 0.25, 8


# -- reading --------------------------------------------------------------------------------------------------------


class Newest:
    """Keeps the newest frame; the reader overwrites what nobody took."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Any = None

    def put(self, frame: Any) -> None:
        """Replace it."""
        with self._changed:
            self._frame = frame
            self._changed.notify()

    def get(self) -> Any:
        """Wait for one that was not taken."""
        with self._changed:
            while self._frame is None:
                self._changed.wait()
            frame, self._frame = self._frame, None
            return frame


def read(url: str, frames: Newest | queue.Queue[Any]) -> None:
    """Read the camera for ever; the process ends where it cannot."""
    # one decoding thread: with more, FFmpeg holds a frame back for each
    camera = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    while True:
        good, frame = camera.read()
        if not good:
            print(f"{url}: no frame", file=sys.stderr, flush=True)
            os._exit(1)
        frames.put(frame)


# -- the networks ---------------------------------------------------------------------------------------------------


class Network:
    """A session on all cores, and its input's size."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoder needs the cores as well
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name
        self._rows, self._columns = self._session.get_inputs()[0].shape[2:]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of its input."""
        return self._rows, self._columns

    def __call__(self, frame: Any) -> Any:
        """Its output for a BGR picture, that is resized, and made RGB of 0 to 1; without the batch's axis."""
        small = cv2.resize(frame, (self._columns, self._rows))
        array = cv2.cvtColor(small, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)[None].astype(np.float32) / 255
        return self._session.run(None, {self._name: np.ascontiguousarray(array)})[0][0]


def sigmoid(values: Any) -> Any:
    """Probabilities of logits."""
    return 1 / (1 + np.exp(-values))


def find(detector: Network, frame: Any) -> list[list[int]]:
    """Boxes (top, left, bottom, right) in pixels, the best first, none much over another (YOLOv8's layout)."""
    rows, columns = detector.size
    centre_x, centre_y, width, height, logits = detector(frame)
    scores = sigmoid(logits)
    good = scores >= THRESHOLD
    scale = np.array([frame.shape[0] / rows, frame.shape[1] / columns] * 2)
    edges = [centre_y - height / 2, centre_x - width / 2, centre_y + height / 2, centre_x + width / 2]
    boxes = np.stack(edges, axis=1)[good] * scale
    lying = [[left, top, right - left, bottom - top] for top, left, bottom, right in boxes]
    kept = cv2.dnn.NMSBoxes(lying, scores[good].tolist(), THRESHOLD, OVERLAP)[:MOST_BOXES]
    limits = [frame.shape[0], frame.shape[1]] * 2
    return [[int(np.clip(edge, 0, limit)) for edge, limit in zip(boxes[k], limits, strict=True)] for k in kept]


def outline(segmenter: Network, frame: Any, box: Sequence[int]) -> int:
    """Pixels of what is inside a box, with a margin around it."""
    top, left, bottom, right = box
    down, across = MARGIN * (bottom - top), MARGIN * (right - left)
    y0, y1 = max(0, int(top - down)), min(frame.shape[0], int(bottom + down))
    x0, x1 = max(0, int(left - across)), min(frame.shape[1], int(right + across))
    inside = sigmoid(segmenter(frame[y0:y1, x0:x1]))[0]
    return int((cv2.resize(inside, (x1 - x0, y1 - y0)) >= THRESHOLD).sum())


def analyse(networks: Sequence[Network], frame: Any) -> dict[str, Any]:
    """What is in a frame: the number drawn in it; what a classifier, a detector and a segmenter say."""
    reader, classifier, detector, segmenter = networks
    bits = sigmoid(reader(frame)) >= THRESHOLD
    number = sum(int(bit) << place for place, bit in enumerate(bits))
    probability = float(sigmoid(classifier(frame))[0])
    boxes = find(detector, frame) if probability >= THRESHOLD else []
    return {"number": number, "probability": round(probability, 3), "boxes": boxes,
            "pixels": [outline(segmenter, frame, box) for box in boxes]}  # fmt: skip


def frames_of(source: Newest | queue.Queue[Any]) -> Iterator[Any]:
    """One frame after the other."""
    while True:
        yield source.get()


def main() -> None:
    """Until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs=4)
    parser.add_argument("--fifo", action="store_true")
    options = parser.parse_args()
    networks = [Network(path) for path in options.networks]
    frames: Newest | queue.Queue[Any] = queue.Queue() if options.fifo else Newest()
    threading.Thread(target=read, args=(options.url, frames), daemon=True).start()
    with (options.folder / "results.jsonl").open("a", buffering=1) as out:
        for frame in frames_of(frames):
            out.write(json.dumps(analyse(networks, frame)) + "\n")


if __name__ == "__main__":
    main()
