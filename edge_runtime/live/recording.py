"""The pictures with overlay as video files: H.264 in fragments, so that a file ends well however its writer ends.

The time of a picture in the file is that of its capture, so a gap stays a gap. See docs/live-outputs.md.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from edge_runtime.domain import BANNER, Array
from edge_runtime.frames.frame_result import FrameResult
from edge_runtime.live.event import utc_milliseconds
from edge_runtime.live.segments import Segments
from edge_runtime.live.sinks import Entry
from edge_runtime.video_packages import package_missing

SUFFIX = "mp4"
DEPTH = 8
"""Pictures of one source that wait for the encoder."""

LONGEST_GAP_SECONDS = 10.0
"""Without a picture for longer than this, a file ends."""

RETRY_SECONDS = 5.0
"""After a file that could not be written, before the next is tried."""

SHORTEST_FILE_SECONDS = 2.0
"""Between the beginnings of two files of one source, however often the size of its pictures changes."""

_TICKS = 90_000  # a second (ISO/IEC 13818-1's clock, usual for video)
_ENCODERS: Mapping[str, dict[str, str]] = {
    "libx264": {"preset": "superfast", "tune": "zerolatency", "crf": "23"},
    "libopenh264": {},
    "mpeg4": {"qscale": "4"},
}
_KEY_FRAME_EVERY = 25
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"}


def load_av() -> Any:
    """PyAV, or BackendUnavailable."""
    try:
        return importlib.import_module("av")
    except ModuleNotFoundError as error:
        if error.name != "av":
            raise
        raise package_missing("a recording", "PyAV") from error


class RecordingWriter:
    """A video file a source, begun anew after its time, after a gap and when the picture's size changes."""

    def __init__(
        self, segments: Segments, display_ages: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._av = load_av()
        self._segments = segments
        self._display_ages = display_ages
        self._clock = clock
        self._videos: dict[str, _VideoFile] = {}
        self._retry_at = 0.0
        self._next_file_at: dict[str, float] = {}

    def write(self, entry: Entry) -> str:
        """Add a picture. A result without one was never shown as live, and is not recorded.

        Raises:
            OSError: it could not be written; the file ends, and a new one is tried after RETRY_SECONDS.
        """
        result, picture = entry.result, entry.picture
        if picture is None:
            stale = self._clock() - result.captured_at > self._display_ages[result.source]
            return "stale" if stale else "lost"
        if self._clock() < self._retry_at:
            return "failed"
        try:
            video = self._video(result, picture)
            return "sent" if video is not None and video.add(picture, result.captured_at) else "lost"
        except OSError:
            self._retry_at = self._clock() + RETRY_SECONDS
            self._end(result.source)
            raise

    def idle(self) -> None:
        """End the files that have waited too long for a picture."""
        for source in [source for source, video in self._videos.items() if self._is_over(video)]:
            self._end(source)

    def close(self) -> None:
        """End all files."""
        for source in list(self._videos):
            self._end(source)

    def _video(self, result: FrameResult, picture: Array) -> _VideoFile | None:
        """The file for this picture; None where it needs a new one, and the one before it is too young."""
        video, now = self._videos.get(result.source), self._clock()
        if video is None or video.shape != picture.shape or self._is_over(video):
            if now < self._next_file_at.get(result.source, now):
                return None
            self._end(result.source)
            self._next_file_at[result.source] = now + SHORTEST_FILE_SECONDS
            path, descriptor = self._segments.create(result.source, result.captured_unix)
            video = self._videos[result.source] = _VideoFile(self._av, path, descriptor, result, picture.shape)
            self._segments.prune(other.path for other in self._videos.values())
        return video

    def _is_over(self, video: _VideoFile) -> bool:
        now = self._clock()
        silent = now - video.newest_at > LONGEST_GAP_SECONDS
        return silent or self._segments.is_full(now - video.begun_at, video.size_bytes)

    def _end(self, source: str) -> None:
        video = self._videos.pop(source, None)
        if video is not None:
            with contextlib.suppress(OSError):  # what is in the file is whole without its end
                video.close()


class _VideoFile:
    """One file. It is written in fragments of about a second; all but the last are there whatever happens."""

    def __init__(self, av: Any, path: Path, descriptor: int, first: FrameResult, shape: tuple[int, ...]) -> None:
        self._av = av
        self.path = path
        self.shape = shape
        self.begun_at = self.newest_at = first.captured_at
        self._file = _Output(descriptor)
        self._ticks = -1
        self._container = av.open(self._file, "w", format=SUFFIX, options=_FRAGMENTS)
        self._container.metadata.update(
            {"creation_time": utc_milliseconds(first.captured_unix), "title": first.source, "comment": BANNER}
        )
        encoder = next(name for name in _ENCODERS if name in av.codecs_available)
        stream = self._stream = self._container.add_stream(encoder, options=_ENCODERS[encoder])
        stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.gop_size = _KEY_FRAME_EVERY
        stream.codec_context.thread_count = 1  # the other cores are for infer

    @property
    def size_bytes(self) -> int:
        """Of what was written so far."""
        return self._file.size_bytes

    def add(self, picture: Array, captured_at: float) -> bool:
        """Encode one picture; False where its time is not after that of the one before it."""
        ticks = round((captured_at - self.begun_at) * _TICKS)
        if ticks <= self._ticks:
            return False
        self._ticks, self.newest_at = ticks, captured_at
        frame = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = ticks, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))
        return True

    def close(self) -> None:
        """Write what is still with the encoder, and close the file."""
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        finally:
            self._file.close()


class _Output:
    """What PyAV writes to. A short write is an error here and not a torn fragment later."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """All of it, or OSError."""
        if os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size_bytes += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
