"""Sources of live frames, their key frames, and how they share the accelerator with studies."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from edge_runtime.config.rules import NAME, command_line, condition, require

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
VIDEO_SCHEMES = ("rtsp", "rtsps", "file")


@dataclass(frozen=True)
class KeyFrames:
    """Which frames of an examination become Secondary Capture."""

    when: str | None = None  # STAGE.LABEL.positive; absent: whatever is found somewhere in the picture
    seconds_between: float = 10.0
    results: int = 3  # positive ones in a row, before one is taken
    maximum: int = 100  # of one examination

    def __post_init__(self) -> None:
        if self.when is not None:
            condition("when", self.when)
        require(self.seconds_between >= 0, "seconds_between", "must not be negative")
        require(self.results >= 1, "results", "must be at least 1")
        require(self.maximum >= 0, "maximum", "must not be negative")


@dataclass(frozen=True)
class Video:
    """A source of live frames. `url`: rtsp://..., a file, or /dev/video0; or `command`, which writes a stream."""

    name: str
    pipeline: str
    url: str | None = None
    command: str | None = None  # split as a shell would, but run without one; its stdout is read
    deadline_seconds: float | None = None  # from the capture of a frame; absent: the pipeline's
    display_age_seconds: float = 0.5  # an older picture is not shown as live
    frozen_after_seconds: float = 2.0  # of pictures that do not change, or of a clock that stands still
    silent_after_seconds: float = 2.0  # without any frame
    maximum_lag_seconds: float = 1.0  # behind its own clock: connect anew
    columns: int | None = None  # scale wider pictures down to this width
    maximum_pixels: int = 8_294_400
    pace: str = field(default="stream", metadata={"choices": ("stream", "fastest")})  # of files
    loop: bool = False  # of files: begin again at the end
    key_frames: KeyFrames = KeyFrames()

    def __post_init__(self) -> None:
        require(NAME.fullmatch(self.name) is not None, "name", f"use a-z, 0-9, '-', '_' and '.', got {self.name!r}")
        require((self.url is None) != (self.command is None), "url", "give either url or command")
        require(self.url != "" and self.command != "", "url", "must not be empty")
        known = f"is rtsp://, rtsps://, file:// or a plain path, not {self.scheme}://; for others give a command"
        require(self.scheme in VIDEO_SCHEMES, "url", known)
        for key in ("url", "command"):
            require("\0" not in (getattr(self, key) or ""), key, "must not hold a NUL character")
        if self.command is not None:
            command_line(self.command)
        for key in ("deadline_seconds", "display_age_seconds", "frozen_after_seconds", "silent_after_seconds",
                    "maximum_lag_seconds"):  # fmt: skip
            value = getattr(self, key)
            require(value is None or value > 0, key, "must be positive")
        require(self.columns is None or self.columns >= 16, "columns", "must be at least 16")
        require(256 <= self.maximum_pixels <= 100_000_000, "maximum_pixels", "is 256 to 100000000")

    @property
    def scheme(self) -> str:
        """Of the url, in lower case; `file` where it has none."""
        found = _SCHEME.match(self.url or "")
        return found[1].lower() if found else "file"

    @property
    def file(self) -> str | None:
        """The file or device that the url names; None where it names none."""
        if self.url is None or self.scheme != "file":
            return None
        found = _SCHEME.match(self.url)
        return self.url[found.end() :] if found else self.url


@dataclass(frozen=True)
class Schedule:
    """How live frames and studies share the accelerator."""

    studies: str = field(default="auto", metadata={"choices": ("auto", "shared", "worker")})
    concurrency: int = 0  # runs of engines at the same time; 0: what the device takes

    def __post_init__(self) -> None:
        require(self.concurrency >= 0, "concurrency", "must not be negative")
