"""What is done with each result of a live frame: its picture, its destinations, and the choice of key frames."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from edge_runtime.config import Config
from edge_runtime.domain import Array
from edge_runtime.frames.channels import Channels
from edge_runtime.frames.frame_result import FrameResult
from edge_runtime.frames.slot import SlotReader
from edge_runtime.live.picture import Screen
from edge_runtime.live.sinks import Sink
from edge_runtime.telemetry.metrics import Metrics

log = logging.getLogger("edge_runtime.live")


class KeyFrameChoice(Protocol):
    """Who chooses the frames that are kept."""

    def offer(self, result: FrameResult, pixels: Array) -> None:
        """Look at a result; quick. pixels: uint8 RGB (rows, columns, 3), valid during the call only."""


class Outputs:
    """The outputs of all sources. `sinks`: the destinations of each source."""

    def __init__(
        self,
        config: Config,
        channels: Channels,
        sinks: Mapping[str, Sequence[Sink]],
        key_frames: KeyFrameChoice,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readers = {name: SlotReader(each.frames) for name, each in channels.sources.items()}
        self._screens = {
            video.name: Screen(video, channels.sources[video.name], metrics, clock) for video in config.video
        }
        self._sinks = sinks
        self._key_frames = key_frames

    def process(self, results: Sequence[FrameResult]) -> None:
        """Hand on what has come in. Of each source only the newest is drawn; destinations get every result."""
        known = [result for result in results if result.source in self._screens]
        if len(known) < len(results):
            log.error(
                "results of a source that is not in the configuration",
                extra={"event": {"count": len(results) - len(known)}},
            )
        for result in known:
            self._send(result, None, wants_pictures=False)
        newest = {result.source: result.sequence for result in sorted(known, key=lambda result: result.sequence)}
        for result in known:
            picture = self._look(result, is_newest=result.sequence == newest[result.source])
            self._send(result, picture, wants_pictures=True)

    def close(self, drain_seconds: float) -> None:
        """Let each destination finish within its share of the time, and let go of the slots."""
        sinks = {id(sink): sink for each in self._sinks.values() for sink in each}
        for sink in sinks.values():
            sink.close(drain_seconds / len(sinks))
        for screen in self._screens.values():
            screen.close()
        for reader in self._readers.values():
            reader.close()

    def _look(self, result: FrameResult, is_newest: bool) -> Array | None:
        """What needs the frame's pixels; the picture with overlay, if it was shown."""
        screen = self._screens[result.source]
        lease = self._readers[result.source].of(result.buffer, result.sequence)
        if lease is None:
            screen.overwritten()
            return None
        with lease:
            self._key_frames.offer(result, lease.pixels)
            if is_newest:
                return screen.show(result, lease.pixels)
        screen.overwritten()
        return None

    def _send(self, result: FrameResult, picture: Array | None, wants_pictures: bool) -> None:
        for sink in self._sinks.get(result.source, ()):
            if sink.wants_pictures == wants_pictures:
                sink.put(result, picture)
