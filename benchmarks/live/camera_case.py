"""From the camera to the result: the whole daemon, and loops of OpenCV, read the same camera one after the other.

Each frame carries its number in its pixels, a small network beside the three reads it, and so each result names its
frame. When a frame was made is known from the camera, when its result had left is seen from outside: neither rests on
what the system under test says.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import yaml

from benchmarks.child import bound
from benchmarks.daemon import Daemon
from benchmarks.live.camera import INSTALL, Camera, wait_until, why_no_camera, write_pictures
from benchmarks.live.camera_result import NUMBER_STAGE, Said, Turn, edge_said, peer_said, turn_of
from benchmarks.live.line_watch import LineWatch
from benchmarks.live.networks import NUMBER_READER
from benchmarks.live.site import ENDOSCOPY, SOURCE, LiveSite
from benchmarks.provenance import sha256_of
from benchmarks.record import BenchFailed, Record

EDGE, OPENCV, FIFO = "edge", "opencv", "fifo"
PEERS = (OPENCV, FIFO)
_FIRST_SECONDS = 60.0
_PEER = "benchmarks.peers.opencv_loop"


def why_not(pipeline: str) -> str | None:
    """Why the camera cannot be measured; None: it can."""
    if pipeline == ENDOSCOPY:
        return "the peers' script decodes the networks of the other pipelines only"
    if importlib.util.find_spec("av") is None:
        return "PyAV is missing; install it: pip install 'edge-runtime[video]'"
    missing = why_no_camera()
    return None if missing is None else f"no RTSP server of GStreamer: {missing}; install it: {INSTALL}"


def measured_systems(record: Record) -> tuple[str, ...]:
    """Edge, and the peers that can run here; of the others the record says why not."""
    if importlib.util.find_spec("cv2") is not None:
        return (EDGE, *PEERS)
    for name in PEERS:
        record.problem(
            f"peer {name} was not measured: OpenCV is missing; install it: pip install opencv-python-headless"
        )
    return (EDGE,)


class CameraBench:
    """The camera, running, and who reads it."""

    def __init__(
        self, site: LiveSite, work: Path, record: Record, stack: ExitStack, *, rate: float, deadline_seconds: float
    ) -> None:
        self._work, self._site = work, site
        frames = np.load(site.frames)
        self.distinct, rows, columns, _ = frames.shape
        pictures = write_pictures(work / "camera.i420", frames)
        self._camera = stack.enter_context(Camera(pictures, rows, columns, rate))
        self._lines = work / "camera-lines"
        self._config = self._write_config(deadline_seconds)
        record.inputs["camera_configuration_sha256"] = sha256_of(self._config)

    def _write_config(self, deadline_seconds: float) -> Path:
        file = self._site.config(self._work / "camera.yaml", deadline_seconds, url=self._camera.url)
        document = yaml.safe_load(file.read_text())
        (pipeline,) = document["pipelines"]
        pipeline["stages"].insert(0, {"name": NUMBER_STAGE, "engine": NUMBER_READER})
        pipeline["send_to"] = ["lines"]
        document["destinations"] = [{"name": "lines", "type": "jsonlines", "path": str(self._lines)}]
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        return file

    def turn(self, name: str, warm_seconds: float, seconds: float, patience_seconds: float) -> Turn:
        """Start a system, let it warm up from its first result on, and take what it says of `seconds` of frames.

        Raises:
            BenchFailed: it ended, or says nothing; a DaemonFailed of the daemon.
        """
        shutil.rmtree(self._lines, ignore_errors=True)
        self._lines.mkdir(mode=0o700)
        with LineWatch(self._lines) as watch, self._running(name) as check:
            _wait_first(name, watch, check)
            begin = time.monotonic() + warm_seconds
            wait_until(begin + seconds + patience_seconds)
            check()
            lines, made = watch.lines(), self._camera.made(begin, begin + seconds)
        read: Callable[[bytes], Said] = edge_said if name == EDGE else peer_said
        return turn_of(made, [(seen, read(line)) for seen, line in lines])

    @contextlib.contextmanager
    def _running(self, name: str) -> Iterator[Callable[[], None]]:
        """The system, started; what it yields raises BenchFailed where it has ended."""
        if name == EDGE:
            with Daemon(self._config, self._work / "camera.spool") as daemon:
                assert daemon.process is not None
                yield _watched(name, daemon.process, daemon.log)
            return
        log = self._work / f"{name}.log"
        with log.open("ab") as said, subprocess.Popen(bound(self._command(name)), stdout=said, stderr=said) as process:
            try:
                yield _watched(name, process, log)
            finally:
                process.kill()

    def _command(self, name: str) -> list[str]:
        folders = [self._site.engines / one for one in (NUMBER_READER, *self._site.names)]
        networks = [str(folder / "onnxruntime-fp32" / "engine.onnx") for folder in folders]
        flags = ["--fifo"] if name == FIFO else []
        return [sys.executable, "-m", _PEER, self._camera.url, str(self._lines), *networks, *flags]


def _watched(name: str, process: subprocess.Popen[bytes], log: Path) -> Callable[[], None]:
    def check() -> None:
        if process.poll() is not None:
            raise BenchFailed(f"{name} ended with {process.returncode} at the camera: {log.read_text()[-1000:]}")

    return check


def _wait_first(name: str, watch: LineWatch, check: Callable[[], None]) -> None:
    give_up_at = time.monotonic() + _FIRST_SECONDS
    while not watch.lines():
        check()
        if time.monotonic() > give_up_at:
            raise BenchFailed(f"{name} has no result of the camera {SOURCE} after {_FIRST_SECONDS:.0f} s")
        time.sleep(0.05)
