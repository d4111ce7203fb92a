"""How old a picture is when it lies in the slot: the time drawn into its pixels, against the time of reading it.

    PYTHONPATH=tests .venv/bin/python -m support.glass_to_slot [h264|mjpeg|gstreamer] [FRAMES]

25 frames a second over RTSP on this computer; "gstreamer" reads H.264 by a command, the others by FFmpeg.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from support.capturing import Capture
from support.rtsp_peer import RtspServer, free_port
from support.videos import milliseconds_ago

_COMMAND = (
    "gst-launch-1.0 -q rtspsrc location={} protocols=tcp latency=0 ! rtph264depay ! h264parse"
    " ! matroskamux streamable=true ! fdsink"
)


def main(way: str = "h264", frames: str = "250") -> None:
    """Print the median, the 95th and the 99th percentile, and by how much captured_at is wrong, in milliseconds."""
    codec = "mjpeg" if way == "mjpeg" else "h264"
    with RtspServer(free_port(), codec) as server, tempfile.TemporaryDirectory() as folder:
        video = {"command": _COMMAND.format(server.url)} if way == "gstreamer" else {"url": server.url}
        with Capture(Path(folder), **video) as capture:
            capture.wait_state("live")
            ages: list[float] = []
            wrong: list[float] = []
            wanted = int(frames)
            for lease in capture.pictures(lambda: len(ages) >= wanted + 25):
                now = time.monotonic()
                ages.append(milliseconds_ago(lease.pixels, now))
                wrong.append(ages[-1] - 1000 * (now - lease.header.captured_at))
    cuts = statistics.quantiles(ages[25:], n=100)
    print(f"{way}: glass to slot {cuts[49]:.1f} / {cuts[94]:.1f} / {cuts[98]:.1f} ms (median, p95, p99)")
    print(f"{way}: captured_at is later than the drawing by {statistics.median(wrong[25:]):.1f} ms, "
          f"at most {max(wrong[25:]):.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
