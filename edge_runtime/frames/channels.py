"""What the processes of live video share, made by the supervisor and inherited: it outlives each of them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.config import Config
from edge_runtime.frames.slot import SlotEnds, create_slot

PICTURE_BYTES = 4_000_000
"""The most that a compressed picture for the page, with what is said beside it, may have."""

VARIABLE = "EDGE_RUNTIME_CHANNELS"
"""The environment variable by which a child is told its descriptors."""

_RESULTS_BYTES = 4_000_000


@dataclass(frozen=True, eq=False)
class SourceChannels:
    """Of one source: the slot of its frames, and the slot of its pictures with overlay for the page."""

    frames: SlotEnds
    picture: SlotEnds


@dataclass(frozen=True, eq=False)
class Channels:
    """Of all sources, by name; and the two ends of the way of results from infer to live (SEQPACKET)."""

    sources: Mapping[str, SourceChannels]
    results_in: int
    results_out: int

    def descriptors(self) -> tuple[int, ...]:
        """All of them, for a child to inherit."""
        slots = [ends for each in self.sources.values() for ends in (each.frames, each.picture)]
        return (*(fd for ends in slots for fd in (ends.memory, ends.news)), self.results_in, self.results_out)

    def to_text(self) -> str:
        """How a child is told."""
        named = {
            name: [each.frames.memory, each.frames.news, each.picture.memory, each.picture.news]
            for name, each in self.sources.items()
        }
        return json.dumps({"sources": named, "results": [self.results_in, self.results_out]})

    @staticmethod
    def from_text(text: str) -> Channels:
        """What a child was told."""
        said = json.loads(text)
        sources = {
            name: SourceChannels(SlotEnds(*each[:2]), SlotEnds(*each[2:])) for name, each in said["sources"].items()
        }
        for each in sources.values():
            for ends in (each.frames, each.picture):
                os.set_inheritable(ends.memory, False)
                os.set_inheritable(ends.news, False)
        for end in said["results"]:
            os.set_inheritable(end, False)
        return Channels(sources, *said["results"])

    def close(self) -> None:
        """Close all of them in this process."""
        for descriptor in self.descriptors():
            os.close(descriptor)


def inherited_channels() -> Channels | None:
    """What the supervisor gave this process; None where there is no video."""
    text = os.environ.get(VARIABLE)
    return None if text is None else Channels.from_text(text)


def create_channels(config: Config) -> Channels:
    """New channels for the sources of a configuration."""
    sources = {
        video.name: SourceChannels(
            create_slot(f"edge-{video.name}", 3 * video.maximum_pixels),
            create_slot(f"edge-{video.name}-picture", PICTURE_BYTES),
        )
        for video in config.video
    }
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (reading, writing):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _RESULTS_BYTES)
        end.setblocking(False)
    return Channels(sources, writing.detach(), reading.detach())
