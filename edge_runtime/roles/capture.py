"""capture: reads one source of video and keeps its newest good frame in the slot. It loads no inference library."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from edge_runtime.config import Config, Video
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.frames.slot import SlotWriter
from edge_runtime.metrics import SOURCE_STATES
from edge_runtime.roles.link import Link
from edge_runtime.telemetry.metrics import Metrics
from edge_runtime.video_packages import package_missing

if TYPE_CHECKING:
    from edge_runtime.capture.reader import Reader

log = logging.getLogger("edge_runtime.capture")

_TURN_SECONDS = 0.25
_HANG_SECONDS = 15.0
_STOP_SECONDS = 1.0


def run(config: Config, link: Link, metrics: Metrics) -> None:
    """Capture the source `link.source` until stopped.

    Raises:
        BackendUnavailable: the packages for video are missing.
    """
    video = next(video for video in config.video if video.name == link.source)
    assert link.channels is not None
    writer = SlotWriter(link.channels.sources[video.name].frames)
    reader = _reader(video, writer, metrics)
    reader.start()
    link.begin("video", video.name, _HANG_SECONDS)
    link.ready()
    shown = ""
    while not link.stopped.wait(_TURN_SECONDS):
        link.beat()
        if not reader.is_alive():
            raise reader.error or EdgeRuntimeError(f"source {video.name} is no longer read; the log says why")
        if time.monotonic() - reader.turned_at < _TURN_SECONDS * 4:
            link.begin("video", video.name, _HANG_SECONDS)
        state = reader.state()
        if state != shown:
            log.info("source is now %s", state, extra={"event": {"source": video.name}})
            shown = state
        for known in SOURCE_STATES:
            metrics.set("edge_video_state", float(known == state), source=video.name, state=known)
    reader.stop(_STOP_SECONDS)


def _reader(video: Video, writer: SlotWriter, metrics: Metrics) -> Reader:
    try:
        from edge_runtime.capture.reader import Reader
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "av":
            raise
        raise package_missing(f"video {video.name}", "PyAV") from None
    return Reader(video, writer.publish, metrics)
