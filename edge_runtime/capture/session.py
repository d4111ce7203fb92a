"""One connection to a source, from its first packet to its last: what is decoded, judged and published."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from av import Packet, VideoFrame, VideoStream
from av.error import FFmpegError

from edge_runtime.capture.clock import Pace, StreamClock
from edge_runtime.capture.decode import Decoder
from edge_runtime.capture.picture import Converter, image_number
from edge_runtime.capture.source import Kind, Source, SourceFailed, failure
from edge_runtime.capture.watch import Watch
from edge_runtime.config import Video
from edge_runtime.domain import Array
from edge_runtime.telemetry.metrics import Metrics

Publish = Callable[[Array, float, float], object]
"""SlotWriter.publish: pixels, captured_at, captured_unix; None where nobody had room for it."""

_SETTLED_SECONDS = 0.5
_WAITED_SECONDS = 0.001
_USUAL_RATE = 25.0
_LONGEST_PAUSE_SECONDS = 5.0
"""Between two frames of a file that is replayed at its own rate, whatever its stamps say."""


@dataclass(eq=False)
class Shared:
    """What the connections of one source have in common. `guard` is held where `watch` is used: two threads do."""

    video: Video
    watch: Watch
    publish: Publish
    metrics: Metrics
    stopped: threading.Event
    guard: threading.Lock
    turned_at: float = 0.0
    size: tuple[int, int] | None = None
    clock: Callable[[], float] = time.monotonic

    def turn(self) -> float:
        """Note that the loop turns; the time."""
        self.turned_at = self.clock()
        return self.turned_at

    def count(self, outcome: str) -> None:
        """One frame more."""
        self.metrics.count("edge_video_frames_total", source=self.video.name, outcome=outcome)


class Session:
    """Reads an open source until it ends, fails, or is given up."""

    def __init__(self, source: Source, shared: Shared) -> None:
        self._source = source
        self._shared = shared
        self._video = shared.video
        self._decoder = Decoder(source.stream, self._video.maximum_pixels)
        self._converter = Converter(self._video.columns)
        self._clock = StreamClock()
        replayed = source.kind is Kind.FILE
        rate = source.stream.average_rate
        self._paced = Pace(1.0 / float(rate) if rate else 1.0 / _USUAL_RATE) if replayed else None
        self._hurried = replayed and self._video.pace == "fastest"
        self._opened_at = shared.turn()
        self._settled = replayed
        self.first_at: float | None = None  # the first good frame
        self.last_at = 0.0

    @property
    def sound_seconds(self) -> float:
        """From its first good frame to its last."""
        return 0.0 if self.first_at is None else self.last_at - self.first_at

    def run(self) -> None:
        """Until the end of the stream, or until stopped.

        Raises:
            SourceFailed: it broke off, or is to be connected anew.
        """
        shared = self._shared
        packets = self._source.container.demux(self._source.stream)
        began_at = arrived_at = shared.turn()
        while not shared.stopped.is_set():
            asked_at = shared.turn()
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError) as error:
                raise failure(error) from None
            if packet is None:
                return
            before, arrived_at = arrived_at, shared.turn()
            waited = arrived_at - asked_at > _WAITED_SECONDS or arrived_at - began_at > _SETTLED_SECONDS
            self._settled = self._settled or waited
            self._take(packet, before if self._source.held_back else arrived_at)
            with shared.guard:
                reason = shared.watch.hopeless(shared.clock())
            if reason is not None:
                self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        if self._paced is None:
            raise SourceFailed("broken", reason)
        self._paced.restart()

    def _take(self, packet: Packet[VideoStream], arrived_at: float) -> None:
        frames, damaged = self._decoder.feed(packet)
        if damaged:
            self._shared.count("corrupt")
        for frame in frames:
            if self._shared.stopped.is_set():
                return
            outcome = self._judge(frame, arrived_at)
            self._shared.count(outcome)

    def _judge(self, frame: VideoFrame, arrived_at: float) -> str:
        shared = self._shared
        if (changed := (frame.width, frame.height)) != shared.size:
            if shared.size is not None:
                shared.metrics.count("edge_video_resolution_changes_total", source=self._video.name)
            shared.size = changed
        if frame.width * frame.height > self._video.maximum_pixels:
            return "too_large"
        captured_at = self._captured_at(frame.time, arrived_at)
        now = shared.turn()
        lag_seconds = now - captured_at
        shared.metrics.set("edge_video_lag_seconds", lag_seconds, source=self._video.name)
        if not self._settled:
            return "lagging"  # it lay in the buffers of the connection while that was made
        pixels = None if lag_seconds > self._video.maximum_lag_seconds else self._converter.rgb(frame)
        with shared.guard:
            verdict = shared.watch.frame(now, None if pixels is None else image_number(pixels), frame.time, lag_seconds)
        if pixels is None or verdict != "captured":
            return verdict
        return self._publish(pixels, captured_at, now)

    def _captured_at(self, stamp: float | None, arrived_at: float) -> float:
        if self._paced is None:
            return self._clock.captured_at(stamp, arrived_at)
        now = self._shared.clock()
        if self._hurried:
            return now
        due_at = self._paced.due_at(stamp, now)
        if due_at - now > _LONGEST_PAUSE_SECONDS:
            self._paced.restart()
            due_at = self._paced.due_at(stamp, now + _LONGEST_PAUSE_SECONDS)
        while (left := due_at - self._shared.turn()) > 0 and not self._shared.stopped.is_set():
            self._shared.stopped.wait(min(left, 0.5))
        return min(due_at, self._shared.clock())

    def _publish(self, pixels: Array, captured_at: float, now: float) -> str:
        unix = time.time() - (now - captured_at)
        self.first_at = now if self.first_at is None else self.first_at
        self.last_at = now
        if self._shared.publish(pixels, captured_at, unix) is None:
            return "unread"
        self._shared.metrics.set("edge_video_last_frame_timestamp_seconds", unix, source=self._video.name)
        return "captured"
