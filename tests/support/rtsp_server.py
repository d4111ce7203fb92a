"""An RTSP server that draws the time into its pictures. Debian's Python runs it: that one has GStreamer's bindings.

    /usr/bin/python3 rtsp_server.py PORT [h264|mjpeg] [FRAMES_A_SECOND]

"ready" on stdout says that it listens. A line on stdin is a command: `freeze` repeats the picture, `pause` sends
nothing, `stall` repeats the time stamp, `go` ends them all. CLOCK_MONOTONIC is in the first lines of each picture, in
tenths of milliseconds, one bit a block, the lowest first.
"""

import importlib
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
GLib, Gst, GstRtspServer = (importlib.import_module(f"gi.repository.{n}") for n in ("GLib", "Gst", "GstRtspServer"))

COLUMNS, ROWS, BLOCK, BITS = 640, 360, 16, 32
ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=4000 key-int-max=25 ! h264parse"
    " ! rtph264pay name=pay0 config-interval=1",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0",
}


def picture(number):
    """One picture with the time of now, I420."""
    luma = bytearray(bytes((column + 3 * number) % 200 + 20 for column in range(COLUMNS)) * ROWS)
    clock = int(time.monotonic() * 1e4)
    line = b"".join((b"\xeb" if clock >> bit & 1 else b"\x10") * BLOCK for bit in range(BITS))
    for row in range(BLOCK):
        luma[row * COLUMNS : row * COLUMNS + len(line)] = line
    return bytes(luma) + b"\x80" * (COLUMNS * ROWS // 2)


class Feed:
    """Draws for one client after the other."""

    def __init__(self, rate):
        self.rate = rate
        self.mode = "go"

    def run(self, source):
        """Until the media is taken down."""
        number, began, drawn, stamp = 0, time.monotonic(), picture(0), 0.0
        while True:
            drawn = drawn if self.mode == "freeze" else picture(number)
            stamp = stamp if self.mode == "stall" else time.monotonic() - began
            buffer = Gst.Buffer.new_wrapped(drawn)
            buffer.pts = int(stamp * 1e9)
            if self.mode != "pause" and source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return
            number += 1
            time.sleep(max(0.0, began + number / self.rate - time.monotonic()))


class Factory(GstRtspServer.RTSPMediaFactory):
    """Makes the pipeline of a stream."""

    def __init__(self, feed, encoder):
        super().__init__()
        self.feed, self.encoder = feed, encoder

    def do_create_element(self, _url):
        """From appsrc to the payloader."""
        form = f"video/x-raw,format=I420,width={COLUMNS},height={ROWS},framerate={self.feed.rate}/1"
        return Gst.parse_launch(f"( appsrc name=source is-live=true format=time caps={form} ! {self.encoder} )")

    def do_configure(self, media):
        """Begin to draw."""
        source = media.get_element().get_by_name("source")
        threading.Thread(target=self.feed.run, args=(source,), daemon=True).start()


def main(port, codec="h264", rate="25"):
    """Serve until killed."""
    Gst.init(None)
    feed = Feed(int(rate))
    factory = Factory(feed, ENCODERS[codec])
    factory.set_shared(True)
    factory.set_latency(0)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/video", factory)
    server.attach(None)
    threading.Thread(target=GLib.MainLoop().run, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        feed.mode = line.strip()


main(*sys.argv[1:])
