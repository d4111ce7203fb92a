"""The page's ports with live sources and no daemon: pictures are put into the slots by hand."""

from __future__ import annotations

import io
import json
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from support.spools import make_config

from edge_runtime.config import Config, Http, Video
from edge_runtime.frames.channels import create_channels
from edge_runtime.frames.slot import SlotWriter
from edge_runtime.metrics import METRICS, SOURCE_STATES, label_values
from edge_runtime.page.serve import HttpPorts
from edge_runtime.telemetry.exposition import Exposition
from edge_runtime.telemetry.health import Views

DISPLAY_AGE_SECONDS = 0.5
RED, GREEN = (200, 30, 30), (30, 200, 30)


def live_config(folder: Path, *sources: str, **http: Any) -> Config:
    """Sources of that names, each with a deadline of 50 ms."""
    videos = tuple(Video(name=name, pipeline="head", url=f"rtsp://user:secret@{name}/", deadline_seconds=0.05,
                         display_age_seconds=DISPLAY_AGE_SECONDS) for name in sources)  # fmt: skip
    return replace(make_config(folder), http=Http(**{"port": 0, **http}), video=videos)


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (320, 180)) -> bytes:
    """A picture of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "JPEG")
    return stream.getvalue()


def picture(source: str, sequence: int, captured_at: float, content: bytes, **changes: Any) -> bytes:
    """What lies in a slot of pictures."""
    said = {
        "source": source, "pipeline": "head", "sequence": sequence, "captured_at": captured_at,
        "concluded_at": captured_at + 0.03, "deadline_seconds": 0.05, "display_age_seconds": DISPLAY_AGE_SECONDS,
        "complete": True, "rows": 180, "columns": 320, "notes": [],
        "stages": [{"stage": "find", "outcome": "ran", "reason": "", "seconds": 0.02, "engine": "polyps"}],
        "findings": [{"stage": "find", "label": "polyp", "answer": "positive", "probability": 0.93}], **changes,
    }  # fmt: skip
    text = json.dumps(said).encode()
    return len(text).to_bytes(4, "little") + text + content


class LivePages:
    """Ports, slots and metrics of the sources of a configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.exposition = Exposition(METRICS, label_values(config))
        self._channels = create_channels(config)
        self._writers = {name: SlotWriter(each.picture) for name, each in self._channels.sources.items()}
        views = Views(lambda: 0.0, lambda: True, list, self.exposition.render, list)
        self.ports = HttpPorts(lambda: self.config, views, lambda: self.exposition, lambda: None, self._channels)
        for name in self._writers:
            self.be(name, "live")

    @property
    def port(self) -> int:
        """The port of the page."""
        return self.ports.port

    def be(self, source: str, state: str | None) -> None:
        """The source's process says that it is in that state; None: the process ends."""
        if state is None:
            self.exposition.ended(f"capture:{source}")
            return
        states = [("edge_video_state", (source, one), float(one == state)) for one in SOURCE_STATES]
        self.exposition.update(f"capture:{source}", states)

    def publish(self, source: str, content: bytes, age_seconds: float = 0.03, **changes: Any) -> None:
        """Put a picture into the slot that was captured that long ago."""
        captured_at = time.monotonic() - age_seconds
        writer = self._writers[source]
        data = picture(source, writer.sequence + 1, captured_at, content, **changes)
        writer.publish(np.frombuffer(data, np.uint8).reshape(1, -1, 1), captured_at, time.time() - age_seconds)

    @contextmanager
    def showing(self, source: str, colour: tuple[int, int, int] = RED, **changes: Any) -> Iterator[None]:
        """25 pictures a second for as long as the block lasts."""
        stop, content = threading.Event(), jpeg(colour)

        def show() -> None:
            while not stop.wait(0.04):
                self.publish(source, content, **changes)

        thread = threading.Thread(target=show)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def unheard(self, source: str) -> bool:
        """True when nobody has taken note of the newest picture."""
        return bool(select.select([self._channels.sources[source].picture.news], [], [], 0)[0])

    @property
    def viewers(self) -> float:
        """The gauge."""
        return self.exposition.values("edge_live_viewers")[()]

    def close(self) -> None:
        """Stop serving, and let go of the slots."""
        self.ports.close()
        for writer in self._writers.values():
            writer.close()
        self._channels.close()


@contextmanager
def live_pages(config: Config) -> Iterator[LivePages]:
    """As above, closed at the end."""
    pages = LivePages(config)
    try:
        yield pages
    finally:
        pages.close()
