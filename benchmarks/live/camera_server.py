"""A camera: an RTSP server that draws each frame's number into it, and says when it did.

The system's Python runs it, for that one has GStreamer's bindings; it needs nothing else of this project.

    /usr/bin/python3 camera_server.py PORT FRAMES ROWS COLUMNS BITS FRAMES_A_SECOND
    /usr/bin/python3 camera_server.py --check

FRAMES: a file of I420 pictures, shown again and again. "ready" on stdout says that it listens; then a line a frame, its
number and CLOCK_MONOTONIC (seconds) when it was handed to the encoder. The number is in the first ROWS / 45 lines, one
bit a block, the lowest first. It films only while somebody watches; who comes joins those who watch.
"""

from __future__ import annotations

import importlib
import itertools
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

PICTURE_SHARE = 45
ELEMENTS = ("appsrc", "x264enc", "h264parse", "rtph264pay")
ENCODE = (
    "x264enc tune=zerolatency speed-preset=ultrafast bitrate=4000 key-int-max=25 ! h264parse"
    " ! rtph264pay name=pay0 config-interval=1"
)


def load() -> list[Any]:
    """GStreamer's bindings. Raises ImportError or ValueError where they are missing."""
    gi = importlib.import_module("gi")
    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    bindings = [importlib.import_module(f"gi.repository.{name}") for name in ("GLib", "Gst", "GstRtspServer")]
    bindings[1].init(None)
    return bindings


def check() -> None:
    """Raises ImportError, ValueError or LookupError where something is missing."""
    _, gst, _ = load()
    for name in ELEMENTS:
        if gst.ElementFactory.find(name) is None:
            raise LookupError(f"GStreamer has no element {name}")


def draw(picture: bytearray, number: int, rows: int, columns: int, bits: int) -> None:
    """Write the number into the luma of a picture."""
    width = columns // bits
    line = b"".join((b"\xeb" if number >> bit & 1 else b"\x10") * width for bit in range(bits))
    for row in range(rows // PICTURE_SHARE):
        picture[row * columns : row * columns + len(line)] = line


def film(
    gst: Any, source: Any, pictures: Sequence[bytes], rate: float, numbers: Iterator[int], shape: tuple[int, int, int]
) -> None:
    """Until the media is taken down."""
    began = time.monotonic()
    for count in itertools.count():
        time.sleep(max(0.0, began + count / rate - time.monotonic()))
        number = next(numbers)
        picture = bytearray(pictures[number % len(pictures)])
        draw(picture, number, *shape)
        buffer = gst.Buffer.new_wrapped(bytes(picture))
        now = time.monotonic()
        buffer.pts = int((now - began) * 1e9)
        if source.emit("push-buffer", buffer) != gst.FlowReturn.OK:
            return
        print(number, f"{now:.6f}", flush=True)


def main(port: str, file: str, rows: str, columns: str, bits: str, rate: str) -> None:
    """Serve until killed."""
    glib, gst, rtsp = load()
    shape, numbers = (int(rows), int(columns), int(bits)), itertools.count()
    size = shape[0] * shape[1] * 3 // 2
    with open(file, "rb") as content:
        pictures = list(iter(lambda: content.read(size), b""))

    def configure(_: Any, media: Any) -> None:
        source = media.get_element().get_by_name("source")
        arguments = (gst, source, pictures, float(rate), numbers, shape)
        threading.Thread(target=film, args=arguments, daemon=True).start()

    form = f"video/x-raw,format=I420,width={columns},height={rows},framerate={round(float(rate))}/1"
    factory = rtsp.RTSPMediaFactory()
    factory.set_launch(f"( appsrc name=source is-live=true format=time caps={form} ! {ENCODE} )")
    factory.set_shared(True)
    factory.set_latency(0)
    factory.connect("media-configure", configure)
    server = rtsp.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/video", factory)
    server.attach(None)
    print("ready", flush=True)
    glib.MainLoop().run()


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    else:
        main(*sys.argv[1:])
