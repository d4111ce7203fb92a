"""Live video: is each source there and what does it give, and do the live destinations take what is made of it."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from edge_runtime.config import LIVE_DESTINATIONS, Config, Destination, Video
from edge_runtime.doctor.check import Check, Outcome, Site, fail, ok, warn
from edge_runtime.doctor.destinations import folder_check
from edge_runtime.doctor.disk import nearest_folder
from edge_runtime.errors import BackendUnavailable, EdgeRuntimeError
from edge_runtime.live.broker import LONGEST_CONNECT_SECONDS, in_words
from edge_runtime.telemetry.logs import describe, start_logging
from edge_runtime.video_packages import require_video_packages

log = logging.getLogger("edge_runtime.doctor")

SOURCE_SECONDS = 5.0
"""For the first picture of a source that was opened."""
_PROCESS_SECONDS = 25.0  # its process starts, FFmpeg or a program opens the source, and the picture comes

_TODO = {
    "refused": "see that it listens there, that user and password are right, and that nothing else holds the device",
    "timeout": "see address, cable and firewall, and that it sends a key frame every second",
    "not_found": "name a file, device, stream or program that is there, and that the daemon's user can see",
    "no_video": "look with a player on this computer whether it is a video",
    "broken": "look with a player on this computer whether it is a video",
    "ended": "run the program by hand: it gives nothing",
}


@dataclass(frozen=True)
class Seen:
    """The first picture of a source: its size in pixels, the codec, and the rate that the stream claims, or 0."""

    columns: int
    rows: int
    codec: str
    rate: float


@dataclass(frozen=True)
class Unseen:
    """Why there was no picture. `outcome` is one of metrics.CONNECT_OUTCOMES, or empty."""

    outcome: str
    reason: str


def video_seconds(config: Config) -> float:
    """The longest that the checks of video may take."""
    return 30.0 + (_PROCESS_SECONDS + 5.0) * len(config.video) + 10.0 * len(config.destinations)


def examine_video(site: Site) -> Iterator[Check]:
    """Every source, and every live destination."""
    config = site.config
    try:
        require_video_packages(config)
    except BackendUnavailable as error:
        yield fail("video packages", str(error), "install them, as it says")
        return
    for video in config.video:
        yield source_check(video, look_apart(video))
    used = {one.name for video in config.video for one in config.live_destinations(video.pipeline)}
    for destination in config.destinations:
        if destination.type in LIVE_DESTINATIONS:
            yield live_destination_check(destination, destination.name in used)


def source_check(video: Video, found: Seen | Unseen) -> Check:
    """What a source gave."""
    what = f"video {video.name}"
    if isinstance(found, Unseen):
        return fail(what, found.reason, _TODO.get(found.outcome, "see docs/video-sources.md"))
    rate = f"{found.rate:.4g} frames a second" if found.rate else "a rate that it does not tell"
    text = f"{found.columns}x{found.rows}, {rate}, {found.codec}"
    if found.columns * found.rows > video.maximum_pixels:
        return fail(what, f"{text}: more than maximum_pixels", f"set maximum_pixels to {found.columns * found.rows}")
    return ok(what, text)


def look_apart(video: Video, seconds: float = _PROCESS_SECONDS) -> Seen | Unseen:
    """Open a source in a process of its own, which may hang or die, until its first picture."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_look, args=(theirs, video), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(seconds) else Unseen("timeout", f"no picture within {seconds:.0f} s")
    except EOFError:
        process.join(5.0)
        answer = Unseen("broken", f"the process that read it ended with {process.exitcode}")
    process.kill()
    process.join()
    assert isinstance(answer, Seen | Unseen)
    return answer


def _look(answer: Connection, video: Video) -> None:
    from av.error import FFmpegError

    from edge_runtime.capture.source import SourceFailed, failure

    start_logging("doctor", "CRITICAL")
    try:
        answer.send(_first_picture(video))
    except SourceFailed as failed:
        answer.send(Unseen(failed.outcome, str(failed)))
    except (FFmpegError, OSError) as error:
        broken = failure(error)
        answer.send(Unseen(broken.outcome, str(broken)))
    except Exception as error:  # whatever a library raises is what the doctor is to find
        log.exception("source not seen", extra={"event": {"source": video.name}})
        answer.send(Unseen("", str(error) if isinstance(error, EdgeRuntimeError) else describe(error)))


def _first_picture(video: Video) -> Seen | Unseen:
    from edge_runtime.capture.decode import Decoder
    from edge_runtime.capture.reader import start_program
    from edge_runtime.capture.source import kind_of, open_source

    command = None if video.command is None else start_program(video.command)
    try:
        source = open_source(video, kind_of(video), command)
        decoder, until = Decoder(source.stream, video.maximum_pixels), time.monotonic() + SOURCE_SECONDS
        for packet in source.container.demux(source.stream):
            frames, _ = decoder.feed(packet)
            if frames:
                rate = float(source.stream.average_rate or source.stream.guessed_rate or 0)
                return Seen(frames[0].width, frames[0].height, source.stream.codec_context.name, rate)
            if time.monotonic() > until:
                return Unseen("timeout", f"it sends, but no picture that can be decoded within {SOURCE_SECONDS:.0f} s")
        return Unseen("broken", "it ended without a picture that can be decoded")
    finally:
        if command is not None:
            command.close()


def live_destination_check(destination: Destination, used: bool = True) -> Check:
    """Whether a live destination could take something now. Nothing is left there, and nothing is published."""
    if not used:
        return warn(f"{destination.name}: use", "no pipeline of video sends anything here", "name it in send_to")
    if destination.type == "mqtt":
        return _broker(destination)
    path = Path(destination.path or "")
    check = folder_check(destination.name, path)
    if check.outcome is not Outcome.OK:
        return check
    try:
        with tempfile.TemporaryFile(dir=nearest_folder(path), prefix="edge-doctor-"):
            return check
    except OSError as error:
        return fail(check.what, f"{path}: {error.strerror}", "give it to the daemon's user, and see its disk")


def _broker(destination: Destination) -> Check:
    what, place = f"{destination.name}: MQTT", f"{destination.host}:{destination.port}"
    assert destination.host is not None and destination.port is not None
    try:
        seconds = min(destination.timeout_seconds, LONGEST_CONNECT_SECONDS)
        socket.create_connection((destination.host, destination.port), seconds).close()
    except OSError as error:
        return fail(what, f"{place}: {in_words(error)}", "see host and port, that the broker runs, and the firewall")
    return ok(what, f"{place} takes connections; user and password are not tried")
