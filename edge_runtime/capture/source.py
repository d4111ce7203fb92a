"""Opening a source: a file, RTSP, a device, or the output of a program. The only file that knows FFmpeg's options."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from edge_runtime.capture.command import Command
from edge_runtime.config import Video
from edge_runtime.errors import BackendUnavailable, EdgeRuntimeError

_OPEN_SECONDS = 3.0
_READ_SECONDS = 2.0
COMMAND_SECONDS = 10.0
"""Without a byte from a program: it sets its hardware up, and connects anew by itself."""
_PROBE = {"fpsprobesize": "0"}
"""Not "nobuffer": that throws away what was read to know the stream, the first key frame with it."""

_RTSP = {
    "rtsp_transport": "tcp",
    **_PROBE,
    "protocol_whitelist": "rtsp,rtsps,rtp,tcp,tls,crypto,https,http,httpproxy",
}
_PIPED = {
    **_PROBE,
    "protocol_whitelist": "pipe",
    "format_whitelist": "matroska,webm,mpegts,nut,yuv4mpegpipe",
}
_FILED = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,nut,yuv4mpegpipe,ogg,flv,asf,"
    "h264,hevc,m4v,mjpeg,ivf,obu,mxf,dv,gif,apng",
}
"""None that names other files to open, as playlists do."""
_HOLDING = ("h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video")


class Kind(Enum):
    """What a source is."""

    FILE = "file"
    RTSP = "rtsp"
    DEVICE = "device"
    COMMAND = "command"


class SourceFailed(EdgeRuntimeError):
    """A source cannot be opened, or broke off. `outcome` is one of metrics.CONNECT_OUTCOMES."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome


@dataclass(frozen=True, eq=False)
class Source:
    """An open source. `held_back`: FFmpeg gives a picture only when the next one begins, to be sure of its end."""

    kind: Kind
    container: InputContainer
    stream: av.VideoStream
    held_back: bool
    command: Command | None

    def close(self) -> None:
        """Release all that it holds."""
        self.container.close()


def kind_of(video: Video) -> Kind:
    """What a configured source is."""
    if video.command is not None:
        return Kind.COMMAND
    if video.file is None:
        return Kind.RTSP
    return Kind.DEVICE if video.file.startswith("/dev/video") else Kind.FILE


def open_source(video: Video, kind: Kind, command: Command | None = None) -> Source:
    """Open it; a program has been started already.

    Raises:
        SourceFailed: it is not there, or gives no video.
        BackendUnavailable: this FFmpeg cannot read such a source.
    """
    began_at = time.monotonic()
    try:
        container = _open(video, kind, command)
    except (FFmpegError, OSError, ValueError) as error:
        failed = failure(error)
        if kind is Kind.RTSP and time.monotonic() - began_at >= _OPEN_SECONDS:
            failed = failure(TimeoutError())  # FFmpeg calls an answer that it stopped waiting for invalid
        if failed.outcome == "not_found" and kind in (Kind.FILE, Kind.DEVICE):
            failed = SourceFailed("not_found", f"no {kind.value} there")
        if command is not None and command.count == 0 and failed.outcome == "broken":
            failed = SourceFailed("ended", "the program ended and gave nothing")
        raise failed from None
    try:
        stream = _video_stream(container)
        parsed = kind is Kind.RTSP or container.format.name == "mpegts"
        return Source(kind, container, stream, parsed and stream.codec_context.name in _HOLDING, command)
    except BaseException:
        container.close()
        raise


def _video_stream(container: InputContainer) -> av.VideoStream:
    for stream in container.streams.video:
        context: av.VideoCodecContext | None = stream.codec_context  # None: FFmpeg does not know its codec
        if context is not None and not stream.disposition & Disposition.attached_pic:
            return stream
    raise SourceFailed("no_video", "it has no video stream that can be decoded")


def _open(video: Video, kind: Kind, command: Command | None) -> InputContainer:
    read_seconds = max(_READ_SECONDS, video.silent_after_seconds)
    if command is not None:
        return av.open(command, "r", options=_PIPED, buffer_size=1 << 16)
    if kind is Kind.RTSP:
        assert video.url is not None
        return av.open(video.url, "r", options=_RTSP, timeout=(_OPEN_SECONDS, read_seconds))
    assert video.file is not None
    if kind is Kind.DEVICE:
        if "v4l2" not in ",".join(av.formats_available):
            raise BackendUnavailable("this FFmpeg reads no V4L2; install av 18 or newer, or give a command")
        return av.open(video.file, "r", format="v4l2", options=_PROBE)
    return av.open(f"file:{video.file}", "r", options=_FILED)


_OUTCOMES: dict[int, str] = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "refused",
    errno.EACCES: "refused",
    errno.EPERM: "refused",
    errno.EHOSTUNREACH: "refused",
    errno.ENETUNREACH: "refused",
    errno.EBUSY: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.ENOENT: "not_found",
    errno.ENODEV: "not_found",
    errno.ENXIO: "not_found",
}


def failure(error: Exception) -> SourceFailed:
    """An error of FFmpeg's in our words. Its own text may hold the address, and that a password."""
    number = getattr(error, "errno", None) or 0
    kinds: tuple[tuple[Any, str, str], ...] = (
        (TimeoutError, "timeout", "it does not answer"),
        (av.error.ExitError, "timeout", "it does not answer"),
        (av.error.EOFError, "ended", "it ended before any picture"),
        ((av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError), "refused", "user or password are not accepted"),
        (av.error.HTTPNotFoundError, "not_found", "the server has no such stream"),
    )
    for kind, outcome, detail in kinds:
        if isinstance(error, kind):
            return SourceFailed(outcome, detail)
    name = errno.errorcode.get(number, type(error).__name__)
    return SourceFailed(_OUTCOMES.get(number, "broken"), f"it cannot be read ({name})")
