"""The camera of the scenario `video`: an RTSP server whose frames carry their number, and when each was made."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

from benchmarks.child import bound
from benchmarks.daemon import free_port
from benchmarks.live.networks import NUMBER_BITS
from benchmarks.record import BenchFailed
from edge_runtime.domain import Array

SYSTEM_PYTHON = Path("/usr/bin/python3")
INSTALL = ("apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
           "gstreamer1.0-plugins-ugly")  # fmt: skip
_SCRIPT = Path(__file__).with_name("camera_server.py")


def why_no_camera() -> str | None:
    """What is missing for an RTSP server of GStreamer; None: nothing."""
    if not SYSTEM_PYTHON.exists():
        return f"there is no {SYSTEM_PYTHON}"
    done = subprocess.run([SYSTEM_PYTHON, _SCRIPT, "--check"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it said nothing"])[-1]


def write_pictures(file: Path, frames: Array) -> Path:
    """The frames as I420, for the server. uint8 (frames, rows, columns, 3), RGB; rows and columns are even.

    Raises:
        ImportError: PyAV is missing.
    """
    import av

    with file.open("wb") as out:
        for frame in frames:
            out.write(av.VideoFrame.from_ndarray(frame, format="rgb24").to_ndarray(format="yuv420p").tobytes())
    return file


class Camera:
    """The server, on prepared frames of which it shows frame `number % frames`; a context manager."""

    def __init__(self, pictures: Path, rows: int, columns: int, frames_per_second: float) -> None:
        self._port = free_port()
        self.url = f"rtsp://127.0.0.1:{self._port}/video"
        self._moments: list[tuple[int, float]] = []
        self._command = [str(one) for one in (SYSTEM_PYTHON, _SCRIPT, self._port, pictures, rows, columns, NUMBER_BITS,
                                              frames_per_second)]  # fmt: skip

    def __enter__(self) -> Camera:
        self._process = subprocess.Popen(bound(self._command), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._process.wait()
            raise BenchFailed(f"the camera ended with {self._process.returncode}; see what it wrote above")
        self._reader = threading.Thread(target=self._read, name="camera", daemon=True)
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, moment = line.split()
            self._moments.append((int(number), float(moment)))

    def made(self, begin: float, end: float) -> dict[int, float]:
        """The frames of a time: their moments by number; CLOCK_MONOTONIC seconds."""
        return {number: moment for number, moment in list(self._moments) if begin <= moment < end}


def wait_until(moment: float) -> None:
    """Sleep until then (CLOCK_MONOTONIC seconds)."""
    time.sleep(max(0.0, moment - time.monotonic()))
